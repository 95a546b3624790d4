# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec tune: records beside the spec, resumed, used by compile; wrong kernels named; interrupted and killed at any time.
. "$2/tests/cli/expect.sh"
sed -e 's/"hidden": 8/"hidden": 256/' -e 's/"intermediate": 6/"intermediate": 128/' "$source_dir/examples/tiny.json" >small.json
grep -q avx2 /proc/cpuinfo || { echo 'skip: this machine has no AVX2'; exit 77; }
quick='--target cpu:avx2 --no-confirm --tokens 16 --stage experts_down'

# ---- a run, its records, and the same run again
run tune small.json $quick --budget 30s
expect_status 0
expect_err ''
expect_that 'it names the machine' sh -c 'head -1 out | grep -q "^machine      .*, 1 thread; .* GFLOP/s (.*), .* GB/s$"'
expect_in out 'searching    1 stage, 1 row range; records of earlier runs: 0'
expect_that 'a line per range' sh -c 'grep -q "^experts_down avx2 rows 4\.\. .* of 15 pairs" out'
expect_that 'the distance of the default' grep -q '^default      1\.[0-9]* x the time of the best (geometric mean), ' out
expect_that 'what was measured' grep -q '^small.tune.jsonl: [1-9][0-9]* measurements; [01] of 1 row range changed; candidates wrong: 0, failed: 0; not reached: ' out
run tune small.json $quick --budget full
expect_status 0
lines=$(wc -l <small.tune.jsonl)
run tunedb verify small.tune.jsonl
expect_status 0
expect_out "$lines records, all consistent"
cp small.tune.jsonl before.jsonl
run tune small.json $quick --budget full
expect_status 0
expect_in out "row range; records of earlier runs: $lines"
expect_in out 'small.tune.jsonl: 0 measurements; '
expect_in out '; not reached: 0'
expect_that 'every range is known' sh -c '! grep "^experts_down" out | grep -v known'
expect_that 'nothing was added' cmp small.tune.jsonl before.jsonl
run tune small.json $quick --json
expect_status 0
expect_err ''
expect_that '--json' python3 -c '
import json
found = json.load(open("out"))
assert found["measurements"] == 0 and found["not_reached"] == 0 and found["wrong"] == 0, found
assert [(r["stage"], r["isa"], r["rows"], r["known"]) for r in found["ranges"]] == [
    ("experts_down", "avx2", "4..", True)], found
assert found["failures"] == [] and len(found["best_so_far"]) == 1, found
assert found["default_over_best"]["ranges"] == 1 and found["default_over_best"]["worst"] >= 1, found
for r in found["ranges"]:
    assert r["complete"] and r["default"].startswith("panel {") and (r["gain"] >= 0.01 or r["chosen"] == r["default"]), r'

# ---- compile finds the file beside the spec
run compile small.json --target cpu:avx2 -o tuned -q --force
expect_status 0
run explain small.json --target cpu:avx2 --why -q
expect_status 0
expect_that 'explain names the source' grep -q 'experts_down avx2 4\.\.: small.tune.jsonl:[0-9]*, project, exact machine' out
run explain small.json --target cpu:avx2 --why -q --tuning none
expect_status 0
expect_that '--tuning none uses no records' sh -c '! grep -q tune.jsonl out'

# ---- a budget that ends before the search
run tune small.json --target cpu:avx2 --no-confirm --tokens 1,2,4,8,16,64 --budget 3s -o short.jsonl
expect_status 0
expect_that 'ranges that were not reached' grep -Eq '^not reached  experts_(down|gate_up) avx2 rows [0-9.]*, [0-9.]* % of the stage.s work' out
if [ -s short.jsonl ]; then # a busy machine reaches nothing in that time
  expect_that 'best so far' grep -Eq '^best so far  [0-9.]+ x after [0-9.]+ s' out
  expect_in out 'landscape    moec report short.jsonl draws it, moec tunedb show short.jsonl --stage NAME lists candidates by time'
  run -q report short.jsonl -o short.html
  expect_status 0
  expect_in short.html '<p class="not-reached">Not reached by the budget: '
fi

# ---- a file of one's own; routings
run tune small.json $quick --budget 1s -o own.jsonl --skew zipf
expect_status 0
expect_in out 'records of earlier runs: 0'
expect_that 'records say how calls were routed' sh -c '! grep -v "\"routing\":\"zipf\"" own.jsonl | grep -q .'
expect_that 'the file beside the spec stays' cmp small.tune.jsonl before.jsonl
echo '[70, 20, 9, 1]' >counts.json
run tune small.json $quick --budget 1s -o counted.jsonl --skew counts.json
expect_status 0
expect_that 'a histogram is named by its content' sh -c '! grep -v "\"routing\":\"histogram:[0-9a-f]\{16\}\"" counted.jsonl | grep -q .'
run tunedb verify own.jsonl counted.jsonl
expect_status 0
echo '[70, 20]' >few.json
run tune small.json $quick -o none.jsonl --skew few.json
expect_status 2
expect_err 'moec: error[E-USAGE]: --skew "few.json" has 2 counts, expected one per expert, 4'
echo '[1, "a"]' >few.json
run tune small.json $quick -o none.jsonl --skew few.json
expect_status 2
expect_err 'moec: error[E-USAGE]: --skew "few.json": element 1 is no count, expected a JSON list of counts, one per expert'
run tune small.json $quick -o none.jsonl --skew zip
expect_status 8
expect_in err 'moec: error[E-FILE]: cannot read the histogram of --skew "zip": No such file or directory'
python3 -c 'print("[" * 400000)' >deep.json
run tune small.json $quick -o none.jsonl --skew deep.json
expect_status 2
expect_in err 'moec: error[E-USAGE]: --skew "deep.json": '
run tune small.json $quick -o none.jsonl --skew /dev/zero
expect_in err 'error[E-LIMIT]'

# ---- what is refused, and leaves no file
for budget in 10 0s -1s 10x '' nans; do
  run tune small.json $quick -o none.jsonl --budget "$budget"
  expect_status 2
  expect_err "moec: error[E-USAGE]: --budget is \"$budget\", expected 30s, 10m, 1h or full"
done
run tune small.json --stage up -o none.jsonl
expect_status 2
expect_err 'moec: error[E-USAGE]: the layer has no matmul stage "up"
  hint: moec explain lists the stages'
run tune small.json --target cuda:sm_90a,cpu:avx2 -o none.jsonl
expect_status 4
expect_in err 'moec: error[E-UNSUPPORTED]: moec tune measures CPU targets'
run tune none.json -o none.jsonl
expect_status 8
expect_that 'no file of records' test ! -e none.jsonl
run tune small.json $quick -o none/records.jsonl
expect_status 8
expect_in err 'error[E-WRITE]: cannot write the tuning file "none/records.jsonl"'
mkdir folder.jsonl
run tune small.json $quick -o folder.jsonl
expect_status 8
ln -s /dev/full full.jsonl
run tune small.json $quick --budget 1s -o full.jsonl
expect_status 8

# ---- a kernel that leaves out the last step of depth where a block has more than 30 rows, and is right elsewhere
mkdir -p overlay/kernels
python3 "$source_dir/tests/cli/plant_fast_kernel.py" "$source_dir/templates/kernels/panel.mlir" >overlay/kernels/panel_fast.mlir
run tune small.json $quick --budget full --templates overlay -o overlay.jsonl
expect_status 0
expect_that 'a warning' sh -c 'head -1 err | grep -q "^moec: warning\[W-WRONG\]: .* something else than the default and will never be chosen$"'
expect_in err '  hint: moec tunedb show overlay.jsonl names each'
expect_that 'the range names how many' grep -q '^experts_down avx2 rows 4\.\. .* wrong$' out
expect_that 'each is named with its place, and never chosen' python3 -c '
import json, re
wrong = 0
for line in open("overlay.jsonl"):
    record = json.loads(line)
    if "panel_fast" in record.get("candidate", "") and record["class"] == "4..":
        assert record["result"] == "wrong" and re.match(r"blocks of \d+ rows: row \d+, column \d+$", record["detail"]), record
        assert "times" not in record, record
        wrong += 1
    assert "panel_fast" not in record.get("choice", "") or record["class"] != "4..", record
assert wrong > 0'
run tunedb show overlay.jsonl --stage experts_down
expect_in out '  wrong    panel_fast '
run tunedb verify overlay.jsonl --templates overlay
expect_status 0
run check --explain W-WRONG
expect_status 0
expect_in out 'recorded as wrong and never'

# ---- kernels that read far beyond their weights, or never return, cost their own records only
mkdir -p broken/kernels
python3 - "$source_dir/templates/kernels/panel.mlir" broken/kernels <<'EOF'
import sys
text = open(sys.argv[1]).read()
def write(name, *changes):
    new = text.replace("@panel for", "@" + name + " for")
    for old, by in changes:
        assert old in new, old
        new = new.replace(old, by)
    open(f"{sys.argv[2]}/{name}.mlir", "w").write(new)
write("panel_crash", ("%steps = arith.constant #k_steps",
                      "%far = arith.constant 1073741824 : index\n  %steps = arith.addi %far, %c1 : index"))
inner = "scf.for %k = %c0 to %steps step %c1 iter_args(%c = %zero) -> (!acc) {"
write("panel_hang",
      ("%acc = " + inner, "%ever = arith.constant 1152921504606846976 : index\n"
       "        %acc = scf.for %again = %c0 to %ever step %c1 iter_args(%d0 = %zero) -> (!acc) {\n"
       "        %inner = " + inner.replace("= %zero", "= %d0")),
      ("scf.yield %d : !acc\n        }", "scf.yield %d : !acc\n        }\n        scf.yield %inner : !acc\n        }"))
EOF
run tune small.json $quick --budget full --templates broken -o broken.jsonl
expect_status 0
expect_that 'a warning' sh -c 'head -1 err | grep -q "^moec: warning\[W-CRASH\]: .* crashed or never returned, and will never be chosen$"'
expect_that 'the range counts them' grep -q '^experts_down avx2 rows 4\.\. .* failed   [0-9]* never returned$' out
expect_that 'the end says why' grep -q '^failed       experts_down avx2 rows 4\.\.: panel -> panel_crash: failed, blocks of [0-9]* rows: ended with SIGSEGV' out
expect_that 'and what never returned' grep -q '^failed       experts_down avx2 rows 4\.\.: panel -> panel_hang: timeout, blocks of [0-9]* rows: did not return within 1 s' out
expect_that 'so does the end' grep -q 'failed: [1-9][0-9]*, never returned: [1-9][0-9]*; not reached: 0$' out
run tunedb show broken.jsonl --stage experts_down
expect_that 'the signal' grep -q 'failed   panel_crash .*: ended with SIGSEGV' out
expect_that 'the limit' grep -q 'timeout  panel_hang .*: did not return within 1 s' out
expect_that 'none was chosen' sh -c '! grep "\"choice\":" broken.jsonl | grep -q "panel_crash\|panel_hang"'
run tunedb verify broken.jsonl --templates broken
expect_status 0
run check --explain W-CRASH
expect_status 0

# ---- a default that is slow: blocks of single rows
cat >slow.txt <<'EOF'
schedule tiny
stage experts_gate_up avx2
  rows 1.. panel { block_k = 4, block_m = 1, panel_m = 48 } numeric fma
EOF
run tune small.json --target cpu:avx2 --no-confirm --tokens 64 --stage experts_gate_up --budget full --schedule slow.txt -o slow.jsonl
expect_status 0
expect_that 'it is found' grep -q '^experts_gate_up avx2 rows 1\.\. .*block_m 1 -> .* of 15 pairs' out
expect_in out 'slow.jsonl: '
run tune small.json --target cpu:avx2 --tokens 16 --stage experts_down --budget 1s
expect_status 0
if ! grep -q ' 0 of 1 row range changed' out; then
  expect_that 'whole calls' grep -Eq '^  16 +([0-9]+ us +[0-9]+ us |no pair accepted)' out
  expect_that 'verify' grep -q '^verify       [1-9][0-9]* cases, 0 failed with the tuned schedule' out
fi

# ---- Ctrl-C keeps the records and says so
"$moec" tune small.json --target cpu:avx2 --no-confirm --tokens 1,16,64 --budget full -o interrupted.jsonl >out 2>err &
child=$!
for i in $(seq 400); do [ -s interrupted.jsonl ] && break; sleep 0.05; done
kill -INT $child
wait $child
status=$?
last='moec tune, interrupted'
expect_status 130
expect_err 'moec: error[E-INTERRUPTED]: interrupted; interrupted.jsonl keeps what was measured'
run tunedb verify interrupted.jsonl
expect_status 0
done_testing
