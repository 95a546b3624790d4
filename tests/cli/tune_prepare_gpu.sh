# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec tune --prepare --target cuda: a bundle of packages and a runner that compares and times whole calls. Here a driver
# without a GPU stands for the machine's (tests/cuda/fake): what the runner makes of calls that leave y unwritten, agree,
# differ, hang or fault.
. "$2/tests/cli/expect.sh"
command -v cc >/dev/null || { echo 'skip: this machine has no C compiler'; exit 77; }
sed -e 's/"hidden": 8/"hidden": 128/' -e 's/"intermediate": 6/"intermediate": 64/' "$source_dir/examples/tiny.json" >small.json

run tune small.json --target cuda:sm_90a --tokens 64 --stage experts_down --prepare bundle
expect_status 0
expect_out 'bundle: 1 token range, 4 candidates, a package each'
expect_that 'packages' sh -c '[ "$(ls bundle/kernels | wc -l)" = 5 ] && [ -f bundle/kernels/default.so ]'
expect_that 'no folder in between' test ! -e bundle/link

. "$source_dir/tests/cli/fake_gpu.sh"
(cd bundle && cc -std=gnu11 -O2 -ffp-contract=off -Wall -Wextra -Wpedantic -Wconversion -Werror -DRUNNER_CUDA -I. -Iruntime -o again runner/*.c runner/cuda/*.c runtime/*.c runtime/*/*.c -ldl -lm -lpthread) >out 2>err || complain 'the source in the bundle compiles without a warning'

# ---- no driver, no device, a device that nothing in the bundle runs on
run_runner nowhere A=1 -o none.jsonl
if grep -q 'no GPU' err; then
  expect_status 6
  expect_err 'run: error[E-MACHINE]: this machine has no GPU, or no driver for it'
fi
run_runner fake MOEC_FAKE_CUDA_DEVICES=0 -o none.jsonl
expect_status 6
expect_err 'run: error[E-MACHINE]: this machine has no GPU, or no driver for it'
# ---- a default that writes nothing is found, and nothing is recorded
run_runner fake A=1 -o none.jsonl
expect_status 1
expect_in err 'run: error[E-MISMATCH]: experts_down cuda:sm_90a, tokens 25..64: the default: the default leaves y of token 0 unwritten, or NaN'
expect_that 'no record' test ! -s none.jsonl

# ---- calls that agree are timed and recorded, and one is chosen
run_runner agrees A=1 -o agree.jsonl
expect_status 0
expect_in out 'searching    1 token range of tiny, '
expect_in out 'agree.jsonl: 4 measurements; '
expect_that 'four measurements and a choice' sh -c '[ "$(grep -c "\"result\":\"ok\"" agree.jsonl)" = 4 ] && [ "$(grep -c "\"kind\":\"choice\"" agree.jsonl)" = 1 ]'
expect_that 'of the GPU' python3 -c '
import json
for r in map(json.loads, open("agree.jsonl")):
    assert "gpu" in r["machine"] and r["target"] == "cuda:sm_90a" and r["class"] == "25..64" and "predicted" not in r, r
    assert r["times"]["pairs"] == 15, r'
run tunedb verify agree.jsonl
expect_status 0
expect_out '5 records, all consistent'
cp agree.jsonl before.jsonl
run_runner agrees A=1 -o agree.jsonl
expect_status 0
expect_in out 'agree.jsonl: 0 measurements; '
expect_that 'nothing was added' cmp agree.jsonl before.jsonl
run compile small.json --target cuda:sm_90a --tuning agree.jsonl -o package -q
expect_status 0
run explain small.json --target cuda:sm_90a --tuning agree.jsonl --why -q
expect_that 'explain names the record' grep -q 'experts_down sm_90a .*agree.jsonl:5, user' out

# ---- calls that differ, at once or only after they were timed
for download in 2 4; do
  run_runner agrees "WRONG=$download" -o "wrong$download.jsonl"
  expect_status 0
  expect_in out 'candidates wrong: 4, failed: 0'
  expect_that 'each is named, none chosen' sh -c "[ \"\$(grep -c '\"result\":\"wrong\",\"detail\":\"T = 64, y of token 0\"' wrong$download.jsonl)\" = 4 ] && ! grep -q choice wrong$download.jsonl"
  run tunedb verify "wrong$download.jsonl"
  expect_status 0
done

# ---- a kernel that faults: the default's own is at fault here, in its child alone
run_runner agrees MOEC_FAKE_CUDA_DOES=fault -o fault.jsonl
expect_that 'the runner lives' sh -c "[ $status = 0 ] || [ $status = 1 ]"
# ---- a package that changed
cp bundle/kernels/default.so bundle/kernels/candidate_1.so
run_runner agrees A=1 -o changed.jsonl
expect_status 8
expect_in err 'candidate_1.so is not the file that was prepared: '
expect_that 'no record' test ! -s changed.jsonl

# ---- a layer that the runner could not call
python3 -c '
import json
layer = json.load(open("small.json"))
layer["router"] = {"kind": "external", "top_k": layer["router"]["top_k"]}
json.dump(layer, open("inputs.json", "w"))'
run tune small.json --target cuda:sm_90a --skew zipf --prepare inputs
expect_status 4
expect_in err 'moec: error[E-UNSUPPORTED]: --prepare for CUDA targets knows uniform routing only'
run tune inputs.json --target cuda:sm_90a --prepare inputs
expect_status 4
expect_in err 'moec: error[E-UNSUPPORTED]: --prepare makes bundles for CUDA targets of layers that read x alone; this one reads '
expect_that 'nothing is left' sh -c 'test ! -e inputs && ! ls -d inputs.tmp* 2>/dev/null'
done_testing
