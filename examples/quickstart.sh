#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# From nothing to a running layer: installs what is missing, builds moec without its tests, compiles a published layer
# at its full size, builds a C program against it, runs and checks it. A second run rebuilds nothing; `sh tests/run.sh`
# adds the tests to the same build folder.
#   sh examples/quickstart.sh [PRESET]      a preset of softmax routing and SwiGLU experts; default qwen3-30b-a3b
set -eu
cd "$(dirname "$0")/.."
preset=${1:-qwen3-30b-a3b}
. tests/install.sh
moec_install
moec_build_tools release build

moec=$PWD/build/bin/moec
out=$PWD/build/quickstart
mkdir -p "$out"
# The spec is written once: a file that does not change keeps its date, and nothing behind it is made again.
"$moec" init --preset "$preset" -o - >"$out/layer.json.next"
cmp -s "$out/layer.json.next" "$out/layer.json" || mv "$out/layer.json.next" "$out/layer.json"
rm -f "$out/layer.json.next"
cmake -S examples/quickstart -B "$out/build" -G Ninja -DCMAKE_PREFIX_PATH="$PWD/build" -DCMAKE_C_COMPILER=cc \
  -DQUICKSTART_SPEC="$out/layer.json" >&2
cmake --build "$out/build" >&2

ceilings=$("$moec" bench --ceilings)
peak=$(echo "$ceilings" | sed -n 's/^compute_gflops //p')
read_gbps=$(echo "$ceilings" | sed -n 's/^read_gbps //p')
echo "preset $preset"
"$out/build/quickstart" "$peak" "$read_gbps"

cat <<END

Three things to try next:
  build/bin/moec bench $preset --tokens 1,32,512      the same figures, with cold weights and probes around each call
  build/bin/moec explain $preset --why                what was compiled, and why in this way
  build/bin/moec init -o mine.json                    a spec of your own; then: build/bin/moec compile mine.json
END
