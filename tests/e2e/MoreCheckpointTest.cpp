// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Layouts of checkpoints that no golden case has -> the reference's outputs on a spec written by hand. A wrong name
// stops the import, a wrong layout or rule gives other numbers.

#include "ImportedCheckpoint.h"

#include <gtest/gtest.h>

using namespace moec;
using namespace moec::layouts;

namespace {

const std::string sharedW132 = lines("shared.", "shared_experts.", w132, ""),
                  sharedOne = lines("shared.", "mlp.shared_expert.", proj, "");

const Referenced referenced[] = {
    {"mistral4_with_groups",
     R"({"model_type": "mistral4", "hidden_size": 48, "moe_intermediate_size": 40, "n_routed_experts": 8,
         "n_shared_experts": 2, "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 1.5,
         "norm_topk_prob": true, "hidden_act": "silu", "first_k_dense_replace": 1, "torch_dtype": "float32"})",
     "model.layers.1.", gate + halves("experts.", "mlp.experts.gate_up_proj", "mlp.experts.down_proj", "") + shared,
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"top_k": 3, "groups": {"count": 4, "keep": 2, "score": "top2_sum", "masked": "zero"},
                    "normalize": {"kind": "sum", "eps": 1e-20}, "scale": 1.5},
         "experts": {"count": 8, "intermediate": 40}, "shared": {"intermediate": 80}})"},
    {"mistral_large4",
     R"({"model_type": "mistral_large4", "text_config": {"model_type": "mistral_large4_text", "hidden_size": 48,
         "moe_intermediate_size": 40, "n_routed_experts": 6, "n_shared_experts": 1, "num_experts_per_tok": 2,
         "n_group": 1, "topk_group": 1, "routed_scaling_factor": 2.0, "mlp_layer_types": ["dense", "sparse"],
         "torch_dtype": "float32"}})",
     "layers.1.", "router.weight gate.weight\n" + lines("experts.", "experts.{e}.", w132, "per_expert") + sharedW132,
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"logit_dtype": "f32", "top_k": 2, "normalize": {"kind": "sum", "eps": 1e-20}, "scale": 2.0},
         "experts": {"count": 6, "intermediate": 40}, "shared": {"intermediate": 40}})"},
    {"kolibri",
     R"({"model_type": "kolibri1", "hidden_size": 48, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 24,
         "num_experts": 6, "num_experts_per_tok": 2, "norm_topk_prob": true, "torch_dtype": "float32"})",
     "model.layers.0.", gate + "router.choice_bias moe.router.expert_bias\n" + experts + shared,
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"score": "sigmoid", "score_over": "selected", "choice_bias": true, "logit_dtype": "f32", "top_k": 2,
                    "normalize": {"kind": "sum"}},
         "experts": {"count": 6, "intermediate": 40}, "shared": {"intermediate": 24}})"},
    {"pangu",
     R"({"model_type": "pangu_ultra_moe", "hidden_size": 48, "moe_intermediate_size": 40, "num_routed_experts": 6,
         "num_shared_experts": 1, "num_experts_per_tok": 2, "routed_scaling_factor": 2.5, "norm_topk_prob": true,
         "router_enable_expert_bias": true, "num_dense_layers": 2, "torch_dtype": "float32"})",
     "model.layers.2.", gate + "router.choice_bias mlp.e_score_correction_bias\n" + experts + shared,
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"score": "sigmoid", "choice_bias": true, "logit_dtype": "f32", "top_k": 2,
                    "normalize": {"kind": "sum", "eps": 1e-20}, "scale": 2.5},
         "experts": {"count": 6, "intermediate": 40}, "shared": {"intermediate": 40}})"},
    {"flint",
     R"({"model_type": "flint", "hidden_size": 48, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 24,
         "num_experts": 6, "num_experts_per_tok": 2, "norm_topk_prob": true, "mlp_only_layers": [0],
         "torch_dtype": "float32"})",
     "model.layers.1.", gate + experts + sharedOne,
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"score": "sigmoid", "logit_dtype": "f32", "top_k": 2, "normalize": {"kind": "sum"}},
         "experts": {"count": 6, "intermediate": 40}, "shared": {"intermediate": 24}})"},
    {"dots3_note_images",
     R"({"model_type": "dots3_note_vision_encoder", "embed_dim": 48, "moe_intermediate_size": 40,
         "pyramid_num_routed": [-1, 4], "capacity_factor": 2, "router_scale": 1.5, "torch_dtype": "float32"})",
     "blocks.1.",
     "router.weight mlp.gate_weight\nrouter.choice_bias mlp.router_bias\n" +
         lines("experts.", "mlp.experts.{e}.", "fc1.weight fc3.weight fc2.weight", "per_expert"),
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"score": "sigmoid", "choice_bias": true, "logit_dtype": "f32", "top_k": 2,
                    "normalize": {"kind": "sum", "eps": 1e-20}, "scale": 1.5},
         "experts": {"count": 4, "intermediate": 40}})"},
    {"qwen3_omni_talker",
     R"({"model_type": "qwen3_omni_moe", "talker_config": {"text_config": {"model_type": "qwen3_omni_moe_talker_text",
         "hidden_size": 48, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 24, "num_experts": 6,
         "num_experts_per_tok": 2, "norm_topk_prob": true, "torch_dtype": "float32"}}})",
     "talker.model.layers.0.", gate + experts + sharedGated,
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32", "router": {"top_k": 2, "normalize": {"kind": "sum"}},
         "experts": {"count": 6, "intermediate": 40}, "shared": {"intermediate": 24, "gate": "sigmoid"}})",
     "--inner talker_config.text_config"},
    {"minicpm",
     R"({"model_type": "minicpm", "hidden_size": 48, "intermediate_size": 40, "num_experts": 6, "num_experts_per_tok": 2,
         "torch_dtype": "float32"})",
     "model.layers.0.", gate + lines("experts.", "mlp.experts.{e}.", w132, "per_expert"),
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32", "router": {"top_k": 2, "normalize": {"kind": "sum"}},
         "experts": {"count": 6, "intermediate": 40}})"},
    {"iquest",
     R"({"model_type": "iquest_q1", "hidden_size": 48, "intermediate_size": 40, "num_experts": 6,
         "num_experts_per_tok": 2, "moe_router_dtype": "fp32", "mlp_only_layers": [0], "torch_dtype": "float32"})",
     "model.layers.1.",
     "router.weight mlp.router.weight\n" + halves("experts.", "mlp.experts.fc", "mlp.experts.proj", ""),
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"logit_dtype": "f32", "top_k": 2, "normalize": {"kind": "sum"}},
         "experts": {"count": 6, "intermediate": 40}})"},
    {"step3",
     R"({"model_type": "step3_text", "hidden_size": 48, "moe_intermediate_size": 40, "share_expert_dim": 24,
         "moe_num_experts": 6, "moe_top_k": 2, "norm_expert_weight": false, "moe_layers_enum": "3,4",
         "torch_dtype": "float32"})",
     "model.layers.3.",
     "router.weight moe.gate.weight\n" + lines("experts.", "moe.", proj, "") +
         lines("shared.", "share_expert.", proj, ""),
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32", "router": {"top_k": 2},
         "experts": {"count": 6, "intermediate": 40}, "shared": {"intermediate": 24}})"},
    {"privacy_filter",
     R"({"model_type": "openai_privacy_filter", "hidden_size": 48, "intermediate_size": 40, "num_local_experts": 6,
         "num_experts_per_tok": 2, "swiglu_alpha": 1.5, "swiglu_limit": 2.0, "torch_dtype": "float32"})",
     "model.layers.0.",
     "router.weight mlp.router.weight\nrouter.bias mlp.router.bias\n" +
         halves("experts.", "mlp.experts.gate_up_proj", "mlp.experts.down_proj", "in_out") +
         "experts.gate_bias mlp.experts.gate_up_proj_bias first_half\n"
         "experts.up_bias mlp.experts.gate_up_proj_bias second_half\n"
         "experts.down_bias mlp.experts.down_proj_bias\n",
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"bias": true, "score_over": "selected", "logit_dtype": "f32", "top_k": 2},
         "experts": {"count": 6, "intermediate": 40, "act_alpha": 1.5, "up_offset": 1, "clamp": {"limit": 2.0},
                     "bias": {"in": true, "out": true}}})"},
    {"moondream",
     R"({"model_type": "moondream3", "torch_dtype": "float32", "config": {"text": {"dim": 48, "n_layers": 3,
         "moe": {"n_experts": 6, "n_experts_per_tok": 2, "expert_inner_dim": 40, "start_layer": 2}}}})",
     "model.text.blocks.2.",
     "router.weight mlp.router.weight\nrouter.bias mlp.router.bias\n" +
         halves("experts.", "mlp.fc1.weight", "mlp.fc2.weight", ""),
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"bias": true, "score_over": "selected", "top_k": 2},
         "experts": {"count": 6, "intermediate": 40, "act": "gelu", "up_offset": 1}})"},
    {"nomic",
     R"({"model_type": "nomic_bert", "n_embd": 48, "n_inner": 40, "n_layer": 4, "activation_function": "gelu",
         "num_experts": 6, "moe_top_k": 2, "moe_every_n_layers": 2, "torch_dtype": "float32"})",
     "encoder.layers.1.",
     "router.weight mlp.router.layer.weight\nexperts.up mlp.experts.mlp.w1 flat_rows\n"
     "experts.down mlp.experts.mlp.w2 flat_rows in_out\noutput.bias mlp.experts.bias\n",
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32", "router": {"top_k": 2},
         "experts": {"count": 6, "intermediate": 40, "form": "mlp", "act": "gelu"}, "combine": {"bias": true}})"},
    {"smallthinker",
     R"({"model_type": "smallthinker", "hidden_size": 48, "moe_ffn_hidden_size": 40, "moe_num_primary_experts": 6,
         "moe_num_active_primary_experts": 2, "torch_dtype": "float32"})",
     "model.layers.0.",
     "router.weight block_sparse_moe.primary_router.weight\n" +
         lines("experts.", "block_sparse_moe.experts.{e}.", "gate.weight up.weight down.weight", "per_expert"),
     R"({"moec": 1, "name": "wanted", "hidden": 48, "dtype": "f32",
         "router": {"input": {"from": "residual"}, "score": "sigmoid", "score_over": "selected", "top_k": 2,
                    "normalize": {"kind": "sum"}},
         "experts": {"count": 6, "intermediate": 40, "act": "relu"}})"},
};

class MoreCheckpoint : public testing::TestWithParam<Referenced> {};

TEST_P(MoreCheckpoint, gives_the_references_outputs) { checkReferenced(GetParam()); }

INSTANTIATE_TEST_SUITE_P(All, MoreCheckpoint, testing::ValuesIn(referenced),
                         [](const auto &info) { return info.param.label; });

} // namespace
