# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# "reports" of a spec and --reports: what a package has, where that is said, and what cannot be asked for.
. "$2/tests/cli/expect.sh"
cp "$source_dir/examples/tiny.json" tiny.json
sed 's/"top_k": 2/"kind": "product_key", "top_k": 2/' tiny.json >keys.json
sed 's/^  "experts"/  "reports": ["logit_max", "dropped_tokens"],&/' tiny.json >two.json

# The key, and the flag in its place; the header, the manifest and explain agree.
names() {
  python3 -c 'import json; print(*sorted(a["name"] for a in json.load(open("'"$1"'/share/tiny/manifest.json"))["arguments"] if a["optional"]))'
}
run compile tiny.json -q -o none
expect_status 0
expect_that 'no reports by default' test "$(names none)" = 'counts ids logits weights'
expect_in none/include/tiny.h ' * reports    none; moec compile --reports NAME,... or "reports" of the spec adds some.'
run compile two.json --name tiny -q -o two
expect_status 0
expect_that 'two reports' test "$(names two)" = 'counts dropped_tokens ids logit_max logits weights'
expect_in two/include/tiny.h ' * logit_max [1] f32, on request: largest |logit|.'
expect_in two/share/tiny/spec.json '"reports": ["logit_max", "dropped_tokens"]'
run compile two.json --name tiny -q -o all --reports all
expect_status 0
expect_that 'the flag wins' test "$(names all)" = \
  'choice_counts counts diversity dropped_tokens ids logit_max logit_mean logits probabilities weights'
expect_in all/share/tiny/spec.json '"reports": "all"'
run explain two.json -q --target cpu:baseline --tokens 1
expect_in out 'reports logit_max dropped_tokens'
run explain two.json -q --reports none --target cpu:baseline --tokens 1
expect_in out 'reports none; --reports NAME,... adds some'
run explain two.json -q --json --target cpu:baseline --tokens 1
expect_that 'explain --json lists them' python3 -c '
import json
d = json.load(open("out"))
assert d["reports"] == ["logit_max", "dropped_tokens"] and any(s["if_asked"] for s in d["steps"]), d
asked = {output for s in d["steps"] for output in s["asked_for"]}
assert asked == {"counts", "logit_max", "dropped_tokens"} and all(s["if_asked"] == bool(s["asked_for"]) for s in d["steps"]), d["steps"]
few = d["calls"][0]["workspace_bytes"]
assert d["threads"] == 1 and few > 0
import subprocess, sys
many = json.loads(subprocess.run(sys.argv[1:], capture_output=True, text=True).stdout)
assert many["threads"] == 8 and many["calls"][0]["workspace_bytes"] > few, (many["calls"], few)' \
  "$moec" -q explain two.json --json --target cpu:baseline --tokens 1 --threads 8

# What cannot be asked for.
run compile tiny.json --reports logit_max,drop_tokens -o nothing
expect_status 2
expect_err 'moec: error[E-USAGE]: --reports: "drop_tokens" is not a report
  hint: did you mean "dropped_tokens"?'
run verify tiny.json --reports everything
expect_status 2
expect_err 'moec: error[E-USAGE]: --reports: "everything" is not a report
  hint: expected all, none, or of probabilities, choice_counts, logit_mean, logit_max, diversity,
        dropped_tokens'
run check keys.json --reports probabilities
expect_status 3
expect_in err 'error[E-REPORT]: a layer with router.kind product_key cannot have the report probabilities: its router has no'
run check keys.json --reports all
expect_status 0
run compile tiny.json -q --stop-after build
cp out tiny.mlir
run compile tiny.mlir --reports all -o nothing
expect_status 2
expect_in err '--reports does not apply to a .mlir file'
run verify --random 1 --reports all
expect_status 2
expect_in err '--reports applies to a spec'

# Every subset agrees with the reference.
for reports in none probabilities logit_mean logit_max choice_counts diversity dropped_tokens logit_mean,diversity; do
  run verify tiny.json -q --reports $reports --tokens 0,1,5 --threads 1
  expect_status 0
done
done_testing
