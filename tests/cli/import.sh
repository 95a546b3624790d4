# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec import hf: a config becomes a spec that compiles; what is missing or unknown is said.
. "$2/tests/cli/expect.sh"

cat >config.json <<'EOF'
{"model_type": "deepseek_v3", "hidden_size": 64, "moe_intermediate_size": 32, "n_routed_experts": 16, "n_shared_experts": 1,
 "num_experts_per_tok": 4, "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5, "norm_topk_prob": true,
 "hidden_act": "silu", "torch_dtype": "float32", "num_hidden_layers": 4, "first_k_dense_replace": 1}
EOF
run import hf config.json -o v3.json
expect_status 0
expect_err 'moec: warning[W-QUIRK]: experts of groups that are not kept score -inf in the published code and 0 in transformers before 5.4 and in mlx, which differs where a kept score with its bias is not above 0
  hint: chosen: router.groups.masked neg_inf; --masked-groups zero is the other'
expect_in out 'router.top_k           4               num_experts_per_tok'
expect_in out 'names of tensors begin with "model.layers.1."; the third argument of moec_weights_load'
run check v3.json
expect_status 0
expect_out 'v3.json: valid, 16 experts, top-4, H 64, I 32, f32'
run verify v3.json --tokens 1,5 -q
expect_status 0

run import hf config.json -o v3.json
expect_status 8
expect_in err 'error[E-EXISTS]: file "v3.json" exists'
expect_in err '  hint: choose another file with -o, or pass --force to replace it'
run import hf config.json -o v3.json --force --layer 3 --json
expect_status 0
expect_in out '"prefix": "model.layers.3."'
expect_that 'import --json holds mapping and warnings' python3 -c '
import json
d = json.load(open("out"))
assert {"key": "router.top_k", "value": "4", "source": "num_experts_per_tok"} in d["mapping"], d
assert [(w["code"], w["key"]) for w in d["warnings"]] == [("W-QUIRK", "n_group")], d'

run import hf config.json -o -
expect_status 0
expect_that 'the spec alone is on stdout' python3 -c 'import json; json.load(open("out"))'
expect_in err 'names of tensors begin with "model.layers.1."'
run import hf --list --json
expect_status 0
expect_that 'the list is JSON' python3 -c 'import json; assert "deepseek_v3" in json.load(open("out"))'
run import hf config.json -o - --layer 0
expect_status 3
expect_err 'moec: error[E-IMPORT-LAYER]: layer 0 has no experts
  hint: those from first_k_dense_replace on have'
sed 's/deepseek_v3/deepsek_v3/' config.json >unknown.json
run import hf unknown.json -o -
expect_status 3
expect_err 'moec: error[E-IMPORT-MODEL]: model_type "deepsek_v3" is not known
  hint: did you mean "deepseek_v3"? a model of another type may route in another way; else write the spec by
        hand: dsl/README.md'
sed 's/"hidden_size": 64, //' config.json >missing.json
run import hf missing.json -o -
expect_status 3
expect_in err 'error[E-IMPORT-KEY]: the config has no hidden_size'
# Quantised weights are not built: said as such, and what is supported; converted ones are a layer like others.
sed 's/"hidden_size"/"quantization_config": {"quant_method": "fp8"}, &/' config.json >fp8.json
run import hf fp8.json -o -
expect_status 4
expect_in err 'error[E-UNSUPPORTED]: quantised experts are not built, and this checkpoint is quantised (fp8)'
expect_in err '  hint: f32, bf16 and f16 weights are supported: convert the checkpoint and pass --float'
expect_that 'no spec is printed' test ! -s out
run import hf fp8.json -o - --float --masked-groups zero
expect_status 0
expect_that 'the old form of groups has no neg_inf' sh -c '! grep -q neg_inf out'
run import hf config.json -o - --stacked
expect_status 0
expect_in out '"tensor": "mlp.experts.gate_up_proj"'
run import hf config.json -o - --decoder
expect_status 3
expect_in err 'error[E-IMPORT-KEY]: --decoder is for models with an encoder too'

# A folder is that of its config.json; the file of a quantiser beside it is a sign too.
mkdir model
cp config.json model
run import hf model -o - -q --dtype bf16
expect_status 0
expect_in out '"dtype": "bf16"'
echo '{"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}' >model/hf_quant_config.json
run import hf model -o -
expect_status 4
expect_in err 'this checkpoint is quantised (NVFP4)'
run import hf model/config.json -o - --float
expect_status 0
expect_in err 'the checkpoint is quantised (NVFP4)'

# Which layers have experts, and which are equal.
run import hf config.json --layers
expect_status 0
expect_out '  no experts                layer 0
  16 experts, top-4, equal  layers 1-3'
run import hf config.json --layers --layer 2
expect_status 2
sed 's/"first_k_dense_replace": 1/"first_k_dense_replace": 9/' config.json >dense.json
run import hf dense.json --layers
expect_status 3
expect_in err 'error[E-IMPORT-LAYER]: no layer of this config has experts'
run import hf config.json --layers --json
expect_status 0
expect_that 'import --layers --json lists the groups' python3 -c '
import json
d = json.load(open("out"))
assert [(g["layers"], g["experts"]) for g in d["groups"]] == [([0], False), ([1, 2, 3], True)], d'

# A key that no rule reads is said; with --strict it is an error.
sed 's/"hidden_size"/"swiglu_limit": 7.0, &/' config.json >unread.json
run import hf unread.json -o -
expect_status 0
expect_in err 'warning[W-IMPORT-KEY]: swiglu_limit looks like experts, routing or an activation, and no rule of deepseek_v3 reads it'
run import hf unread.json -o - --strict
expect_status 3
expect_in err 'error[E-IMPORT-KEY]: swiglu_limit looks like experts'

# Another model of the config than the text model.
sed 's/.*"model_type"/{"model_type": "qwen3_omni_moe", "talker_config": {"text_config": {"model_type"/; s/}$/}}}/' config.json >whole.json
run import hf whole.json -o - --inner talker_config.text_config -q
expect_status 0
run import hf whole.json -o spec.json --inner talker_config.text_config
expect_in out 'names of tensors begin with "talker.model.layers.1."'
run import hf whole.json -o - --inner talker_config.none
expect_status 3
expect_err 'moec: error[E-IMPORT-KEY]: the config has no object under "talker_config.none"
  hint: --inner names a key of the config, as in talker_config.text_config'

# Invalid JSON has a place; the words of Python for numbers that are not finite are read.
printf '{\n "model_type": "mixtral",\n "hidden_size": 64,\n}\n' >comma.json
run import hf comma.json -o -
expect_status 3
expect_in err 'comma.json:4:1: error[E-JSON]'
sed 's/"hidden_size"/"time_step_limit": [0.0, Infinity, -Infinity, NaN], &/' config.json >infinity.json
run import hf infinity.json -o -
expect_status 0
run import hf --list
expect_status 0
expect_in out 'qwen3_moe'
done_testing
