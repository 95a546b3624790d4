# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# .mlir files and package folders as SPEC: the package of printed text, its identity, what it is verified against, and
# what cannot be read.
. "$2/tests/cli/expect.sh"
cp "$source_dir/examples/tiny.json" tiny.json
identity() { sed -n 's/.*"spec_sha256": "\(.*\)".*/\1/p' "$1/share/tiny/manifest.json"; }

run compile tiny.json -q --reports all --stop-after build
cp out tiny.mlir
run compile tiny.json -q --reports all -o from_spec
run compile tiny.mlir -q -o from_text
expect_status 0
expect_that 'printed text gives the same library' cmp from_spec/lib/libtiny.a from_text/lib/libtiny.a
expect_that 'the identity is the hash of spec.json and of the functions' python3 -c '
import glob, hashlib, os, re, sys
text = open("from_spec/share/tiny/spec.json").read()
for path in sorted(glob.glob("from_spec/share/tiny/templates/functions/*.mlir")):
    body = " ".join(re.sub("//.*", "", open(path).read()).split())
    text += "function %s\n%s\n" % (os.path.basename(path)[:-5], body)
assert "function silu" in text and hashlib.sha256(text.encode()).hexdigest() == sys.argv[1], text' "$(identity from_spec)"
expect_that 'and that of the text' test "$(identity from_text)" = "$(identity from_spec)"

sed 's/constant 1.000000e+00/constant 2.000000e+00/' tiny.mlir >edited.mlir
expect_that 'the edit does something' sh -c '! cmp -s tiny.mlir edited.mlir'
run compile edited.mlir -q -o edited
expect_status 0
expect_that 'edited text is another layer' test "$(identity edited)" != "$(identity from_spec)"
expect_that 'which has an identity' test "$(identity edited | tr -d 0)" != ''

# The interpreter is the reference of a layer that no spec describes.
run verify tiny.mlir -q --target cpu:baseline,cuda --emulate --tokens 0-5,17
expect_status 0
expect_in out '0 failed'
run verify tiny.mlir -q --target cpu:baseline --tokens 1-4 --json
expect_status 0
expect_that 'verify --json has the form it has for specs' python3 -c '
import json
d = json.load(open("out"))
assert (d["cases"], d["passed"], d["failed"], d["skipped"]) == (4, 4, 0, 0), d
assert d["isas"][0]["isa"] == "baseline" and d["isas"][0]["worst_relative_error"] < 2e-5, d'
run verify tiny.mlir -q --target cpu:baseline --tokens 32 --routing
expect_status 0
expect_in out 'expert'
run bench tiny.mlir -q --tokens 2 --rounds 1 --format csv
expect_status 0
run bench tiny.mlir -q --tokens 2 --rounds 1 --skew zipf --format csv
expect_status 0
sed 's/router.weight/gate.weight/' tiny.mlir >nameless.mlir
run bench nameless.mlir -q --tokens 2 --rounds 1 --skew zipf
expect_status 4
expect_err 'moec: error[E-UNSUPPORTED]: --skew zipf acts on the parameter router.weight, and this layer has none
  hint: give the router'"'"'s matrix that moe.role'

# A parameter of 14 GiB under a limit of 4.
cat >columns.mlir <<'EOF'
func.func @percol(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<4x8xf32> {moe.role = "router.weight"}, %b: tensor<4x8xf32> {moe.role = "b"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<4x8xf32> -> tensor<?x4xf32>
  %i = moe.top_k 2 of %z : tensor<?x4xf32> -> tensor<?x2xi32>
  %r = moe.dispatch %i {moe.experts} : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
  %g = moe.gather %x, %r : tensor<?x8xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  %h = moe.map (%a = %g elem : tensor<?x8xf32>, %c = %b col : tensor<4x8xf32>) -> tensor<?x8xf32> {
    %s = arith.addf %a, %c : f32
    moe.yield %s : f32
  }
  %y = moe.combine %h : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
EOF
run verify columns.mlir -q --target cpu,cuda --emulate --tokens 0-5,17
expect_status 0

cat >large.mlir <<'EOF'
func.func @large(%x: tensor<?x4xf32> {moe.role = "x"}, %table: tensor<900000000x4xf32> {moe.role = "table"},
                 %token: tensor<?xi32> {moe.role = "token_ids"}) -> (tensor<?x4xf32> {moe.role = "y"}) {
  %y = moe.lookup %table at %token : tensor<900000000x4xf32>, tensor<?xi32> -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
EOF
for verb in verify bench; do
  run --memory-limit 4000 -q $verb large.mlir --tokens 1
  expect_status 9
  expect_in err 'moec: error[E-MEMORY]: '
done

# What is not a layer says where.
sed 's/moe.softmax/moe.softmin/' tiny.mlir >bad.mlir
for verb in check verify bench compile; do
  run $verb bad.mlir
  expect_status 3
  expect_in err "bad.mlir:4:10: error[E-MOE]: custom op 'moe.softmin' is unknown"
done
printf 'not a layer\n' >text.mlir
run verify text.mlir
expect_status 3
expect_in err 'text.mlir:1:1: error[E-MOE]: '

# Text that would use up the stack of the parser, or of whoever walks over what it made.
deep() { # deep NAME EXPRESSION MESSAGE: a file of what python prints
  python3 -c "n = 20000; print($2)" >"deep_$1.mlir"
  for verb in check explain compile verify bench; do
    run $verb "deep_$1.mlir"
    expect_status 3
    expect_in err "deep_$1.mlir:"
    expect_in err "error[E-MOE]: $3"
  done
}
deep list '"func.func private @f() attributes {a = " + "[" * n' 'brackets are nested deeper than 256 levels'
deep affine '"#m = affine_map<(d0) -> (" + "(" * n' 'brackets are nested deeper than 256 levels'
deep minus '"#m = affine_map<(d0) -> (" + "-" * n + "d0)>"' 'an expression has more than 256 operators'
deep sum '"#m = affine_map<(d0) -> (d0" + " + d0" * n + ")>"' 'an expression has more than 256 operators'
deep function '"func.func private @d() -> " + "(() -> " * n' 'brackets are nested deeper than 256 levels'
deep tuple '"!t = " + "tuple<" * n' 'brackets are nested deeper than 256 levels'
deep alias '"!t0 = tuple<i32>\n" + "".join(f"!t{i} = tuple<!t{i-1}>\n" for i in range(1, n))' \
  'aliases are nested deeper than 256 levels'
deep aliases '"!t0 = tuple<i32>\n" + "".join(f"!t{i} = tuple<!t{i-1}, !t{i-1}>\n" for i in range(1, 64))' \
  'an alias expands to more than 65536 bytes'
deep region '"\"a.b\"() ({\n" * n' 'brackets are nested deeper than 256 levels'
printf 'this is no mlir \377\000' >garbage.mlir
run check garbage.mlir
expect_status 3
expect_in err 'garbage.mlir:1:1: error[E-MOE]: '
expect_in err '    1 | this is no mlir'

# The layers of examples/routing, written in the dialect.
for example in "$source_dir"/examples/routing/*.mlir; do
  run check "$example"
  expect_status 0
  run verify "$example" -q --tokens 0-9,17,33
  expect_status 0
  expect_in out ', 0 failed'
  run verify "$example" -q --target cuda --emulate --tokens 1,5,17
  expect_status 0
  expect_in out '6 cases, 6 passed, 0 failed'
done

for verb in check tune; do
  run $verb from_spec
  expect_status 4
  expect_err 'moec: error[E-UNSUPPORTED]: "from_spec" is a package folder; this verb reads specs, .mlir files and presets
  hint: the layer it was made from is "from_spec/share/tiny/spec.json"'
done
run check edited
expect_status 4
expect_err 'moec: error[E-UNSUPPORTED]: "edited" is a package folder; this verb reads specs, .mlir files and presets
  hint: the layer it was made from is "edited/share/tiny/layer.mlir"'
done_testing
