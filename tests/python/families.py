# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tiny random models of published families, made by the code that transformers publishes.

Each family: the names of its config and model class in transformers, and what its config says. Sizes are small and not
multiples of 16, every model has more experts than choices, and where a family has them: shared experts, groups, dense
layers before the first experts, layers without experts in between.
"""

import torch
import transformers

# Sizes that nearly every family shares. A family's own entries win.
SIZES = dict(
    vocab_size=101,
    hidden_size=40,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=12,
    max_position_embeddings=128,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=None,
)

LATENT = dict(
    q_lora_rank=20,
    kv_lora_rank=16,
    qk_rope_head_dim=8,
    qk_nope_head_dim=12,
    v_head_dim=12,
    head_dim=8,
    num_key_value_heads=4,
)

# family: config class, model class, config; experts tells how many blocks of the model have experts
FAMILIES = {
    "mixtral": ("MixtralConfig", "MixtralForCausalLM", 3,
                dict(intermediate_size=24, num_local_experts=6, num_experts_per_tok=2)),
    "qwen2_moe": ("Qwen2MoeConfig", "Qwen2MoeForCausalLM", 2,
                  dict(intermediate_size=56, moe_intermediate_size=24, shared_expert_intermediate_size=40,
                       num_experts=7, num_experts_per_tok=3, mlp_only_layers=[0])),
    "qwen3_moe": ("Qwen3MoeConfig", "Qwen3MoeForCausalLM", 2,
                  dict(intermediate_size=56, moe_intermediate_size=24, num_experts=9, num_experts_per_tok=4,
                       norm_topk_prob=True, mlp_only_layers=[0])),
    "qwen3_next": ("Qwen3NextConfig", "Qwen3NextForCausalLM", 4,
                   dict(intermediate_size=56, moe_intermediate_size=24, shared_expert_intermediate_size=40,
                        num_experts=8, num_experts_per_tok=3, num_hidden_layers=4,
                        linear_num_key_heads=2, linear_num_value_heads=4,
                        linear_key_head_dim=8, linear_value_head_dim=8)),
    "olmoe": ("OlmoeConfig", "OlmoeForCausalLM", 3,
              dict(intermediate_size=24, num_experts=10, num_experts_per_tok=3, head_dim=None)),
    "deepseek_v2": ("DeepseekV2Config", "DeepseekV2ForCausalLM", 2,
                    dict(LATENT, intermediate_size=56, moe_intermediate_size=24, n_routed_experts=8, n_shared_experts=2,
                         num_experts_per_tok=3, n_group=4, topk_group=2, topk_method="group_limited_greedy",
                         first_k_dense_replace=1, routed_scaling_factor=1.5)),
    "deepseek_v3": ("DeepseekV3Config", "DeepseekV3ForCausalLM", 2,
                    dict(LATENT, intermediate_size=56, moe_intermediate_size=24, n_routed_experts=8, n_shared_experts=1,
                         num_experts_per_tok=3, n_group=4, topk_group=2, first_k_dense_replace=1)),
    "glm4_moe": ("Glm4MoeConfig", "Glm4MoeForCausalLM", 2,
                 dict(intermediate_size=56, moe_intermediate_size=24, n_routed_experts=7, n_shared_experts=1,
                      num_experts_per_tok=3, n_group=1, topk_group=1, first_k_dense_replace=1)),
    "gpt_oss": ("GptOssConfig", "GptOssForCausalLM", 3,
                dict(intermediate_size=24, num_local_experts=6, num_experts_per_tok=3, num_hidden_layers=3,
                     sliding_window=16)),
    "llama4": ("Llama4TextConfig", "Llama4ForCausalLM", 2,
               dict(intermediate_size=24, intermediate_size_mlp=56, num_local_experts=5, num_experts_per_tok=1,
                    num_hidden_layers=4, interleave_moe_layer_step=2, attention_chunk_size=32)),
    "granitemoe": ("GraniteMoeConfig", "GraniteMoeForCausalLM", 3,
                   dict(intermediate_size=24, num_local_experts=6, num_experts_per_tok=2, head_dim=None)),
    "minimax_m2": ("MiniMaxM2Config", "MiniMaxM2ForCausalLM", 3,
                   dict(intermediate_size=24, num_local_experts=8, num_experts_per_tok=3, rotary_dim=12)),
    "dbrx": ("DbrxConfig", "DbrxForCausalLM", 2,
             dict(d_model=40, n_heads=4, n_layers=2, max_seq_len=128,
                  attn_config=dict(kv_n_heads=2, clip_qkv=8.0, rope_theta=10000.0),
                  ffn_config=dict(hidden_size=40, ffn_hidden_size=24, moe_num_experts=6, moe_top_k=2))),
    "jamba": ("JambaConfig", "JambaForCausalLM", 2,
              dict(intermediate_size=24, num_experts=6, num_experts_per_tok=2, num_hidden_layers=4,
                   attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2, expert_layer_offset=1,
                   use_mamba_kernels=False, mamba_d_state=8, mamba_dt_rank=4)),
    "phimoe": ("PhimoeConfig", "PhimoeForCausalLM", 3,
               dict(intermediate_size=24, num_local_experts=6, num_experts_per_tok=2)),
    "granitemoeshared": ("GraniteMoeSharedConfig", "GraniteMoeSharedForCausalLM", 3,
                         dict(intermediate_size=24, shared_intermediate_size=40, num_local_experts=6,
                              num_experts_per_tok=2, head_dim=None)),
    "granitemoehybrid": ("GraniteMoeHybridConfig", "GraniteMoeHybridForCausalLM", 3,
                         dict(intermediate_size=24, shared_intermediate_size=40, num_local_experts=6,
                              num_experts_per_tok=2, head_dim=None, layer_types=["mamba", "attention", "mamba"],
                              mamba_n_heads=4, mamba_d_head=20, mamba_d_state=8, mamba_n_groups=1)),
    "ernie4_5_moe": ("Ernie4_5_MoeConfig", "Ernie4_5_MoeForCausalLM", 2,
                     dict(intermediate_size=56, moe_intermediate_size=24, moe_num_experts=8, moe_num_shared_experts=2,
                          moe_k=3, moe_layer_start_index=1, moe_layer_end_index=-1, head_dim=None)),
    "hunyuan_v1_moe": ("HunYuanMoEV1Config", "HunYuanMoEV1ForCausalLM", 3,
                       dict(intermediate_size=24, num_experts=6, moe_topk=2)),
    "dots1": ("Dots1Config", "Dots1ForCausalLM", 2,
              dict(intermediate_size=56, moe_intermediate_size=24, n_routed_experts=8, n_shared_experts=1,
                   num_experts_per_tok=3, n_group=1, topk_group=1, first_k_dense_replace=1)),
    "flex_olmo": ("FlexOlmoConfig", "FlexOlmoForCausalLM", 3,
                  dict(intermediate_size=24, num_experts=6, num_experts_per_tok=3, head_dim=None)),
    "exaone_moe": ("ExaoneMoeConfig", "ExaoneMoeForCausalLM", 2,
                   dict(intermediate_size=56, moe_intermediate_size=24, num_experts=8, num_shared_experts=1,
                        num_experts_per_tok=3, n_group=1, topk_group=1, first_k_dense_replace=1)),
    "lfm2_moe": ("Lfm2MoeConfig", "Lfm2MoeForCausalLM", 2,
                 dict(intermediate_size=56, moe_intermediate_size=24, num_experts=8, num_experts_per_tok=3,
                      num_dense_layers=1, layer_types=["conv", "full_attention", "conv"], head_dim=None)),
    "minimax": ("MiniMaxConfig", "MiniMaxForCausalLM", 2,
                dict(intermediate_size=24, num_local_experts=6, num_experts_per_tok=2, num_hidden_layers=2,
                     layer_types=["linear_attention", "full_attention"], block_size=8)),
    "jetmoe": ("JetMoeConfig", "JetMoeForCausalLM", 2,
               dict(intermediate_size=24, num_local_experts=6, num_experts_per_tok=2, num_hidden_layers=2,
                    kv_channels=12)),
    "qwen3_vl_moe": ("Qwen3VLMoeConfig", "Qwen3VLMoeForConditionalGeneration", 3,
                     dict(text_config=dict(SIZES, intermediate_size=56, moe_intermediate_size=24, num_experts=8,
                                           num_experts_per_tok=3,
                                           rope_parameters=dict(rope_type="default", rope_theta=10000.0,
                                                                mrope_section=[2, 2, 2])),
                          vision_config=dict(depth=1, hidden_size=32, intermediate_size=48, num_heads=2,
                                             out_hidden_size=40, deepstack_visual_indexes=[0],
                                             num_position_embeddings=16))),
    "qwen3_5_moe": ("Qwen3_5MoeTextConfig", "Qwen3_5MoeForCausalLM", 4,
                    dict(moe_intermediate_size=24, shared_expert_intermediate_size=40, num_experts=8,
                         num_experts_per_tok=3, num_hidden_layers=4, linear_num_key_heads=2, linear_num_value_heads=4,
                         linear_key_head_dim=8, linear_value_head_dim=8)),
    "solar_open": ("SolarOpenConfig", "SolarOpenForCausalLM", 2,
                   dict(intermediate_size=56, moe_intermediate_size=24, n_routed_experts=8, n_shared_experts=1,
                        num_experts_per_tok=3, n_group=1, topk_group=1, first_k_dense_replace=1)),
    "cohere2_moe": ("Cohere2MoeConfig", "Cohere2MoeForCausalLM", 2,
                    dict(intermediate_size=24, num_experts=8, num_experts_per_tok=3, first_k_dense_replace=1)),
    "afmoe": ("AfmoeConfig", "AfmoeForCausalLM", 2,
              dict(intermediate_size=56, moe_intermediate_size=24, num_experts=8, num_shared_experts=1,
                   num_experts_per_tok=3, num_dense_layers=1)),
    "nemotron_h": ("NemotronHConfig", "NemotronHForCausalLM", 2,
                   dict(intermediate_size=56, moe_intermediate_size=24, moe_shared_expert_intermediate_size=40,
                        n_routed_experts=8, num_experts_per_tok=3, n_group=1, topk_group=1,
                        hybrid_override_pattern="*E*E", num_hidden_layers=4)),
    "longcat_flash": ("LongcatFlashConfig", "LongcatFlashForCausalLM", 2,
                      dict(LATENT, num_layers=2, num_hidden_layers=4, ffn_hidden_size=56, expert_ffn_hidden_size=24,
                           n_routed_experts=8, zero_expert_num=2, moe_topk=3)),
    "switch_transformers": ("SwitchTransformersConfig", "SwitchTransformersForConditionalGeneration", 2,
                            dict(d_model=40, d_kv=12, decoder_start_token_id=0, d_ff=24, num_layers=2,
                                 num_decoder_layers=2, num_heads=4,
                                 num_sparse_encoder_layers=1, num_sparse_decoder_layers=1, num_experts=6,
                                 expert_capacity=3)),
}


def config_of(family: str):
    """The config of `family`, all of its layers with the attention that needs nothing but torch."""
    config_class, _, _, own = FAMILIES[family]
    sizes = SIZES
    if "d_model" in own:  # other names for the sizes
        sizes = {k: v for k, v in SIZES.items() if k.endswith("_id") or k == "vocab_size"}
    made = own if "text_config" in own else dict(sizes, **own)
    return getattr(transformers, config_class)(**{k: v for k, v in made.items() if v is not None or "token_id" in k})


def model_of(family: str, dtype=torch.float32, seed: int = 7, **more):
    """A model of `family` with random weights, in `dtype`, ready for inference; `more` of its config.

    The weights are larger than transformers' own initial ones, so that experts differ and every token's output does;
    biases that choose experts are random too (they begin as zeros).
    """
    torch.manual_seed(seed)
    _, model_class, _, _ = FAMILIES[family]
    config = config_of(family)
    config.update(more)
    model = getattr(transformers, model_class)(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
            if tensor.dim() >= 2 and "embed" not in name and tensor.is_floating_point() and "A_log" not in name:
                tensor.normal_(0, 1.0 / tensor.shape[-1] ** 0.5, generator=generator)
            elif "bias" in name:
                tensor.normal_(0, 0.05, generator=generator)
    model.to(dtype)
    model.eval()
    return model


def experts_of(family: str) -> int:
    """How many of the model's layers have experts."""
    return FAMILIES[family][2]
