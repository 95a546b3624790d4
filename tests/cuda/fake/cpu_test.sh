#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# sh cpu_test.sh BUILD -> moec-cuda-check on CPU kernels: the checks pass where a layer is right, and fail where its
# package is of another layer: another activation, other weights of choices. Packages are made once, and never half.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
check=$1/bin/moec-cuda-check
export MOEC="$1/bin/moec" MOEC_HASH=none CACHE="$work/cache" PYTHONDONTWRITEBYTECODE=1
mkdir "$CACHE" "$work/large" "$work/golden" "$work/wrong"
failed=0
package() { sh "$here/../package.sh" "$@" --target cpu || failed=1; }
expect() { # CODE PATTERN ARGUMENT...
  want=$1 pattern=$2 code=0
  shift 2
  "$check" --on-cpu "$@" >"$work/out" 2>&1 || code=$?
  if [ $code -ne "$want" ] || ! grep -qE "$pattern" "$work/out"; then
    echo "FAIL moec-cuda-check $*: exit $code, expected $want and a line $pattern"
    cat "$work/out"
    failed=1
  fi
}
# edited FROM TO PYTHON: the spec FROM after `PYTHON` ran on it, as TO
edited() {
  python3 -c "import json, sys; s = json.load(open(sys.argv[1])); $3; json.dump(s, open(sys.argv[2], 'w'))" "$1" "$2"
}

# Sampled tokens, whole sequences where capacity makes tokens depend on each other, several T.
for preset in small-4x1 switch-base-128; do
  python3 "$here/../narrow.py" spec "$root/dsl/presets/$preset.json" "$work/large/$preset.json"
  package "$work/large/$preset" "$work/large/$preset.json" - - --max-tokens 512
  echo "1 2 33 300" >"$work/large/$preset.tokens"
done
expect 0 '^pass large small-4x1: 4 calls, ' large "$work/large"
expect 0 '^pass big switch-base-128: 4 calls, ' --as big large "$work/large" switch-base-128
edited "$work/large/small-4x1.json" "$work/wrong/other-act.json" 's["experts"]["act"] = "gelu"'
edited "$work/large/small-4x1.json" "$work/wrong/other-scale.json" 's["router"]["scale"] = 1.02'
edited "$work/large/switch-base-128.json" "$work/wrong/other-capacity.json" 's["capacity"]["value"] = 1'
for name in other-act other-scale; do cp -r "$work/large/small-4x1" "$work/wrong/$name"; done
cp -r "$work/large/switch-base-128" "$work/wrong/other-capacity"
expect 1 '^FAIL large other-act: T=' --tokens 2,40 large "$work/wrong" other-act
expect 1 '^FAIL large other-scale: T=' --tokens 2,40 large "$work/wrong" other-scale
expect 1 '^FAIL large other-capacity: T=' --tokens 256 large "$work/wrong" other-capacity

# Gradients of layers of real size; frozen experts in place of others, and a layer that the formulas do not hold for.
mkdir "$work/trained"
python3 "$here/../trained.py" table "$here/../trained.txt" "$work/trained" tiles-flat >"$work/list" || failed=1
package "$work/trained/tiles-flat" "$work/trained/tiles-flat.json" - - --max-tokens 512
expect 0 '^pass large tiles-flat: 2 calls, .* gradients, at most ' --tokens 2,300 large "$work/trained"
edited "$work/trained/tiles-flat.json" "$work/frozen.json" 's["frozen"] = ["experts.down[0:136]"]'
package "$work/wrong/frozen" "$work/frozen.json" - - --max-tokens 512
cp "$work/trained/tiles-flat.json" "$work/wrong/frozen.json"
expect 1 '^FAIL large frozen: T=300: gradient of experts.down of expert ' --tokens 300 large "$work/wrong" frozen
cp -r "$work/trained/tiles-flat" "$work/wrong/losses"
edited "$work/trained/tiles-flat.json" "$work/wrong/losses.json" 's["losses"] = [{"kind": "z", "coef": 0.1}]'
expect 1 '^FAIL large losses: T=2: gradients of such a layer are not known here' --tokens 2 large "$work/wrong" losses

# Stored vectors; cases behind another, shares of cases.
for name in mixtral-f32 olmoe-f32; do
  "$check" spec "$root/tests/golden" $name >"$work/$name.json"
  cp "$root/tests/golden/$name.json" "$root/tests/golden/$name.safetensors" "$work/golden/"
  package "$work/golden/$name" "$work/$name.json" - - --max-tokens 256
done
expect 0 '^golden: 2 checks, 2 passed' golden "$work/golden"
expect 0 '^golden: 1 checks, 1 passed' --after mixtral-f32 golden "$work/golden"
expect 0 '^golden: 1 checks, 1 passed' --share 1/2 golden "$work/golden"
expect 0 '^golden: 0 checks' --after olmoe-f32 golden "$work/golden"

# Stored gradients; layers of another activation, and gradients that are cut short.
mkdir "$work/backward"
export GRADIENTS="$1/bin/moec-cuda-gradients" GRADIENTS_HASH=none TEMPLATES="$root/templates"
python3 "$here/../trained.py" table "$here/../trained.txt" "$work/backward" rows-f32 odd-f32 >"$work/list" || failed=1
for name in rows-f32 odd-f32; do
  package "$work/backward/$name" "$work/backward/$name.json" - - --max-tokens 64
  sh "$here/../gradients.sh" "$work/backward/$name.gradients" "$work/backward/$name.json" 0 3 17 || failed=1
done
expect 0 '^pass backward rows-f32: 3 calls, ' backward "$work/backward"
mkdir "$work/other"
edited "$work/backward/rows-f32.json" "$work/other/act.json" 's["experts"]["act"] = "gelu"'
edited "$work/backward/rows-f32.json" "$work/other/frozen.json" 's["frozen"] = ["experts.*[1:3]"]'
edited "$work/backward/rows-f32.json" "$work/other/loss.json" 's["losses"].pop()'
for name in act frozen loss; do
  package "$work/other/$name" "$work/other/$name.json" - - --max-tokens 64
  cp "$work/backward/rows-f32.gradients" "$work/other/$name.gradients"
done
cp -r "$work/backward/rows-f32" "$work/other/short"
cp "$work/backward/rows-f32.json" "$work/other/short.json"
head -c 5000 "$work/backward/rows-f32.gradients" >"$work/other/short.gradients"
expect 1 '^FAIL backward act: T=3: gradient of ' backward "$work/other" act
expect 1 '^FAIL backward frozen: T=3: gradient of ' backward "$work/other" frozen
expect 1 '^FAIL backward loss: T=3: gradient of ' backward "$work/other" loss
expect 1 '^FAIL backward short: short.gradients cannot be read' backward "$work/other" short
mkdir "$work/empty"
expect 1 '^golden: 0 checks' golden "$work/empty"
expect 2 '^usage: ' --on-cpu graph "$work/golden"
expect 2 '^usage: ' golden

# A finished package is used again without the compiler; one that was interrupted is made again.
small() { # as above
  sh "$here/../package.sh" "$work/again" "$work/large/small-4x1.json" - - --max-tokens 512 --target cpu
}
rm -rf "$work/again"
bad() { echo "FAIL package.sh: $*"; failed=1; }
is_whole() { [ -e "$work/again/manifest.json" ]; }
MOEC=false small && is_whole || bad "a finished package is not used again"
cat >"$work/interrupted" <<'STUB'
#!/bin/sh
for last; do :; done
mkdir -p "$last/lib" && : >"$last/lib/half.so"
exit 130
STUB
rm -rf "$work/again" "$CACHE"
mkdir "$CACHE"
chmod +x "$work/interrupted"
MOEC="$work/interrupted" small 2>/dev/null && bad "an interrupted compiler is taken for done"
[ ! -e "$work/again/half.so" ] || bad "half a package"
small && is_whole || bad "nothing is made after an interrupt"
[ $failed -eq 0 ] && echo "moec-cuda-check: all as expected"
exit $failed
