# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# .mlir files and package folders as SPEC: the package of printed text, its identity, and what cannot be read.
. "$2/tests/cli/expect.sh"
cp "$source_dir/examples/tiny.json" tiny.json
identity() { sed -n 's/.*"spec_sha256": "\(.*\)".*/\1/p' "$1/share/tiny/manifest.json"; }

run compile tiny.json -q --stop-after build
cp out tiny.mlir
run compile tiny.json -q -o from_spec
run compile tiny.mlir -q -o from_text
expect_status 0
expect_that 'printed text gives the same library' cmp from_spec/lib/libtiny.a from_text/lib/libtiny.a
expect_that 'the identity is the hash of spec.json' \
  test "$(identity from_spec)" = "$(sha256sum <from_spec/share/tiny/spec.json | cut -d' ' -f1)"
expect_that 'and that of the text' test "$(identity from_text)" = "$(identity from_spec)"

sed 's/constant 1.000000e+00/constant 2.000000e+00/' tiny.mlir >edited.mlir
expect_that 'the edit does something' sh -c '! cmp -s tiny.mlir edited.mlir'
run compile edited.mlir -q -o edited
expect_status 0
expect_that 'edited text is another layer' test "$(identity edited)" != "$(identity from_spec)"
expect_that 'which has an identity' test "$(identity edited | tr -d 0)" != ''

for verb in bench verify; do
  run $verb tiny.mlir
  expect_status 4
  expect_err "moec: error[E-UNSUPPORTED]: moec $verb reads JSON specs and presets; \"tiny.mlir\" is text of the moe dialect, for which no reference and no weights are known
  hint: name the JSON spec; moec compile and moec explain read .mlir files"
  run $verb from_spec
  expect_status 4
  expect_err 'moec: error[E-UNSUPPORTED]: "from_spec" is a package folder; moec reads specs, .mlir files and presets
  hint: the spec it was made from is "from_spec/share/tiny/spec.json"'
done
run verify edited
expect_status 4
expect_err 'moec: error[E-UNSUPPORTED]: "edited" is a package folder; moec reads specs, .mlir files and presets
  hint: it was made from a .mlir file; name that one'
done_testing
