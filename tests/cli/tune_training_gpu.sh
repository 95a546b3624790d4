# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec tune --target cuda of a layer that trains: stages of both passes are predicted, their records decide about the
# kernels of backward, whose gradients are still right; a bundle times backward calls for stages of backward.
. "$2/tests/cli/expect.sh"
sed -e 's/"hidden": 8/"passes": ["forward", "backward"], "dtype": "bf16", "hidden": 128/' \
  -e 's/"intermediate": 6/"intermediate": 64/' "$source_dir/examples/tiny.json" >train.json

# ---- all stages of both passes, and what is not tuned
run tune train.json --target cuda:sm_90a --tokens 16 -o train.tune.jsonl
expect_status 0
expect_that 'what is not tuned' grep -Eq '^not tuned    (experts_(down|gate|up)_wgrad, ){3}router_wgrad: their blocks have one size$' out
expect_that 'stages of both passes' sh -c '
  for stage in router experts_gate experts_up experts_down router_backward experts_down_dgrad experts_up_dgrad experts_gate_dgrad router_dgrad; do
    grep -q "^$stage sm_90a tokens .* predicted, bound by " out || { echo "no line of $stage"; exit 1; }
  done'
run tunedb verify train.tune.jsonl
expect_status 0
run tune train.json --target cuda:sm_90a --tokens 16 --stage experts_up_dgrad --json -o json.jsonl
expect_status 0
expect_that '--json of one stage' python3 -c '
import json
found = json.load(open("out"))
assert {r["stage"] for r in found["ranges"]} == {"experts_up_dgrad"} and found["stages_not_tuned"] == [], found'
run tune train.json --target cuda:sm_90a --stage experts_up_wgrad -o none.jsonl
expect_status 2
expect_err 'moec: error[E-USAGE]: stage "experts_up_wgrad" has nothing to tune: its blocks have one size
  hint: moec tune tunes the stages that have a schedule in moec explain'
expect_that 'no file of records' test ! -e none.jsonl

# ---- choices that change every tile of backward: compile uses them, explain names them, gradients are verified
python3 - <<'PY'
import json
choices = {}
for record in map(json.loads, open("train.tune.jsonl")):
    stage = record["stage"]["name"]
    if record["kind"] == "measurement" and record["result"] == "ok" and stage.endswith(("_dgrad", "_backward")):
        if record["candidate"] != record["default"]:
            choices[stage] = record  # the last one: the slowest of those that were built
with open("changed.jsonl", "w") as file:
    for record in choices.values():
        record["kind"], record["choice"] = "choice", record.pop("candidate")
        del record["result"]
        print(json.dumps(record, separators=(",", ":")), file=file)
PY
run tunedb verify changed.jsonl
expect_status 0
expect_out '5 records, all consistent'
run explain train.json --target cuda:sm_90a --tuning changed.jsonl --why -q
expect_status 0
expect_that 'explain names the records of backward' sh -c '
  for stage in router_backward experts_down_dgrad experts_up_dgrad experts_gate_dgrad router_dgrad; do
    grep -q "^  $stage sm_90a .*: changed.jsonl:[1-5], user, .* machine, predicted$" out || { echo "no line of $stage"; exit 1; }
  done'
run compile train.json --target cuda:sm_90a --tuning none -o untuned -q
run compile train.json --target cuda:sm_90a --tuning changed.jsonl -o tuned -q
expect_status 0
expect_that 'the package has the kernels of the records' python3 -c '
import json, re
def kernels(folder):
    text = open(folder + "/share/tiny/schedule.txt").read()
    return {m[1]: m[2] for m in re.finditer(r"stage (\S+) sm_90a\n((?:  .*\n)+)", text)}
before, after = kernels("untuned"), kernels("tuned")
for record in map(json.loads, open("changed.jsonl")):
    stage = record["stage"]["name"]
    assert before[stage] != after[stage], stage
tuned = json.load(open("tuned/share/tiny/manifest.json"))["made_from"]["schedule"]["tuned"]
assert {"router_backward", "experts_down_dgrad", "experts_up_dgrad", "experts_gate_dgrad", "router_dgrad"} <= {t["stage"] for t in tuned}, tuned'
run verify train.json --grad --target cuda:sm_90a --emulate --tuning changed.jsonl --tokens 1,16 --seeds 1 -q
expect_status 0
expect_in out '2 cases, 2 passed, 0 failed, 0 skipped'
expect_that 'gradients were compared' grep -Eq '^sm_90a-emulated +[1-9][0-9]{3} ' out

# ---- a bundle whose runner compares gradients and times backward calls, here with a driver that has no GPU
command -v cc >/dev/null || done_testing
run tune train.json --target cuda:sm_90a --tokens 16 --stage experts_up_dgrad --prepare bundle
expect_status 0
expect_in out 'bundle: 1 token range, '
expect_that 'calls of the backward pass' grep -q '"pass": "backward"' bundle/bundle.json
. "$source_dir/tests/cli/fake_gpu.sh"
run_runner fake A=1 -o none.jsonl
expect_status 1
expect_in err 'run: error[E-MISMATCH]: experts_up_dgrad cuda:sm_90a, tokens 9..24: the default: the default leaves the gradient of x of token 0 unwritten, or NaN'
run_runner agrees A=1 -o agree.jsonl
expect_status 0
expect_that 'a record of every candidate, and a choice' python3 -c '
import json
records = [json.loads(line) for line in open("agree.jsonl")]
assert {r["stage"]["name"] for r in records} == {"experts_up_dgrad"}, records
kinds = [r["kind"] for r in records]
assert kinds.count("choice") == 1 and kinds.count("measurement") > 1 and len(kinds) == kinds.count("measurement") + 1, kinds
assert all("gpu" in r["machine"] and "predicted" not in r for r in records), records'
run tunedb verify agree.jsonl
expect_status 0
run explain train.json --target cuda:sm_90a --tuning agree.jsonl --why -q
expect_that 'explain names the record' grep -q 'experts_up_dgrad sm_90a .*agree.jsonl:[0-9]*, user' out
# The head of the weights is downloaded first, then come the default's gradients of x and of four parameters, then the
# candidate's.
run_runner agrees WRONG=8 -o wrong.jsonl
expect_status 0
expect_that 'the place of the first difference' grep -q '"result":"wrong","detail":"T = 16, row 0 of the gradient of router.weight"' wrong.jsonl
expect_that 'none is chosen' sh -c '! grep -q choice wrong.jsonl'

# ---- a bundle that says no pass is refused
sed -i 's/"pass": "backward",//' bundle/bundle.json
run_runner agrees A=1 -o none.jsonl
expect_status 3
expect_in err 'bundle.json: member pass is missing or out of range'
done_testing
