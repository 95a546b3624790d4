# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A package holds what it was made from: manifest and share/NAME name all of it, and `moec compile share/NAME` makes the
# same bytes again.
. "$2/tests/cli/expect.sh"
cp "$source_dir/examples/tiny.json" tiny.json

again() { # again FOLDER: its package, made again from share/NAME alone, and from the whole folder
  run compile "$1"/share/*/ -q -o "$1.again"
  expect_status 0
  expect_err ''
  expect_that "the same files of $1" diff -r "$1" "$1.again"
  cp -r "$1"/share/* "$1.alone" # without the rest of the package, under another name
  run compile "$1.alone" -q -o "$1.third"
  expect_status 0
  expect_that "the same files of $1, once more" diff -r "$1" "$1.third"
}
made_from() { # made_from FOLDER EXPRESSION: of m, the manifest, and f, its made_from
  expect_that "$2" python3 -c '
import glob, json, sys
m = json.load(open(glob.glob(sys.argv[1] + "/share/*/manifest.json")[0])); f = m["made_from"]
assert eval(sys.argv[2]), f' "$1" "$2"
}

# ---- a spec, with options
run compile tiny.json -q -o plain
again plain
made_from plain 'f["source"] == "spec.json" and f["options"]["targets"][0] == "cpu:baseline" and not f["schedule"]["given"]'
made_from plain 'f["templates"]["functions/silu.mlir"]["built_in"] and f["templates"]["kernels/panel.mlir"]["built_in"]'
made_from plain '"share/tiny/templates/functions/silu.mlir" in m["files"]'
run compile tiny.json -q -o options --target cpu:avx2,cuda:sm_80 --max-tokens 512 --det off --math tf32 --reports all \
  --emit both --name other
again options
made_from options 'f["options"] == {"targets": ["cpu:avx2", "cuda:sm_80"], "max_tokens": 512, "math": "tf32", "determinism": "off", "library": "both"}'
expect_that 'both libraries' test -s options/lib/libother.a -a -s options/lib/libother.so
run compile tiny.json -q -o chunks --target cpu:avx2 --workspace-limit 40KiB --max-tokens 4096 --det batch --emit shared
again chunks
made_from chunks 'f["options"]["workspace_limit"] == 40960 and f["options"]["determinism"] == "batch"'
run compile tiny.json -q -o same --target cpu:avx2 --math tf32 --det off
made_from same 'f["options"]["math"] == "exact" and f["options"]["determinism"] == "run"' # nothing took effect

# ---- a layer of the dialect, comments included
run compile tiny.json -q --stop-after build
{ echo '// A layer.'; cat out; } >tiny.mlir
run compile tiny.mlir -q -o dialect --target cpu:avx2
again dialect
expect_that 'its text is in the package' cmp tiny.mlir dialect/share/tiny/layer.mlir
made_from dialect 'f["source"] == "layer.mlir"'

# ---- a schedule that was given
run compile tiny.json -q --target cpu:avx2 --stop-after schedule
sed -n '1p; /^stage router/,/^stage/p' out | sed '1!{/^stage experts/,$d}' >router.txt
sed -i 's/streams = [0-9]*/streams = 8/' router.txt
run compile tiny.json -q --target cpu:avx2 --schedule router.txt -o given
expect_status 0
again given
made_from given 'f["schedule"]["given"] == ["router cpu:avx2"]'

# ---- functions and kernels of --templates
mkdir -p mine/functions mine/kernels
sed 's/silu/swish/; s/-128.0/-96.0/' "$source_dir/templates/functions/silu.mlir" >mine/functions/swish.mlir
sed 's/@panel for/@mine for/' "$source_dir/templates/kernels/panel.mlir" >mine/kernels/mine.mlir
cp "$source_dir/templates/kernels/panel_chunked.mlir" mine/kernels/
sed 's/"silu"/"swish"/' tiny.json >swish.json
run compile swish.json -q --templates mine --target cpu:avx2 --stop-after schedule
sed 's/ panel {/ mine {/' out >mine.txt
run compile swish.json -q --templates mine --target cpu:avx2 --schedule mine.txt -o overlay
expect_status 0
again overlay
made_from overlay 'not f["templates"]["functions/swish.mlir"]["built_in"] and not f["templates"]["kernels/mine.mlir"]["built_in"]'
made_from overlay '"share/tiny/templates/kernels/mine.mlir" in m["files"] and "kernels/panel_chunked.mlir" not in f["templates"]'
expect_that 'the hash is that of the file' sh -c \
  'grep -q "$(sha256sum <mine/functions/swish.mlir | cut -d" " -f1)" overlay/share/tiny/manifest.json'
identity() { sed -n 's/.*"spec_sha256": "\(.*\)".*/\1/p' "$1/share/tiny/manifest.json"; }
mkdir -p other/functions
sed 's/-96.0/-64.0/' mine/functions/swish.mlir >other/functions/swish.mlir
run compile swish.json -q --templates other --target cpu:avx2 -o other_body
expect_that 'another body is another layer' test "$(identity overlay)" != "$(identity other_body)"
sed '1s/^/\/\/ a comment\n/' mine/functions/swish.mlir >other/functions/swish.mlir
run compile swish.json -q --templates other --target cpu:avx2 -o comment
expect_that 'a comment is none' test "$(identity overlay)" = "$(identity comment)"
run compile tiny.json -q --templates mine --target cpu:avx2 -o unused
run compile tiny.json -q --target cpu:avx2 -o builtin
expect_that 'files that nothing uses leave no trace' diff -r unused builtin

# ---- tuning records, which are looked up by machine when they decide, and never again
run compile tiny.json -q --target cpu:avx2 --stop-after schedule
python3 - <<'PY'
import json, re
kernel = re.search(r"stage router avx2\n  rows 1\.\.\S* (.*)", open("out").read()).group(1)
record = {
    "schema": "moec.tune/1", "kind": "choice",
    "stage": {"spec": "a" * 64, "layer": "tiny", "name": "router", "n": 4, "k": 8, "parts": 1, "a": "f32", "b": "f32",
              "out": "f32", "gathered": False},
    "target": "cpu:avx2", "class": "1..", "threads": 1, "routing": "uniform",
    "machine": {"cpu": {"vendor": "GenuineNone", "family": 6, "model": 1, "stepping": 1, "name": "x", "isas": ["avx2"]}},
    "default": kernel, "choice": re.sub("streams = [0-9]+", "streams = 8", kernel),
    "times": {"default_us": [106, 105, 108], "candidate_us": [100, 99, 101.5], "pairs": 11, "wins": 10,
              "gain": [0.06, 0.053, 0.067], "flops": 37748736, "bytes": 3145728},
    "stamp": {"moec": "0.1.0", "abi": "1.0", "timing": 1, "date": "2026-11-27T10:00:00Z"}}
open("records.jsonl", "w").write(json.dumps(record, separators=(",", ":")) + "\n")
PY
run compile tiny.json -q --target cpu:avx2 --tuning records.jsonl -o tuned
expect_status 0
expect_that 'the record decided' grep -q 'streams = 8' tuned/share/tiny/schedule.txt
again tuned
made_from tuned 'f["schedule"]["tuned"][0]["stage"] == "router" and not f["schedule"]["tuned"][0]["exact"]'
expect_that 'its line is in the package, and its hash in the manifest' sh -c \
  'grep -q "$(head -c -1 tuned/share/tiny/tuning.jsonl | sha256sum | cut -d" " -f1)" tuned/share/tiny/manifest.json'

# ---- what cannot be made again
run compile plain/share/tiny -q -o none --target cpu:avx2
expect_status 2
expect_err 'moec: error[E-USAGE]: "plain/share/tiny" is a package, which decides --target
  hint: a package is made again as it was; compile the spec in its share folder for other flags'
for file in spec.json schedule.txt templates/functions/silu.mlir; do
  cp -r plain/share/tiny changed
  echo '# changed' >>changed/$file
  run compile changed -q -o none
  expect_status 3
  expect_err 'moec: error[E-PACKAGE]: package folder "changed": share/tiny/'$file' is not the file that manifest.json lists'
  rm -r changed
done
cp -r plain/share/tiny changed
mkdir changed/templates/kernels
cp "$source_dir/templates/kernels/panel.mlir" changed/templates/kernels/
run compile changed -q -o none
expect_status 3
expect_err 'moec: error[E-PACKAGE]: package folder "changed": manifest.json does not list "templates/kernels/panel.mlir"'
mv changed/templates/kernels elsewhere && ln -s ../../elsewhere changed/templates/kernels
run compile changed -q -o none
expect_status 3
expect_err 'moec: error[E-PACKAGE]: package folder "changed": manifest.json does not list "templates/kernels"'
rm -r changed
cp -r tuned/share/tiny changed
python3 - <<'PY'
import hashlib, json
line = open("changed/tuning.jsonl").read().replace('"wins":10', '"wins":9')
open("changed/tuning.jsonl", "w").write(line)
m = json.load(open("changed/manifest.json"))
m["files"]["share/tiny/tuning.jsonl"] = "sha256:" + hashlib.sha256(line.encode()).hexdigest()
json.dump(m, open("changed/manifest.json", "w"))
PY
run compile changed -q -o none
expect_status 3
expect_in err 'no line of share/tiny/tuning.jsonl has the SHA-256 '
rm -r changed
cp -r plain/share/tiny changed
sed -i 's/"moec": "0.1.0"/"moec": "0.0.9"/' changed/manifest.json
run compile changed -q -o older
expect_status 0
expect_err 'moec: warning[W-PACKAGE]: "changed" cannot be made again with the same bytes: moec 0.0.9 made it, this is '"$("$moec" version | sed -n '1s/^moec *\([0-9.]*\).*/\1/p')"'
  hint: the new package computes the same layer'
for change in 's/"max_tokens": [0-9]*,/"max_tokens": -1,/' 's/"cpu:avx2"/"cpu:avx2 "/' 's/"built_in": true/"built_in": 1/' \
  's/"given": \[/"given": ["x"/' 's/"source": "spec.json"/"source": "..\/spec.json"/' 's/sha256:./sha256:X/' \
  's/"share.tiny.spec.json"/"..\/spec.json"/' 's/"math": "exact"/"math": "fast"/' 's/"functions.silu.mlir"/"functions\/..\/silu.mlir"/' \
  's/"made_from"/"made"/' 's/"max_tokens": [0-9]*,/"max_tokens": 99999999999,/'; do
  rm -rf changed && cp -r plain/share/tiny changed
  sed -i "$change" changed/manifest.json
  run compile changed -q -o none
  expect_status 3
  expect_in err 'moec: error[E-PACKAGE]: package folder "changed": manifest.json '
done
expect_that 'nothing was written' test ! -e none
done_testing
