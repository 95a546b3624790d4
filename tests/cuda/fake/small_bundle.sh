#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh small_bundle.sh BUILD OUT -> a bundle of a few cases in the folder OUT, packed and unpacked. Exit 77: a tool is
# missing, ptxas or xz.
set -u
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$2"
mkdir -p "$2"
code=0
env BUILD="$1" CACHE="$2/cache" RANDOM_LAYERS=2 GRAPH_LAYERS=1 PRESETS=small-4x1 TRAINED='rows-f16 odd-f32' \
  GOLDEN='mixtral-f32 olmoe-f32 qwen3_moe-*' VARIANTS="$here/variants.txt" sh "$here/../bundle.sh" "$2/bundle.tar.xz" || code=$?
[ $code -ne 5 ] || exit 77
[ $code -eq 0 ] && tar xf "$2/bundle.tar.xz" -C "$2"
