# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec tune --prepare: a bundle whose runner measures without the compiler; its records come home and are used; wrong
# kernels are named, files that changed are refused, and a runner that is killed goes on.
. "$2/tests/cli/expect.sh"
sed -e 's/"hidden": 8/"hidden": 256/' -e 's/"intermediate": 6/"intermediate": 128/' "$source_dir/examples/tiny.json" >small.json
grep -q avx2 /proc/cpuinfo || { echo 'skip: this machine has no AVX2'; exit 77; }
command -v cc >/dev/null || { echo 'skip: this machine has no C compiler'; exit 77; }
down='--target cpu:avx2 --tokens 16 --stage experts_down'

run_runner() { # run_runner FOLDER WORD...: as `run` does for moec; the compiler is not on its PATH
  last="run $*"
  folder=$1
  shift
  env -i "$folder/run" "$@" >out 2>err </dev/null
  status=$?
}

# ---- a bundle of one stage, measured, brought home, used
run tune small.json $down --prepare bundle
expect_status 0
expect_that 'what was prepared' grep -q '^bundle: 1 stage, 1 row range, [1-9][0-9]* candidates; the defaults of 1 compared here$' out
expect_in err 'moec tunedb merge tiny.tune.jsonl small.tune.jsonl -o small.tune.jsonl'
expect_that 'no folder in between' test ! -e bundle/link
expect_that 'nothing was measured' test ! -e small.tune.jsonl
run_runner bundle --budget full
expect_status 0
expect_err ''
expect_that 'it names the machine' grep -q '^machine      .*, 1 thread$' out
expect_in out 'searching    1 stage of tiny, prepared by moec '
expect_that 'a line per range' grep -q '^experts_down avx2 rows 4\.\. .* of 15 pairs$' out
expect_that 'what was measured' grep -q 'bundle/tiny.tune.jsonl: [1-9][0-9]* measurements; [01] of 1 range changed, 0 known before; candidates wrong: 0, failed: 0; not reached: 0$' out
candidates=$(grep -c '"function"' bundle/bundle.json)
expect_that 'a line per candidate, and the choice' test "$(wc -l <bundle/tiny.tune.jsonl)" = "$candidates"
run tunedb verify bundle/tiny.tune.jsonl
expect_status 0
expect_out "$candidates records, all consistent"
cp bundle/tiny.tune.jsonl before.jsonl
run_runner bundle --budget full
expect_status 0
expect_in out 'tiny.tune.jsonl: 0 measurements; '
expect_in out ' 1 known before; '
expect_that 'nothing was added' cmp bundle/tiny.tune.jsonl before.jsonl
run tunedb merge bundle/tiny.tune.jsonl -o small.tune.jsonl
expect_status 0
run compile small.json --target cpu:avx2 -o tuned -q
expect_status 0
run explain small.json --target cpu:avx2 --why -q
expect_that 'explain names the record' grep -q 'experts_down avx2 4\.\.: small.tune.jsonl:[0-9]*, project, exact machine' out
# The records are those of moec tune: it measures nothing again.
run tune small.json $down --no-confirm --budget 1s
expect_in out "records of earlier runs: $candidates"
expect_that 'tune goes on from them' python3 -c '
import json
lines = [json.loads(line) for line in open("small.tune.jsonl")]
questions = [(r["class"], r["candidate"]) for r in lines if r["kind"] == "measurement"]
assert len(questions) == len(set(questions)), "a candidate of the bundle was measured again"'

# ---- the source in the bundle makes the same runner, without a warning
(cd bundle && cc -std=gnu11 -O2 -ffp-contract=off -Wall -Wextra -Wpedantic -Wconversion -Werror -I. -o again runner/*.c runtime/*.c runtime/weights/*.c -ldl -lm -lpthread) >out 2>err
status=$?
last='cc'
expect_status 0
run_runner bundle --reference
expect_status 0
expect_that 'what the default computes repeats' sh -c 'grep -q "\"reference\": \"$(cut -d" " -f2 out)\"" bundle/bundle.json'

# ---- all stages; the budget ends at once, the same command goes on
run tune "$source_dir/examples/tiny.json" --target cpu:avx2 --tokens 1,16 --prepare all -q
expect_status 0
run_runner all --budget 0.001s -o part.jsonl
expect_status 0
expect_that 'not reached' grep -q '; not reached: [1-9]' out
run_runner all --budget full -o part.jsonl
expect_status 0
expect_in out '; not reached: 0'
for stage in router experts_gate_up experts_down; do
  expect_that "$stage has a choice" grep -q "\"kind\":\"choice\".*\"name\":\"$stage\"" part.jsonl
done
run tunedb verify part.jsonl
expect_status 0

# ---- a kernel that leaves out the last step of depth where a block has more than 30 rows; one that crashes; one hidden
# in a file that changed
mkdir -p overlay/kernels
python3 "$source_dir/tests/cli/plant_fast_kernel.py" "$source_dir/templates/kernels/panel.mlir" >overlay/kernels/panel_fast.mlir
run tune small.json $down --templates overlay --prepare planted -q
expect_status 0
run_runner planted --budget full
expect_status 0
expect_that 'a warning' sh -c 'head -1 err | grep -q "^run: warning\[W-WRONG\]: [0-9]* candidates\{0,1\} computes\{0,1\} something else than the default and will never be chosen$"'
expect_that 'it is named with its place, and never chosen' python3 -c '
import json, re
wrong = 0
for line in open("planted/tiny.tune.jsonl"):
    record = json.loads(line)
    if "panel_fast" in record.get("candidate", ""):
        assert record["result"] == "wrong" and re.match(r"blocks of \d+ rows: row \d+, column \d+$", record["detail"]), record
        assert "times" not in record, record
        wrong += 1
    assert "panel_fast" not in record.get("choice", ""), record
assert wrong > 0'
run tunedb verify planted/tiny.tune.jsonl --templates overlay
expect_status 0
run tunedb show planted/tiny.tune.jsonl --stage experts_down
expect_in out '  wrong    panel_fast '

# A library of candidates that jump to address 0, wait for ever, or end the process; the default is the bundle's own.
cp -r bundle crash
rm crash/tiny.tune.jsonl
library=$(ls crash/kernels)
cat >crash.c <<'EOC'
#include "runtime/moec_abi.h"
#include <dlfcn.h>
#include <stdlib.h>
static void crash(const moec_call *c, void *const *a, void *s, int64_t f, int64_t l) { abort(); }
static void leave(const moec_call *c, void *const *a, void *s, int64_t f, int64_t l) { exit(0); }
const moec_package *candidates_package(void) {
  static moec_package changed;
  static moec_kernel_fn table[1000];
  const moec_package *(*get)(void) = (const moec_package *(*)(void))dlsym(dlopen(ORIGINAL, RTLD_NOW), "candidates_package");
  changed = *get();
  for (uint64_t i = 0; i < changed.num_functions; ++i)
    table[i] = i == 1 ? crash : i == 2 ? leave : changed.functions[i];
  changed.functions = table;
  return &changed;
}
EOC
cc -shared -fPIC -w -Icrash "-DORIGINAL=\"$PWD/bundle/kernels/$library\"" -o crash/kernels/"$library" crash.c -ldl || complain 'crash.c compiles'
run_runner crash --budget full
expect_status 8
expect_in err 'is not the file that was prepared: '
expect_that 'nothing was recorded' test ! -s crash/tiny.tune.jsonl
python3 - crash/kernels/"$library" <<'PYTHON'
import json, sys
bytes_ = open(sys.argv[1], "rb").read()
hash_ = 0xcbf29ce484222325
for byte in bytes_:
    hash_ = (hash_ ^ byte) * 0x100000001b3 % 2**64
bundle = json.load(open("crash/bundle.json"))
bundle["stages"][0]["ranges"][0].update(library_bytes=len(bytes_), library_hash=f"{hash_:016x}")
json.dump(bundle, open("crash/bundle.json", "w"))
PYTHON
run_runner crash --budget full
expect_status 0
expect_in out 'candidates wrong: 0, failed: 2;'
expect_that 'each is named' sh -c 'grep -q "\"result\":\"failed\",\"detail\":\"signal 6\"" crash/tiny.tune.jsonl && grep -q "\"result\":\"failed\",\"detail\":\"it ended the process\"" crash/tiny.tune.jsonl'
run tunedb verify crash/tiny.tune.jsonl
expect_status 0

# ---- a default that computes something else here
sed 's/"reference": "[0-9a-f]*"/"reference": "0123456789abcdef"/' bundle/bundle.json >changed.json && cp changed.json crash/bundle.json
cp bundle/kernels/* crash/kernels
run_runner crash -o none.jsonl
expect_status 1
expect_in err 'run: error[E-MISMATCH]: the default kernel of experts_down, rows 4.., computes something else here than where the bundle was prepared'
expect_that 'no record of it' test ! -s none.jsonl

# ---- what is refused
for text in '' '{' '[1' '{"moec_bundle": 2}' '{"moec_bundle": 1}' '{"moec_bundle": 1, "name": "\u00e4"}' '"a'; do
  printf '%s' "$text" >crash/bundle.json
  run_runner crash
  expect_status 3
  expect_in err 'run: error[E-FILE]: '
done
# Every number of a stage out of range is found, not used.
python3 - bundle/bundle.json >mutants <<'PYTHON'
import copy, json, sys
whole = json.load(open(sys.argv[1]))
def show(change):
    mutant = copy.deepcopy(whole)
    change(mutant["stages"][0])
    print(json.dumps(mutant))
for key, value in whole["stages"][0].items():
    show(lambda s: s.pop(key))
    if isinstance(value, int):
        show(lambda s: s.update({key: -1}))
        show(lambda s: s.update({key: 2**60}))
for key, value in [("rows", 10**6), ("checked", [0]), ("checked", [10**6]), ("library", "../a.so"), ("candidates", []), ("library", "/a.so")]:
    show(lambda s: s["ranges"][0].update({key: value}))
PYTHON
expect_that 'there are mutants' test "$(wc -l <mutants)" -gt 30
while IFS= read -r line; do
  printf '%s\n' "$line" >crash/bundle.json
  run_runner crash -o none.jsonl
  [ "$status" = 3 ] || { cp crash/bundle.json mutant.json; complain 'a bundle out of range is refused'; }
done <mutants
run_runner bundle --budget 10
expect_status 2
expect_err 'run: error[E-USAGE]: --budget is "10", expected 30s, 10m, 1h or full'
run_runner bundle --stage up
expect_status 2
expect_err 'run: error[E-USAGE]: the bundle has no stage "up"'
run_runner bundle elsewhere
expect_status 8
expect_err 'run: error[E-FILE]: cannot read elsewhere/bundle.json: No such file or directory'
run_runner bundle -o none/records.jsonl
expect_status 8
expect_in err 'run: error[E-WRITE]: cannot open the tuning file none/records.jsonl: '
ln -s /dev/full full.jsonl
run_runner bundle -o full.jsonl
expect_status 8
run tune small.json $down --prepare bundle
expect_status 8
expect_err 'moec: error[E-EXISTS]: folder "bundle" exists
  hint: name a new folder after --prepare'
run tune small.json $down --prepare other --budget 10m
expect_status 2
run tune small.json --stage up --prepare other
expect_status 2
expect_that 'nothing is left' sh -c 'test ! -e other && ! ls -d other.tmp* 2>/dev/null'

# ---- killed 20 times while it writes records
rm -f killed.jsonl
python3 "$source_dir/tests/cli/kill_writer.py" killed.jsonl 20 0.01 all/run -o killed.jsonl --budget full >out 2>err ||
  complain 'the records survive'
run_runner all -o killed.jsonl --budget full
expect_status 0
expect_in out '; not reached: 0'
run_runner all -o killed.jsonl --budget full
expect_in out 'killed.jsonl: 0 measurements; '
# A writer that died within its line: the next one ends it, and loses nothing.
head -c "$(($(wc -c <killed.jsonl) / 2))" killed.jsonl >torn.jsonl
run_runner all -o torn.jsonl --budget full
expect_status 0
run_runner all -o torn.jsonl --budget full
expect_in out 'torn.jsonl: 0 measurements; '
run tunedb merge killed.jsonl torn.jsonl -o whole.jsonl
expect_status 0
run tunedb verify whole.jsonl
expect_status 0
all/run -o interrupted.jsonl --budget full >out 2>err &
child=$!
for i in $(seq 400); do [ -s interrupted.jsonl ] && break; sleep 0.01; done
kill -INT $child
wait $child
status=$?
last='run, interrupted'
if [ "$status" != 0 ]; then
  expect_status 130
  expect_in err 'run: error[E-INTERRUPTED]: interrupted; interrupted.jsonl keeps what was measured'
fi
done_testing
