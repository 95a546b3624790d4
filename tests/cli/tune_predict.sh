# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec tune --target cuda without a GPU: candidates ranked by a model and the assembler's resources, records that say
# "predicted", used by compile; a candidate that spills is never chosen.
. "$2/tests/cli/expect.sh"
sed -e 's/"hidden": 8/"hidden": 128/' -e 's/"intermediate": 6/"intermediate": 64/' "$source_dir/examples/tiny.json" >small.json
down='--tokens 4,64 --stage experts_down'

# ---- predictions, the same again, and what compile makes of them
run tune small.json --target cuda:sm_90a $down
expect_status 0
expect_that 'it says what is modelled' grep -q '^model        NVIDIA H100 80GB HBM3 (sm_90, 132 multiprocessors, 3.35 TB/s, 989 TFLOP/s bf16); nothing is measured$' out
expect_that 'a line per range' sh -c '[ "$(grep -c "^experts_down sm_90a tokens .* predicted, bound by [DLt]" out)" = 2 ]'
expect_that 'how many records' grep -q '^small.tune.jsonl: [1-9][0-9]* predictions; [1-2] of 2 token ranges changed; ' out
lines=$(wc -l <small.tune.jsonl)
run tunedb verify small.tune.jsonl
expect_status 0
expect_out "$lines records, all consistent"
expect_that 'each says predicted, for which device' python3 -c '
import json
records = [json.loads(line) for line in open("small.tune.jsonl")]
for r in records:
    assert r["predicted"] is True and r["target"] == "cuda:sm_90a", r
    gpu = r["machine"]["gpu"]
    assert gpu["capability"] == 90 and gpu["multiprocessors"] == 132 and "cpu" not in r["machine"], r
assert len([r for r in records if r["kind"] == "choice"]) == 2'
cp small.tune.jsonl before.jsonl
run tune small.json --target cuda:sm_90a $down
expect_status 0
expect_in out 'small.tune.jsonl: 0 predictions; '
expect_that 'nothing was added' cmp small.tune.jsonl before.jsonl
run compile small.json --target cuda:sm_90a -o tuned -q
expect_status 0
run explain small.json --target cuda:sm_90a --why -q
expect_status 0
expect_that 'explain says predicted' grep -q 'experts_down sm_90a .*small.tune.jsonl:[0-9]*, project, .* machine, predicted' out
run verify small.json --target cuda:sm_90a --emulate -q
expect_status 0
# A measured choice of another kernel comes first.
python3 -c '
import json
for line in open("before.jsonl"):
    r = json.loads(line)
    if r["kind"] == "choice":
        del r["predicted"]
        r["choice"] = "default"
        r["times"].update(default_us=[1, 1, 1], candidate_us=[1, 1, 1], gain=[0, 0, 0], pairs=15, wins=7)
        print(json.dumps(r))' >measured.jsonl
cat before.jsonl measured.jsonl >small.tune.jsonl
run tunedb verify small.tune.jsonl
expect_status 0
run explain small.json --target cuda:sm_90a --why -q
expect_that 'measured before predicted' sh -c 'grep "experts_down sm_90a .*small.tune.jsonl:" out | grep -vq predicted && ! grep "experts_down sm_90a .*small.tune.jsonl:" out | grep -q ", predicted"'
rm small.tune.jsonl

# ---- another device; JSON
run tune small.json --target cuda:sm_90a $down --gpu h200 -o h200.jsonl
expect_status 0
expect_in out 'model        NVIDIA H200 (sm_90, 132 multiprocessors, 4.80 TB/s'
run tune small.json --target cuda:sm_80 $down -o a100.jsonl --json
expect_status 0
expect_that 'JSON with the resources' python3 -c '
import json
found = json.load(open("out"))
assert found["predicted"] and found["records"] > 0, found
for r in found["ranges"]:
    assert r["target"] == "cuda:sm_80" and r["candidates"], r
    gains = [c["gain"] for c in r["candidates"] if "gain" in c]
    assert gains == sorted(gains, reverse=True), gains
    assert all(c["threads"] >= 32 and c["shared_bytes"] > 0 for c in r["candidates"]), r'

# ---- the assembler says that the best candidate of each range spills, then that all do
real=$("$moec" doctor 2>/dev/null | grep -o '/[^ ]*ptxas' | head -1)
if [ -n "$real" ]; then
  mkdir bin
  cat >bin/ptxas <<SH
#!/bin/sh
case \$1 in --version) exec "$real" "\$@" ;; esac
"$real" "\$@" >log.\$\$ 2>&1
status=\$?
awk -v only="\$SPILLS" '/Compiling entry function/ { hit = (\$0 ~ only) } hit { sub(/0 bytes spill stores/, "64 bytes spill stores") } { print }' log.\$\$
rm -f log.\$\$
exit \$status
SH
  chmod +x bin/ptxas
  SPILLS="_t18'" PATH="$work/bin:$PATH" "$moec" tune small.json --target cuda:sm_90a $down -o spills.jsonl >out 2>err
  status=$?
  last='tune with a candidate that spills'
  expect_status 0
  expect_that 'the best one is out' python3 -c '
import json
def choices(file):
    return {r["class"]: r["choice"] for r in map(json.loads, open(file)) if r["kind"] == "choice"}
first, then = choices("before.jsonl"), choices("spills.jsonl")
bad = [r for r in map(json.loads, open("spills.jsonl")) if r.get("result") == "failed"]
assert bad and all(r["detail"].startswith("spills ") and "times" not in r for r in bad), bad
out = {(r["class"], r["candidate"]) for r in bad}
assert first.keys() == then.keys() and out.isdisjoint(then.items()), then
assert any(item in out for item in first.items()), "the kernel that was best is not among those that spill"'
  SPILLS="_t" PATH="$work/bin:$PATH" "$moec" tune small.json --target cuda:sm_90a $down -o all.jsonl >out 2>err
  status=$?
  last='tune with nothing but candidates that spill'
  expect_status 0
  expect_in out '; 0 of 2 token ranges changed; '
  expect_that 'no choice of one that spills' sh -c '! grep -q "\"kind\":\"choice\"" all.jsonl'
fi

# ---- what is refused, and leaves no file
run tune small.json --target cuda:sm_90a --gpu b300 -o none.jsonl
expect_status 2
expect_err 'moec: error[E-USAGE]: --gpu is "b300", expected h100, h200, a100'
run tune small.json --target cuda:sm_90a --gpu a100 -o none.jsonl
expect_status 2
expect_in err 'moec: error[E-USAGE]: --gpu a100 does not run cuda:sm_90a'
run tune small.json --target cpu:avx2 --gpu h100 -o none.jsonl
expect_status 2
expect_in err 'moec: error[E-USAGE]: --gpu is for cuda targets'
run tune small.json --target cuda:sm_90a,cpu:avx2 -o none.jsonl
expect_status 4
expect_in err 'moec: error[E-UNSUPPORTED]: moec tune measures CPU targets and predicts CUDA targets, one or the other'
run tune small.json --target cuda:sm_90a --stage up -o none.jsonl
expect_status 2
expect_that 'no file of records' test ! -e none.jsonl
done_testing
