#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh small_bundle.sh BUILD OUT -> a bundle of a few cases in the folder OUT, unpacked; twice, because a second run makes no package
# anew. Exit 77: a tool is missing, ptxas or xz.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
"$1/bin/moec" doctor -q 2>/dev/null | grep -q ptxas || exit 77
rm -rf "$2"
mkdir -p "$2"
make_bundle() {
  env BUILD="$1" CACHE="$2/cache" RANDOM_LAYERS=3 GRAPH_LAYERS=1 GOLDEN='mixtral-f32 olmoe-f32 qwen3_moe-* switch-f32' PRESETS=small-4x1 \
    VARIANTS="$here/variants.txt" sh "$here/../bundle.sh" "$2/bundle.tar.xz"
}
code=0
make_bundle "$1" "$2" || code=$?
[ $code -ne 5 ] || exit 77
[ $code -eq 0 ] || exit 1
before=$(ls "$2/cache")
sum=$(sha256sum <"$2/bundle.tar.xz")
mkdir "$2/cache/tmp.99999999" # what an interrupted compiler leaves
make_bundle "$1" "$2"
[ "$before" = "$(ls "$2/cache")" ] || { echo "a second run does not reuse what the first made" >&2; exit 1; }
[ "$sum" = "$(sha256sum <"$2/bundle.tar.xz")" ] || { echo "two runs made two bundles" >&2; exit 1; }
tar xf "$2/bundle.tar.xz" -C "$2"
