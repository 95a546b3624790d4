#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# kinds.sh MOEC [FLAGS of moec verify]: kinds of experts and routers by name, each against the reference, on the CPU or on
# the emulated GPU. f16 is built for GPUs only.
set -u
moec=$1
shift
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT INT TERM
failed=0 ran=0

# kind LABEL DTYPE "members of router" "members of experts" ["members of the top level"]
kind() {
  case "$2 $flags" in
  "f16 "*cuda*) ;;
  "f16 "*) return ;;
  esac
  printf '{"moec": 1, "name": "kind", "dtype": "%s", "hidden": 40, "router": {%s}, "experts": {%s}%s}\n' "$2" "$3" "$4" \
    "${5:+, $5}" >"$folder/layer.json"
  ran=$((ran + 1))
  if ! said=$("$moec" verify "$folder/layer.json" --tokens 0,1,5,40 -q $flags 2>&1); then
    failed=$((failed + 1))
    echo "FAIL $1: $said"
  fi
}

flags=$*
mixed='"count": 6, "intermediate": [40, 7, 130, 96, 7, 40]'
kind widths f32 '"top_k": 2' "$mixed"
kind widths_f16 f16 '"top_k": 2' "$mixed, \"bias\": {\"in\": true, \"out\": true}, \"act\": \"gelu\""
kind widths_bf16_norm_lora bf16 '"top_k": 3' "$mixed, \"norm_out\": \"layernorm\", \"lora\": {\"rank\": 3, \"alpha\": 4}"
kind widths_latent_capacity bf16 '"top_k": 3' "$mixed, \"latent\": {\"dim\": 24}" '"capacity": {"mode": "fixed", "value": 4}'
kind widths_expert_choice f32 '"kind": "expert_choice", "select": {"tokens": 3}' "$mixed"
kind widths_soft bf16 '"kind": "soft", "slots": 2' "$mixed, \"norm_out\": \"layernorm\""
# rows of slots whose program reads nothing else of their route
kind soft_norm f32 '"kind": "soft", "slots": 3, "scope": "batch"' '"count": 4, "intermediate": 21, "norm_out": "layernorm"'
kind keys f32 '"kind": "product_key", "top_k": 3' '"count": 64, "intermediate": 16'
kind keys_selected bf16 '"kind": "product_key", "top_k": 9, "score_over": "selected", "bias": true' '"count": 49, "intermediate": 16'
kind keys_first_choices f32 '"kind": "product_key", "top_k": 5, "score": "sigmoid"' '"count": 36, "intermediate": 16' '"inputs": {"top_k": true}'
kind constants bf16 '"top_k": 3' '"count": 4, "intermediate": 21, "zero": {"count": 5, "kind": "constant"}'
kind constants_dropped f32 '"top_k": 3' '"count": 4, "intermediate": 21, "zero": {"count": 2, "kind": "constant"}' \
  '"capacity": {"mode": "fixed", "value": 4, "dropped": "identity"}'
kind next_best_of_many f32 '"top_k": 100' '"count": 520, "intermediate": 5' '"capacity": {"mode": "fixed", "value": 2, "overflow": "next_best"}'
kind k_256 f32 '"score": "sigmoid", "top_k": 256' '"count": 300, "intermediate": 5'
kind groups_keep_130 f32 '"score": "sigmoid", "groups": {"count": 140, "keep": 130, "score": "max"}, "top_k": 100' \
  '"count": 280, "intermediate": 5'
kind shared_256 f32 '"top_k": 1' '"count": 2, "intermediate": 5' '"shared": {"intermediate": 5, "count": 256}'
limited='"act_alpha": 1.702, "up_offset": 1, "clamp": {"limit": 0.5}'
kind shared_clamp_joined bf16 '"top_k": 2' "\"count\": 4, \"intermediate\": 24, $limited" "\"shared\": {\"intermediate\": 24, $limited}"
kind shared_clamp_alone bf16 '"top_k": 2' '"count": 4, "intermediate": 24' "\"shared\": {\"intermediate\": 24, $limited}"
kind shared_clamp_behind f32 '"top_k": 2' '"count": 4, "intermediate": 24' \
  '"shared": {"intermediate": 16, "count": 2, "clamp": {"limit": 0.25, "at": "post_act"}}'
caps='"softcap": {"gate": 0.5, "up": 0.75}'
kind soft_caps bf16 '"top_k": 2' "\"count\": 4, \"intermediate\": 24, $caps" "\"shared\": {\"intermediate\": 24, $caps}"
kind soft_caps_f32 f32 '"top_k": 2' "\"count\": 4, \"intermediate\": 24, $caps"
kind latent_norms bf16 '"top_k": 3' '"count": 6, "intermediate": 24, "latent": {"dim": 24, "norm_in": {"kind": "rms",
  "unit_offset": true}, "norm_out": "rms"}, "norm_out": {"kind": "rms", "weight_at": "before", "per_expert": false}'
kind latent_norms_of_slots bf16 '"kind": "soft", "slots": 2' '"count": 4, "intermediate": 24, "latent": {"dim": 24,
  "bias": true, "norm_in": "layernorm", "norm_out": "rms"}'
kind norm_of_each_expert f32 '"top_k": 2' '"count": 4, "intermediate": 24, "norm_out": {"kind": "rms", "unit_offset": true}'
kind norm_of_output bf16 '"top_k": 2' '"count": 4, "intermediate": 24' '"shared": {"intermediate": 24}, "combine": {"norm_out": "rms"}'
kind norm_of_output_in_a_wrap f32 '"top_k": 2' '"count": 4, "intermediate": 24' \
  '"combine": {"norm_out": "layernorm"}, "layer": {"wrap": "skip"}'
kind most_rows bf16 '"score": "sigmoid", "choice_bias": true, "top_k": 200, "input": {"norm": {"kind": "rms"}}' \
  '"count": 4096, "intermediate": 8, "zero": {"count": 1024}'
kind each_group bf16 '"score": "sigmoid", "choice_bias": true, "groups": {"count": 4, "choose": "each"}, "top_k": 8, "normalize": {"kind": "sum"}' \
  '"count": 24, "intermediate": 21, "zero": {"count": 4}'
kind each_group_selected f32 '"score_over": "selected", "groups": {"count": 3, "choose": "each"}, "top_k": 6' '"count": 12, "intermediate": 21'
kind own_experts bf16 '"bias": true, "choice_bias": true, "token_groups": {"count": 2, "experts": "own"}, "top_k": 2, "normalize": {"kind": "sum"}' \
  '"count": 6, "intermediate": [40, 40, 40, 8, 8, 8]' '"shared": {"intermediate": 48}'
kind own_experts_relu f32 '"score": "relu", "token_groups": {"count": 3, "experts": "own"}, "top_k": 2, "transform": [{"op": "cosine", "scale": 4}]' \
  '"count": 12, "intermediate": 21' '"capacity": {"mode": "fixed", "value": 4}'
kind own_experts_most bf16 '"score": "sigmoid", "choice_bias": true, "token_groups": {"count": 16, "experts": "own"}, "top_k": 8' \
  '"count": 4096, "intermediate": 8'
kind bias_of_groups bf16 '"score": "sigmoid", "choice_bias": true, "token_groups": {"count": 3}, "groups": {"count": 3, "keep": 2}, "top_k": 3' \
  '"count": 12, "intermediate": 21'
kind table_of_first_group f32 '"kind": "table", "vocab": 40, "choice_bias": true, "token_groups": {"count": 2}, "top_k": 3' \
  '"count": 12, "intermediate": 21'
kind shared_by_router bf16 '"score": "sigmoid", "choice_bias": true, "top_k": 3, "normalize": {"kind": "sum"}, "scale": 8, "global_scale": true' \
  '"count": 12, "intermediate": 21' '"shared": {"intermediate": 21, "count": 2, "gate": "router"}'
kind shared_by_router_dropped f32 '"bias": true, "top_k": 3, "score_over": "selected"' '"count": 12, "intermediate": 21' \
  '"shared": {"intermediate": 17, "gate": "router"}, "capacity": {"mode": "fixed", "value": 4, "normalize_at": "after", "overflow": "next_best"}'
kind largest_per_expert bf16 '"top_k": 4, "normalize": {"kind": "sum"}' '"count": 12, "intermediate": 21' \
  '"capacity": {"mode": "factor", "value": 0.5, "order": "largest_per_expert"}'
echo "$ran layers, $failed failed"
[ "$failed" -eq 0 ]
