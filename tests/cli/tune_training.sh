# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec tune of a layer that trains: stages of both passes, what is not tuned, and what becomes of the records.
. "$2/tests/cli/expect.sh"
sed -e 's/"hidden": 8/"passes": ["forward", "backward"], "hidden": 64/' -e 's/"intermediate": 6/"intermediate": 32/' \
  "$source_dir/examples/tiny.json" >train.json
grep -q avx2 /proc/cpuinfo || { echo 'skip: this machine has no AVX2'; exit 77; }
quick='--target cpu:avx2 --tokens 16'

# ---- all stages, in a budget that does not reach them
run tune train.json $quick --no-confirm --budget 1s -o short.jsonl
expect_status 0
expect_in out 'searching    9 stages, 5 of the backward pass, 9 row ranges; records of earlier runs: 0'
expect_that 'what is not tuned' grep -Eq '^not tuned    (experts_(down|gate|up)_wgrad, ){3}router_wgrad: their blocks have one size$' out
expect_that 'ranges of both passes are left over' sh -c '
  grep -q "^not reached  experts_down avx2 rows " out && grep -q "^not reached  experts_down_dgrad avx2 rows " out'
run tune train.json $quick --no-confirm --budget 1s -o short.jsonl --json
expect_status 0
expect_that '--json counts both passes' python3 -c '
import json
found = json.load(open("out"))
assert (found["stages"], found["stages_backward"]) == (9, 5), found
assert len(found["ranges"]) == 9 and {"experts_up_dgrad", "experts_up"} <= {r["stage"] for r in found["ranges"]}, found
assert sorted(found["stages_not_tuned"]) == ["experts_down_wgrad", "experts_gate_wgrad", "experts_up_wgrad",
                                             "router_wgrad"], found'

# ---- one stage of the backward pass, with whole calls and gradients at the end
cat >slow.txt <<'EOF'
schedule tiny
stage experts_down_dgrad avx2
  rows 1.. panel { block_k = 4, block_m = 1, panel_m = 48 } numeric fma
EOF
run tune train.json $quick --stage experts_down_dgrad --budget full --schedule slow.txt
expect_status 0
expect_err ''
expect_in out 'searching    1 stage, 1 of the backward pass, 1 row range; records of earlier runs: 0'
expect_that 'a line per range' grep -q '^experts_down_dgrad avx2 rows 1\.\. .*block_m 1 -> .* of 15 pairs' out
expect_that 'no line about others' sh -c '! grep -q "^not tuned" out'
expect_that 'calls of both passes' sh -c '
  grep -Eq "^  16 +forward that saves " out && grep -Eq "^  16 +backward " out'
expect_that 'gradients are verified' grep -q '^verify       [1-9][0-9]* cases of gradients, 0 failed with the tuned schedule' out
run tunedb verify train.tune.jsonl
expect_status 0
run explain train.json --target cpu:avx2 --why -q
expect_status 0
expect_that 'explain names the source' grep -q 'experts_down_dgrad avx2 1\.\.: train.tune.jsonl:[0-9]*, project, exact machine' out
expect_that 'other stages of the shape use it' grep -q 'experts_gate avx2 1\.\.: train.tune.jsonl:[0-9]*, project, exact machine' out

# ---- the package says so, and is made again with equal bytes
run compile train.json --target cpu:avx2 -o tuned -q
expect_status 0
expect_that 'the manifest names the records of both passes' python3 -c '
import json
tuned = json.load(open("tuned/share/tiny/manifest.json"))["made_from"]["schedule"]["tuned"]
assert {t["stage"] for t in tuned} == {"experts_gate", "experts_up", "experts_down_dgrad"}, tuned'
run compile tuned -o again -q
expect_status 0
expect_that 'equal bytes' diff -r tuned again

# ---- a schedule of the user's is in the manifest for both passes too
"$moec" compile train.json --target cpu:avx2 --stop-after schedule >both.txt 2>err
run compile train.json --target cpu:avx2 --schedule both.txt -o given -q
expect_status 0
expect_that 'the manifest names its stages' python3 -c '
import json
given = json.load(open("given/share/tiny/manifest.json"))["made_from"]["schedule"]["given"]
assert "experts_down cpu:avx2" in given and "experts_down_dgrad cpu:avx2" in given and len(given) == 9, given'

# ---- what has nothing to tune
run tune train.json $quick --stage experts_down_wgrad -o none.jsonl
expect_status 2
expect_err 'moec: error[E-USAGE]: stage "experts_down_wgrad" has nothing to tune: its blocks have one size
  hint: moec tune tunes the stages that have a schedule in moec explain'
expect_that 'no file of records' test ! -e none.jsonl

# ---- a bundle has the stages of both passes
run tune train.json $quick --stage router_dgrad --prepare bundle -q
expect_status 0
expect_in out 'bundle: 1 stage, 1 row range, '
expect_in bundle/bundle.json '\"name\":\"router_dgrad\"'
run tune train.json $quick --stage router_wgrad --prepare none
expect_status 2
expect_in err 'error[E-USAGE]: stage "router_wgrad" has nothing to tune'
done_testing
