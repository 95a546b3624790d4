#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# counts.sh MOEC few|all [FLAGS of moec verify]: layers of any number of experts E and choices k against the reference,
# each with random logits and with logits that are all equal, where the lower ids win. `all` is every E with every k in
# 1 .. min(E, 32):
#
#     sh tests/random/counts.sh build/bin/moec all                                  # every instruction set here
#     sh tests/random/counts.sh build/bin/moec all --target cuda --emulate          # an hour
set -u
moec=$1 which=$2
shift 2
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT INT TERM
if [ "$which" = all ]; then
  counts="1 2 3 7 8 60 64 96 127 128 129 160 256 257 384 512 896 1025 4096"
  choices=$(seq 1 32)
else
  counts="1 3 60 129 896 4096"
  choices="1 8 32"
fi

# equal: a clamp so narrow that every logit is one of two numbers whose softmax is the same
spec() {
  printf '{"moec": 1, "name": "counted", "hidden": 9, "router": {"logit_dtype": "f32", "top_k": %s%s}, ' "$2" "$3"
  printf '"experts": {"count": %s, "intermediate": 5}}\n' "$1"
}
equal=', "transform": [{"op": "clamp", "min": 0, "max": 1e-30}]'
failed=0 ran=0
for e in $counts; do
  for k in $choices; do
    [ "$k" -le "$e" ] || continue
    for more in "" "$equal"; do
      spec "$e" "$k" "$more" >"$folder/layer.json"
      ran=$((ran + 1))
      if ! said=$("$moec" verify "$folder/layer.json" --tokens 0,1,5 -q "$@" 2>&1); then
        failed=$((failed + 1))
        echo "FAIL E $e k $k${more:+ equal logits}: $said"
      fi
    done
  done
done
echo "$ran layers, $failed failed"
[ "$failed" -eq 0 ]
