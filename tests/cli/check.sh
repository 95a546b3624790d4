# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec init and moec check: files in, diagnostics whole, exit 0, 3 and 8.
. "$2/tests/cli/expect.sh"

cp "$source_dir/examples/tiny.json" tiny.json
run check tiny.json
expect_status 0
expect_out 'tiny.json: valid, 4 experts, top-2, H 8, I 6, f32'
expect_err ''

sed 's/"top_k": 2/"top_k": 12/' tiny.json >bad.json
run check bad.json tiny.json
expect_status 3
expect_out 'tiny.json: valid, 4 experts, top-2, H 8, I 6, f32'
expect_err 'bad.json:5:44: error[E-K]: top_k (12) is larger than experts.count (4)
    5 |   "router": { "score": "softmax", "top_k": 12, "normalize": { "kind": "sum" } },
      |                                            ^^
  hint: top_k counts experts per token and must be 1..4; did you swap the two numbers?
1 error. moec check --explain E-K tells more.'

run check --color always bad.json
expect_status 3
expect_in err "$(printf '\033[')"
run check bad.json
expect_that 'no colour without a terminal' sh -c '! grep -q "$(printf "\033")" err'

run check --json bad.json
expect_status 3
expect_err '1 error. moec check --explain E-K tells more.'
expect_that 'check --json holds the place' python3 -c '
import json
d = json.load(open("out"))["files"][0]
assert not d["valid"]
e = d["diagnostics"][0]
assert (e["code"], e["line"], e["column"]) == ("E-K", 5, 44), e'

# Files of the dialect: a layer, function files, and what a target refuses.
run compile tiny.json -q --stop-after build
cp out tiny.mlir
run check tiny.mlir "$source_dir/templates/functions/gelu.mlir"
expect_status 0
expect_out "tiny.mlir: valid, layer tiny
$source_dir/templates/functions/gelu.mlir: valid, function gelu"
sed 's/top_k 2 of/top_k 12 of/' tiny.mlir >wrong.mlir
run check wrong.mlir
expect_status 3
expect_in err "wrong.mlir:5:10: error[E-MOE]: 'moe.top_k' op C1: "
printf 'func.func @wave(%%x: f32) -> f32 {\n  %%y = math.sin %%x : f32\n  func.return %%y : f32\n}\n' >wave.mlir
run check wave.mlir
expect_status 3
expect_in err 'wave.mlir:2:8: error[E-MOE]: found math.sin, allowed are at most 256 of '
run check --json wave.mlir
expect_status 3
expect_that 'check --json holds the place in a function' python3 -c '
import json
d = json.load(open("out"))["files"][0]
e = d["diagnostics"][0]
assert not d["valid"] and (e["code"], e["line"], e["column"]) == ("E-MOE", 2, 8), d'
cp wave.mlir other.mlir
sed -i 's/math.sin/math.tanh/' other.mlir
run check other.mlir
expect_status 3
expect_in err 'expected func.func @other(%x: f32) -> f32 { ... }'
sed 's/"hidden"/"dtype": "f16", "hidden"/' tiny.json >half.json
run check half.json
expect_status 4
expect_in err 'half.json:4:12: error[E-UNSUPPORTED]: f16 is not built for CPU targets; f32 and bf16 are, and f16 for cuda'
run check --target cuda half.json
expect_status 0
run check --target gpu half.json
expect_status 2

# A layer that no plan can describe is the input's fault, not moec's.
sed 's/"hidden": 8/"hidden": 1048576/; s/"count": 4, "intermediate": 6/"count": 4096, "intermediate": 1048576/' tiny.json >vast.json
run check vast.json
expect_status 3
expect_err "vast.json: error[E-PLAN]: 'func.func' op P3: the packed weights have more than 2^50 bytes
1 error. moec check --explain E-PLAN tells more."
expect_that 'no reproducer' sh -c '! ls -d moec-repro-* 2>/dev/null'
run check --explain E-PLAN
expect_status 0

run check --explain E-MOE
expect_status 0
run check --explain E-K
expect_status 0
expect_in out 'E-K: '
run check --explain E-SYMLINK
expect_status 0
expect_out 'E-SYMLINK: The package folder is a symbolic link. Exit 8. moec does not write through links.'
run check --explain E-NOTHING
expect_status 2
expect_err 'moec: error[E-USAGE]: unknown code "E-NOTHING"
  hint: codes look like E-K; dsl/README.md lists them'

run check nothing.json
expect_status 8
expect_err 'moec: error[E-FILE]: cannot read the spec "nothing.json": no file and no preset has this name
  hint: moec init --list names the presets'
run check qwen3-30b-a3
expect_status 8
expect_err 'moec: error[E-FILE]: cannot read the spec "qwen3-30b-a3": no file and no preset has this name
  hint: did you mean the preset "qwen3-30b-a3b"?'
run check mixtral
expect_status 8
expect_err 'moec: error[E-FILE]: cannot read the spec "mixtral": no file and no preset has this name
  hint: did you mean the preset "mixtral-8x22b" or "mixtral-8x7b"?'
echo '{"model_type": "mixtral", "hidden_size": 64}' >config.json
run check config.json
expect_status 3
expect_err 'config.json:1:1: error[E-MISSING]: this is the config of a model; expected the spec of a layer
    1 | {"model_type": "mixtral", "hidden_size": 64}
      | ^
  hint: moec import hf makes a spec of it
1 error. moec check --explain E-MISSING tells more.'
# Every function file of templates/ is an activation, with and without an overlay.
sed 's/"silu"/"softplus"/' "$source_dir/examples/tiny.json" >softplus.json
run check softplus.json
expect_status 0
run verify softplus.json --tokens 1,7 -q
expect_status 0
mkdir folder
run check folder
expect_status 8
expect_err 'moec: error[E-FILE]: the spec "folder" is a folder
  hint: name a JSON file, a .mlir file or a preset; moec init --list names the presets'

run check qwen3-30b-a3b
expect_status 0
expect_out 'qwen3-30b-a3b: valid, 128 experts, top-8, H 2048, I 768, bf16'

head -c 2000000 /dev/zero | tr '\0' ' ' >large.json
run check large.json
expect_status 3
expect_err 'moec: error[E-LIMIT]: spec "large.json" is larger than 1048576 bytes'

run init
expect_status 0
expect_out 'layer.json'
run check layer.json
expect_status 0
run init
expect_status 8
expect_err 'moec: error[E-EXISTS]: file "layer.json" exists
  hint: choose another file with -o, or pass --force to replace it'
run init --force --preset mixtral-8x7b
expect_status 0
run init --preset mixtral-8x7
expect_status 2
expect_err 'moec: error[E-USAGE]: unknown preset "mixtral-8x7"
  hint: did you mean "mixtral-8x7b"?'
run init --list
cp out presets
while read -r preset; do
  run check "$preset"
  expect_status 0
done <presets
expect_that '19 presets or more' test "$(wc -l <presets)" -ge 19
done_testing
