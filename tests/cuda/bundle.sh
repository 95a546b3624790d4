#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh tests/cuda/bundle.sh [OUT.tar.gz] -> everything that tests/cuda/run.sh needs on a machine that has a GPU and a driver
# but no compiler: the check program, the runtime, packages of all golden cases and of RANDOM_LAYERS random layers
# (default 500), unit kernels, the benchmark. Under 60 MiB. BUILD names the build folder (default build), which must be built.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
build=${BUILD:-$root/build}
out=${1:-$root/moec-cuda-bundle.tar.gz}
layers=${RANDOM_LAYERS:-500}
moec=$build/bin/moec
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/moec-cuda-bundle
mkdir -p "$folder/bin" "$folder/lib" "$folder/golden" "$folder/graph" "$folder/units" "$folder/bench"
for program in moec moec-cuda-check moec-cuda-units; do
  [ -x "$build/bin/$program" ] || { echo "bundle.sh: no $build/bin/$program; build first: sh tests/run.sh" >&2; exit 2; }
done
cp "$build/bin/moec-cuda-check" "$folder/bin/"
cp -L "$(find "$build" -name 'libmoec.so' | head -n 1)" "$folder/lib/libmoec.so"
cp "$root/tests/cuda/run.sh" "$root/tests/cuda/bench/"*.py "$folder/"
git -C "$root" rev-parse HEAD >"$folder/commit" 2>/dev/null || echo unknown >"$folder/commit"

echo "unit kernels" >&2
"$moec" doctor -q | grep ptxas >"$folder/toolkit" || true
"$build/bin/moec-cuda-units" "$folder/units" >&2

# package SPEC TARGET FOLDER: FOLDER/libNAME.so, or nothing where this version does not build the layer
package() {
  rm -rf "$work/package"
  code=0
  "$moec" compile "$1" -q --target "$2" --emit shared --max-tokens "${3}" -o "$work/package" >/dev/null 2>"$work/err" || code=$?
  [ "$code" -eq 0 ] || [ "$code" -eq 4 ] || { cat "$work/err" >&2; exit 1; }
  return "$code"
}

echo "golden cases" >&2
for file in "$root"/tests/golden/*.safetensors; do
  name=$(basename "$file" .safetensors)
  "$folder/bin/moec-cuda-check" spec "$root/tests/golden" "$name" >"$work/spec.json"
  if package "$work/spec.json" cuda 256; then
    mkdir "$folder/golden/$name"
    cp "$work"/package/lib/*.so "$folder/golden/$name/"
    cp "$root/tests/golden/$name.json" "$file" "$folder/golden/"
  fi
done

echo "$layers random layers" >&2
seed=1
while [ "$seed" -le "$layers" ]; do
  part=$folder/random$((seed % 8))
  target=cuda:sm_90a
  [ $((seed % 4)) -ne 0 ] || target=cuda:sm_80 # its PTX, which every later GPU takes
  mkdir -p "$part"
  "$moec" verify --random 1 --seed "$seed" --print-specs >"$part/random_$seed.json"
  if package "$part/random_$seed.json" "$target" 256; then
    cp "$work"/package/lib/*.so "$part/"
    if [ "$seed" -le 12 ]; then
      cp "$part/random_$seed.json" "$work"/package/lib/*.so "$folder/graph/"
    fi
  else
    rm "$part/random_$seed.json"
  fi
  seed=$((seed + 1))
done

echo "benchmark" >&2
for preset in qwen3-30b-a3b qwen3-235b-a22b olmoe-1b-7b deepseek-v3 mixtral-8x7b gpt-oss-20b; do
  package "$preset" cuda:sm_90a 32768
  name=$(basename "$work"/package/lib/*.so .so)
  mv "$work/package" "$folder/bench/${name#lib}"
done

tar czf "$out" -C "$work" moec-cuda-bundle
bytes=$(wc -c <"$out")
echo "$out: $((bytes / 1024)) KiB" >&2
[ "$bytes" -lt 62914560 ] || { echo "bundle.sh: more than 60 MiB" >&2; exit 1; }
