# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec check --weights and moec pack: checkpoints that fit, and everything that can be wrong with one.
. "$2/tests/cli/expect.sh"

make() { python3 "$source_dir/tests/cli/checkpoint.py" "$@"; }
sed 's/"tiny"/"mini"/; s/"count": 4, "intermediate": 6, "form": "glu", "act": "silu" }/"count": 4, "intermediate": 6 },\
  "weights": {\
    "router.weight": { "tensor": "mlp.gate.weight" },\
    "experts.gate": { "tensor": "mlp.experts.{e}.gate_proj.weight", "stack": "per_expert" },\
    "experts.up": { "tensor": "mlp.experts.{e}.up_proj.weight", "stack": "per_expert" },\
    "experts.down": { "tensor": "mlp.experts.{e}.down_proj.weight", "stack": "per_expert" }\
  }/' "$source_dir/examples/tiny.json" >layer.json
run check layer.json
expect_status 0
good='m.3.mlp.gate.weight:BF16:4,8 m.3.mlp.experts.{0-3}.gate_proj.weight:F32:6,8 m.3.mlp.experts.{0-3}.up_proj.weight:F32:6,8'
down='m.3.mlp.experts.{0-3}.down_proj.weight:F32:8,6'
# shellcheck disable=SC2086 # one word per tensor
make model.safetensors $good $down m.3.norm.weight:F32:8 m.4.norm.weight:F32:8

run check layer.json --weights model.safetensors --prefix m.3.
expect_status 0
expect_err ''
expect_out 'layer.json: valid, 4 experts, top-2, H 8, I 6, f32
model.safetensors
  role           tensor                               shape   type  load
  router.weight  mlp.gate.weight                      [4, 8]  BF16  converted to f32
  experts.gate   mlp.experts.{0..3}.gate_proj.weight  [6, 8]  F32   as it is
  experts.up     mlp.experts.{0..3}.up_proj.weight    [6, 8]  F32   as it is
  experts.down   mlp.experts.{0..3}.down_proj.weight  [8, 6]  F32   as it is
  unused: m.3.norm.weight [8] F32
fits, 13 tensors of 4 roles can be loaded, 1 under the prefix are not used'

say_problem() { # say_problem TENSORS TEXT: the checkpoint's error, with its hint
  # shellcheck disable=SC2086
  make bad.safetensors $1
  run check layer.json --weights bad.safetensors --prefix m.3.
  expect_status 3
  expect_in err "$2"
}
say_problem "$good" 'layer.json: error[E-CHECKPOINT]: experts.down: tensor "m.3.mlp.experts.0.down_proj.weight" is not in bad.safetensors, and 3 more of this role'
say_problem "$good m.3.mlp.experts.{0-3}.dwon_proj.weight:F32:8,6" 'hint: did you mean "m.3.mlp.experts.0.dwon_proj.weight"?'
say_problem "$good model.layers.3.mlp.experts.{0-3}.down_proj.weight:F32:8,6" 'hint: it is there with the prefix "model.layers.3."'
say_problem "$good m.3.mlp.experts.{0-3}.down_proj.weight:F32:6,8" 'has shape [6, 8], expected [8, 6], and 3 more of this role'
expect_in err 'hint: its last two axes are swapped: change "axes" of the role in the spec'
say_problem "$good m.3.mlp.experts.{0-3}.down_proj.weight:F32:16,6" 'hint: it is twice as large, as where gate and up lie in one tensor'
say_problem "$good m.3.mlp.experts.{0-3}.down_proj.weight:I64:8,6" 'is I64, expected F32, BF16 or F16'
say_problem "$good m.3.mlp.experts.{0-4}.down_proj.weight:F32:8,6" 'experts.down: bad.safetensors has 5 experts, the last is "m.3.mlp.experts.4.down_proj.weight"; the layer has 4'
say_problem "$good m.3.mlp.experts.{0-2}.down_proj.weight:F32:8,6" '"m.3.mlp.experts.3.down_proj.weight" is not in bad.safetensors
'

run check layer.json --weights model.safetensors --prefix m.5.
expect_status 3
expect_in err 'error[E-CHECKPOINT]: router.weight: tensor "m.5.mlp.gate.weight" is not in model.safetensors'
expect_in err 'hint: it is there with the prefix "m.3."'
expect_in out 'does not fit, 0 tensors of 4 roles can be loaded'

run check layer.json --weights model.safetensors --prefix m.3. --json
expect_status 0
python3 - <<'END' || complain 'the JSON of a checkpoint that fits'
import json
entry, = json.load(open("out"))["files"]
weights, = entry["weights"]
assert entry["valid"] and weights["fits"] and weights["sources"] == [{"file": "model.safetensors", "prefix": "m.3."}]
assert [r["role"] for r in weights["roles"]] == ["router.weight", "experts.gate", "experts.up", "experts.down"]
down = weights["roles"][3]
assert (down["tensors"], down["found"], down["shape"], down["type"], down["load"]) == (4, 4, [8, 6], "F32", "as it is")
assert weights["unused"] == [{"tensor": "m.3.norm.weight", "source": 0, "shape": [8], "type": "F32"}]
END
run check layer.json --weights bad.safetensors --prefix m.3. --json
expect_status 3
python3 - <<'END' || complain 'the JSON of a checkpoint that does not fit'
import json
entry, = json.load(open("out"))["files"]
weights, = entry["weights"]
assert entry["valid"] and not weights["fits"] and entry["diagnostics"][0]["code"] == "E-CHECKPOINT"
assert weights["roles"][3]["found"] == 3 and "is not in bad.safetensors" in weights["roles"][3]["problem"]
END

echo text >text.safetensors
run check layer.json --weights text.safetensors
expect_status 3
expect_in err 'error[E-CHECKPOINT]: MOEC_FILE_FORMAT: text.safetensors: '
run check layer.json --weights nothing
expect_status 8
expect_in err 'error[E-FILE]: MOEC_FILE: nothing: '
run check layer.json --prefix m.3.
expect_status 2
run check layer.json layer.json --weights model.safetensors
expect_status 2
run check layer.json --weights model.safetensors --prefix 'm.{l}.'
expect_status 2
expect_err 'moec: error[E-USAGE]: a prefix holds {l}, but --layers is not given
  hint: --layers 0-47'
run check layer.json --weights model.safetensors --prefix m.3. --layers 3
expect_status 2
for list in 3- -3 3-1 a 1,,2 ''; do
  run check layer.json --weights model.safetensors --prefix 'm.{l}.' "--layers=$list"
  expect_status 2
done
run check layer.json --weights model.safetensors --prefix 'm.{l}.' --layers 3-4
expect_status 3
expect_in out 'layer 3: fits, 13 tensors of 4 roles can be loaded'
expect_in out 'layer 4: does not fit, 0 tensors'
expect_in err 'error[E-CHECKPOINT]: layer 4: router.weight: tensor "m.4.mlp.gate.weight" is not in model.safetensors'

# a layer and a function of the dialect
run check "$source_dir/examples/routing/learned_activation.mlir" --weights model.safetensors
expect_status 3
expect_in err 'learned_activation.mlir: error[E-CHECKPOINT]: router.weight: tensor "router.weight" is not in model.safetensors'
run check "$source_dir/templates/functions/silu.mlir" --weights model.safetensors
expect_status 2
expect_in err 'silu.mlir" is a function and has no weights'

# an index of shards
mkdir shards
# shellcheck disable=SC2086
make shards/one.safetensors $good
make shards/two.safetensors $down
python3 - <<'END'
import json, struct
names = {}
for shard in ("one.safetensors", "two.safetensors"):
    bytes = open("shards/" + shard, "rb").read()
    for name in json.loads(bytes[8:8 + struct.unpack("<Q", bytes[:8])[0]]):
        names[name] = shard
json.dump({"weight_map": {**names, "m.3.lost": "three.safetensors"}}, open("shards/model.safetensors.index.json", "w"))
END
run check layer.json --weights shards --prefix m.3.
expect_status 0
expect_in out 'unused: m.3.lost'
rm shards/two.safetensors
run check layer.json --weights shards --prefix m.3.
expect_status 3
expect_in err 'shards/two.safetensors'
expect_in out 'does not fit, 9 tensors of 4 roles can be loaded, 1 under the prefix are not used'

# a base and an adapter
# shellcheck disable=SC2086
make base.safetensors $good
make adapter.safetensors 'a.3.mlp.experts.{0-3}.down_proj.weight:BF16:8,6' a.3.rank:F32:1
run check layer.json --weights base.safetensors --prefix m.3. --adapter adapter.safetensors --adapter-prefix a.3.
expect_status 0
expect_out 'layer.json: valid, 4 experts, top-2, H 8, I 6, f32
1 base.safetensors
2 adapter.safetensors
  role           tensor                               shape   type  load              file
  router.weight  mlp.gate.weight                      [4, 8]  BF16  converted to f32  1
  experts.gate   mlp.experts.{0..3}.gate_proj.weight  [6, 8]  F32   as it is          1
  experts.up     mlp.experts.{0..3}.up_proj.weight    [6, 8]  F32   as it is          1
  experts.down   mlp.experts.{0..3}.down_proj.weight  [8, 6]  BF16  converted to f32  2
  unused: a.3.rank [1] F32
fits, 13 tensors of 4 roles can be loaded, 1 under the prefix are not used'
run check layer.json --weights base.safetensors --prefix m.3. --adapter adapter.safetensors --adapter-prefix b.3.
expect_status 3
expect_in err 'tensor "m.3.mlp.experts.0.down_proj.weight" is not in base.safetensors, nor "b.3.mlp.experts.0.down_proj.weight" in adapter.safetensors, and 3 more of this role'
expect_in err 'in "adapter.safetensors": it is there with the prefix "a.3."'
run check layer.json --weights base.safetensors --adapter-prefix a.3.
expect_status 2

# ---- pack -----------------------------------------------------------------------------------------------------------

run pack layer.json model.safetensors --prefix m.3. -o one
expect_status 0
expect_out one
expect_in err '16.0 KiB, '
run pack layer.json model.safetensors --prefix m.3. -o one
expect_status 8
expect_err 'moec: error[E-EXISTS]: file "one" exists
  hint: choose another file with -o, or pass --force to replace it'
run pack layer.json model.safetensors --prefix m.3. -o one --force --threads 1
expect_status 0
cp one first
run pack layer.json model.safetensors --prefix m.3. -o 'packed/{l}' --layers 3 2>/dev/null
run pack layer.json model.safetensors --prefix 'm.{l}.' -o 'packed/layer-{l}' --layers 3
expect_status 0
expect_out packed/layer-3
expect_that 'equal files' cmp first packed/layer-3
run pack layer.json model.safetensors --prefix m.3. -o gpu --target cuda
expect_status 0
run pack layer.json model.safetensors --prefix m.3. -o gpu2 --target cpu,cuda --device cuda
expect_status 0
expect_that 'equal files' cmp gpu gpu2
expect_that 'another layout' test "$(cmp first gpu >/dev/null; echo $?)" = 1

run pack layer.json model.safetensors --prefix 'm.{l}.' -o 'packed/next-{l}' --layers 3-4
expect_status 3
expect_in err 'error[E-CHECKPOINT]: layer 4: router.weight: tensor "m.4.mlp.gate.weight" is not in model.safetensors'
expect_that 'nothing is written before all layers fit' test ! -e packed/next-3
run pack layer.json model.safetensors --prefix 'm.{l}.' -o same --layers 3-4
expect_status 2
run pack layer.json bad.safetensors --prefix m.3. -o never
expect_status 3
expect_that 'no file' test ! -e never
run pack layer.json model.safetensors --prefix m.3. -o /dev/full/x
expect_status 8
(ulimit -f 8; run pack layer.json model.safetensors --prefix m.3. -o never; expect_status 8; done_testing) || failures=$((failures + 1))
expect_that 'nothing is left' test -z "$(ls -d never* 2>/dev/null)"

run pack layer.json model.safetensors --prefix m.3. -o never --fault crash@write
expect_status 7
run pack layer.json model.safetensors --prefix m.3. -o never --fault hang@write --timeout 2
expect_status 9
expect_that 'nothing is left' test -z "$(ls -d never* 2>/dev/null)"

run compile layer.json -q -o package
run pack package model.safetensors --prefix m.3. -o of-package
expect_status 0
expect_that 'the file of the spec' cmp first of-package
run compile layer.json -q --name other -o other
run pack other model.safetensors --prefix m.3. -o of-other
run pack layer.json model.safetensors --prefix m.3. --name other -o of-name
expect_that 'the file of the name' cmp of-other of-name
done_testing
