# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec bench of a layer that trains: both passes, --pass, comparisons, packages, reports.
. "$2/tests/cli/expect.sh"
sed -e 's/"hidden": 8/"passes": ["forward", "backward"], "hidden": 8/' "$source_dir/examples/tiny.json" >train.json
cp "$source_dir/examples/tiny.json" plain.json
quick='-q --target cpu:baseline --tokens 4 --rounds 2'

# ---- both passes are timed
run bench train.json $quick --stages --json
expect_status 0
expect_that '--json has a result of each pass' python3 -c '
import json
d = json.load(open("out"))
assert d["types"]["gradients"] == "f32", d
saving, backward = d["results"]
assert (saving["pass"], backward["pass"]) == ("forward_saving", "backward"), d
assert saving["tokens"] == backward["tokens"] == 4 and saving["rounds"] == backward["rounds"] == 2, d
for r, steps in ((saving, {"experts_down", "combine"}), (backward, {"experts_down_dgrad", "experts_down_wgrad"})):
    assert steps <= {s["name"] for s in r["steps"]}, r
routing = {s["name"]: s["routing"] for s in backward["steps"]}
assert not routing["experts_up_wgrad"] and not routing["experts_up_dgrad"] and routing["router_wgrad"], routing
if saving["gflops"] and backward["gflops"]:  # twice the work
    work = [r["gflops"] * r["us_median"] for r in (saving, backward)]
    assert abs(work[1] / work[0] - 2) < 0.3, work'
cp out both.json
run bench train.json $quick
expect_status 0
expect_in out '| T | pass | time, us |'
expect_in out '| 4 | forward that saves | '
expect_in out '| 4 | backward | '
expect_in out 'Backward calls make every gradient, those of matrices in f32'
run bench train.json --target cpu:baseline --tokens 4 --rounds 2
expect_that 'progress names the passes' sh -c 'grep -q "^  T = 4      forward that saves " err && grep -q "^  T = 4      backward " err'

# ---- one of them
run bench train.json $quick --pass backward --format csv
expect_status 0
expect_that 'csv has backward calls alone' sh -c '[ "$(tail -n +2 out | grep -c ",backward$")" = 1 ] && [ "$(wc -l <out)" = 2 ]'
run bench train.json $quick --pass forward
expect_status 0
expect_that 'a table of forward as ever' sh -c 'head -1 out | grep -q "^| T | time, us |" && ! grep -q gradient out'
run bench plain.json $quick --pass forward --json
expect_status 0
expect_that 'a forward call' grep -q '"pass": "forward",' out
run bench plain.json $quick --pass both
expect_status 4
expect_err 'moec: error[E-UNSUPPORTED]: --pass both: the layer has no backward pass
  hint: a spec with "passes": ["forward", "backward"] has one'
run bench train.json $quick --pass down
expect_status 2
run bench train.json $quick --distinct-experts 2
expect_status 2
expect_in err 'error[E-USAGE]: --distinct-experts is for forward calls'
run bench train.json $quick --distinct-experts 2 --pass forward
expect_status 0
printf '{"moec": 1, "name": "wide", "passes": ["forward", "backward"], "hidden": 4096, "router": {"top_k": 2}, %s}\n' \
  '"experts": {"count": 16, "intermediate": 4096}' >wide.json
run --memory-limit 6000 bench wide.json $quick
expect_status 9
expect_in err '; --pass forward needs no'

# ---- two layers, and two results
run bench train.json $quick --against train.json --json
expect_status 0
expect_that 'pairs of both passes' python3 -c '
import json
d = json.load(open("out"))
assert [r["pass"] for r in d["results"]] == ["forward_saving", "backward"] and d["shared_weights"], d'
run bench train.json $quick --against plain.json
expect_status 0
expect_that 'a layer without a backward pass has forward calls' sh -c 'head -5 out | grep -q "^| T | threads"'
run bench train.json $quick --against plain.json --pass backward
expect_status 4
run compare both.json both.json
expect_status 0
expect_in out '| 4 | backward | 1 |'
run -q report both.json -o both.html
expect_status 0
expect_in both.html 'forward that saves'

# ---- a package
run compile train.json --target cpu:baseline -o pkg -q
expect_status 0
run bench pkg -q --tokens 4 --rounds 1
expect_status 0
expect_in out '| 4 | backward | '
runner=$(dirname "$moec")/moec-run
if [ -x "$runner" ]; then
  "$runner" bench pkg --tokens 4 --rounds 1 --pass backward --format csv >out 2>err
  status=$?
  last='moec-run bench'
  expect_status 0
  expect_that 'moec-run times it too' grep -q ',backward$' out
fi
done_testing
