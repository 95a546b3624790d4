# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec tunedb: ls, show, merge, export, prune and verify of files of tuning records, good ones and damaged ones.
. "$2/tests/cli/expect.sh"

# record KIND ROWS BLOCK_M PANEL_M [KEY=VALUE...]: a line on stdout; a key is a dotted path, a value is JSON.
cat >record.py <<'EOF'
import json, sys
kind, rows, block, panel = sys.argv[1:5]
def kernel(block, panel):
    return ("panel { block_k = 32, block_m = %s, panel_m = %s, prefetch_block = 32, streams = 4, a_hint = none, "
            "hint = t1 } numeric fma" % (block, panel))
record = {
    "schema": "moec.tune/1", "kind": kind,
    "stage": {"spec": "a" * 64, "layer": "tiny", "name": "experts_down", "n": 2048, "k": 1024, "parts": 1,
              "a": "bf16", "b": "bf16", "out": "bf16", "gathered": False},
    "target": "cpu:avx512", "class": rows, "threads": 1, "routing": "uniform",
    "machine": {"cpu": {"vendor": "AuthenticAMD", "family": 25, "model": 17, "stepping": 1, "name": "AMD EPYC",
                        "isas": ["baseline", "avx2", "avx512"]}},
    "default": kernel(panel if int(panel) <= 12 else 8, panel)}
if kind == "choice":
    record["choice"] = kernel(block, panel) if block != "default" else "default"
else:
    record.update({"candidate": kernel(block, panel), "result": "ok"})
record.update({
    "times": {"default_us": [106, 105, 108], "candidate_us": [100, 99, 101.5], "pairs": 11, "wins": 10,
              "gain": [0.06, 0.053, 0.067], "flops": 37748736, "bytes": 3145728},
    "stamp": {"moec": "0.1.0", "abi": "1.0", "timing": 1, "date": "2026-11-27T10:00:00Z"}})
for change in sys.argv[5:]:
    path, value = change.split("=", 1)
    *parents, key = path.split(".")
    target = record
    for parent in parents:
        target = target[parent]
    target[key] = json.loads(value)
print(json.dumps(record, separators=(",", ":")))
EOF
record() { python3 record.py "$@"; }

record measurement 9..12 6 12 >a.jsonl
record measurement 9..12 4 12 'result="wrong"' 'detail="row 3, column 7"' >>a.jsonl
record choice 9..12 6 12 >>a.jsonl
record choice 1..8 default 8 >>a.jsonl
record choice 13.. 8 64 >>a.jsonl
record measurement 13.. 8 64 'machine.cpu.model=97' 'machine.cpu.name="AMD Ryzen"' >b.jsonl
record choice 13.. 8 64 'stage.name="router"' >>b.jsonl
printf 'torn line' >>b.jsonl

# ---- ls
run tunedb ls a.jsonl
expect_status 0
expect_err ''
expect_out 'layer  stage         target      machine                        shape                                 ok  wrong  failed  timeout  choices  tuned  stale
tiny   experts_down  cpu:avx512  AMD EPYC (AuthenticAMD 25/17)  2048 x 1024 x 1, bf16 x bf16 -> bf16   1      1       0        0        3      1      0'
run tunedb ls a.jsonl b.jsonl --json
expect_status 0
expect_err 'moec: warning[W-TUNE]: b.jsonl:3:1: the last line is incomplete: not valid JSON: unexpected "torn"'
expect_that 'ls --json counts' python3 -c '
import json
groups = json.load(open("out"))
assert [(g["stage"], g["machine"], g["ok"], g["choices"]) for g in groups] == [
    ("experts_down", "AMD EPYC (AuthenticAMD 25/17)", 1, 3), ("experts_down", "AMD Ryzen (AuthenticAMD 25/97)", 1, 0),
    ("router", "AMD EPYC (AuthenticAMD 25/17)", 0, 1)], groups'
run tunedb ls
expect_status 2
expect_err 'moec: error[E-USAGE]: FILE is required
  hint: moec tunedb ls layer.tune.jsonl'
run tunedb ls --shipped
expect_status 0
run tunedb ls none.jsonl
expect_status 8
expect_err 'moec: error[E-FILE]: cannot read the tuning file "none.jsonl": No such file or directory'
run tunedb ls .
expect_status 8
: >empty.jsonl
run tunedb ls empty.jsonl
expect_status 0

# ---- show
run tunedb show a.jsonl
expect_status 0
expect_in out 'tiny experts_down: 2048 x 1024 x 1, bf16 x bf16 -> bf16; cpu:avx512 on AMD EPYC (AuthenticAMD 25/17)'
expect_in out 'rows 9..12, 1 thread, uniform; default panel { block_k = 32, block_m = 12,'
expect_in out '  chosen          100 us  +6.0 % (+5.3 .. +6.7)  10 of 11 pairs  block_m 12 -> 6  [a.jsonl:3]'
expect_in out '  wrong    block_m 12 -> 4; row 3, column 7  [a.jsonl:2]'
expect_in out '10 of 11 pairs  default  [a.jsonl:4]'
run tunedb show a.jsonl b.jsonl
expect_status 2
expect_in err 'error[E-USAGE]: the files have records of several stages'
expect_in err 'hint: choose one with --stage: experts_down, router'
run tunedb show b.jsonl --stage router --json
expect_status 0
expect_that 'show --json has the record' python3 -c '
import json
(item,) = json.load(open("out"))
assert (item["file"], item["line"], item["record"]["stage"]["name"]) == ("b.jsonl", 2, "router"), item'
run tunedb show a.jsonl --stage up
expect_status 3
expect_err 'moec: error[E-RECORD]: the files have no such record
  hint: they have stages experts_down'
run tunedb show a.jsonl --target cpu
expect_status 2
expect_in err '--target "cpu" is not one instruction set or architecture'

# ---- merge
run tunedb merge a.jsonl b.jsonl a.jsonl
expect_status 2
expect_in err '-o is required'
run tunedb merge a.jsonl b.jsonl a.jsonl -o all.jsonl
expect_status 0
expect_out 'all.jsonl: 7 records of 3 files, 5 duplicates left out'
expect_err 'moec: warning[W-TUNE]: b.jsonl:3:1: the line is not a record and is left out'
head -2 b.jsonl | cat a.jsonl - >expected.jsonl
expect_that 'every line once, as it was' cmp all.jsonl expected.jsonl
run tunedb merge a.jsonl -o all.jsonl
expect_status 8
expect_err 'moec: error[E-EXISTS]: file "all.jsonl" exists
  hint: name it as an input too, or pass --force to replace it'
expect_that 'nothing is changed' cmp all.jsonl expected.jsonl
cp a.jsonl home.jsonl
run tunedb merge home.jsonl b.jsonl -o home.jsonl
expect_status 0
expect_that 'an output that is an input keeps its records' cmp home.jsonl expected.jsonl
run tunedb merge a.jsonl -o all.jsonl --force
expect_status 0
expect_that 'replaced' cmp all.jsonl a.jsonl
run tunedb merge a.jsonl none.jsonl -o all.jsonl --force
expect_status 8
expect_that 'a failed run changes nothing' cmp all.jsonl a.jsonl
run tunedb merge a.jsonl none.jsonl -o fresh.jsonl
expect_status 8
expect_that 'nor makes a file' test ! -e fresh.jsonl
expect_that 'nor leaves one' sh -c '! ls *.tmp-* 2>/dev/null | grep -q .'
ln -s a.jsonl link.jsonl
run tunedb merge b.jsonl -o link.jsonl --force
expect_status 8
expect_err 'moec: error[E-WRITE]: cannot replace the tuning file "link.jsonl": it is a symbolic link'

# ---- verify
run tunedb verify a.jsonl
expect_status 0
expect_out '5 records, all consistent'
record choice 9..12 4 12 >>a.jsonl
record measurement 9..12 6 12 'times.wins=12' >>b.jsonl
record measurement 9..12 6 12 'class="12..9"' >>b.jsonl
run tunedb verify a.jsonl b.jsonl
expect_status 1
expect_err 'moec: error[E-TUNE]: a.jsonl:6:1: choice: the kernel was measured wrong at a.jsonl:2: row 3, column 7
moec: error[E-TUNE]: b.jsonl:3:1: not valid JSON: unexpected "torn"
moec: error[E-TUNE]: b.jsonl:4:277: class: found "12..9", expected rows such as 9..12 or 65..'
expect_out '8 records, 3 problems'
run tunedb verify a.jsonl b.jsonl --json
expect_status 1
expect_err ''
expect_that 'verify --json names the lines' python3 -c '
import json
found = json.load(open("out"))
assert found["records"] == 8 and found["num_problems"] == 3, found
assert [(p["file"], p["line"]) for p in found["problems"]] == [("a.jsonl", 6), ("b.jsonl", 3), ("b.jsonl", 4)], found'

# ---- prune
record measurement 9..12 6 12 'stamp.timing=0' >>a.jsonl
record measurement 9..12 6 12 'stamp.moec="0.1.1"' >>a.jsonl
cp a.jsonl before.jsonl
run tunedb prune a.jsonl --dry-run
expect_status 0
expect_out 'a.jsonl: 6 lines kept, 2 would be dropped
  line 1: superseded by line 8
  line 7: stale: timing method 0, this is 1'
expect_that '--dry-run changes nothing' cmp a.jsonl before.jsonl
run tunedb prune a.jsonl none.jsonl
expect_status 8
expect_that 'nothing is changed if a file is missing' cmp a.jsonl before.jsonl
run tunedb prune a.jsonl --json
expect_status 0
expect_that 'prune --json says what it dropped' python3 -c '
import json
(file,) = json.load(open("out"))
assert file["kept"] == 6 and [d["line"] for d in file["dropped"]] == [1, 7], file'
sed -n '2,6p;8p' before.jsonl >expected.jsonl
expect_that 'other lines stay as they were' cmp a.jsonl expected.jsonl
run tunedb prune a.jsonl
expect_out 'a.jsonl: 6 lines kept, 0 dropped'

# ---- export
run tunedb export a.jsonl --machine epyc
expect_status 0
expect_err ''
expect_out '# experts_down cpu:avx512 1..8: a.jsonl:3, user, exact machine
# experts_down cpu:avx512 9..12: a.jsonl:2, user, exact machine
# experts_down cpu:avx512 13..: a.jsonl:4, user, exact machine
schedule tiny
stage experts_down avx512
  rows 1..8  panel { block_k = 32, block_m = 8, heights = 1, panel_m = 8, prefetch_block = 32, share = 1, streams = 4, tiles = 2, a_hint = none, hint = t1, out_hint = none } numeric fma
  rows 9..12 panel { block_k = 32, block_m = 6, heights = 1, panel_m = 12, prefetch_block = 32, share = 1, streams = 4, tiles = 2, a_hint = none, hint = t1, out_hint = none } numeric fma
  rows 13..  panel { block_k = 32, block_m = 8, heights = 1, panel_m = 64, prefetch_block = 32, share = 1, streams = 4, tiles = 2, a_hint = none, hint = t1, out_hint = none } numeric fma'
run tunedb export a.jsonl -o schedule.txt
expect_status 0
run tunedb export a.jsonl -o schedule.txt
expect_status 8
run tunedb export a.jsonl --machine ryzen
expect_status 2
expect_err 'moec: error[E-USAGE]: --machine "ryzen" names 0 machines
  hint: the files have AMD EPYC (AuthenticAMD 25/17)'
run tunedb export a.jsonl --layer large
expect_status 3
expect_err 'moec: error[E-RECORD]: the files have no choice for layer "large"
  hint: they have tiny'
record choice 13.. 8 64 'stage.layer="large"' >large.jsonl
run tunedb export a.jsonl large.jsonl
expect_status 2
expect_in err 'hint: choose one with --layer: large, tiny'
run tunedb export large.jsonl
expect_status 3
expect_err 'moec: warning[W-TUNE]: stage experts_down cpu:avx512: no usable choice for 1..12; the stage is left out
moec: error[E-RECORD]: no stage of layer "large" has a usable choice for all of its rows
  hint: moec tunedb ls says what the files hold'

# a file that another process holds: --timeout ends the waiting and leaves nothing
python3 -c '
import fcntl, time
file = open("a.jsonl"); fcntl.flock(file, fcntl.LOCK_EX); open("held", "w").close(); time.sleep(30)' &
holder=$!
while [ ! -e held ]; do sleep 0.1; done
run --timeout 1 tunedb prune a.jsonl
expect_status 9
kill $holder
expect_that 'nothing is left' sh -c '! ls *.tmp-* 2>/dev/null | grep -q .'

# choices of what tiny.json gets by default are the schedule it gets by default
run compile "$source_dir/examples/tiny.json" -q --stop-after schedule --target cpu:avx2
expect_status 0
cp out default.txt
sed -n '/^stage/s/^stage \([a-z_]*\) .*/\1/p; /^  rows/p' default.txt >lines.txt
stage=
while read -r first second rest; do
  case $first in
    router) stage='{"n":4,"k":8,"parts":1}' ;;
    experts_gate_up) stage='{"n":6,"k":8,"parts":2}' ;;
    experts_down) stage='{"n":8,"k":6,"parts":1}' ;;
    rows)
      record choice "$second" default 8 'target="cpu:avx2"' "default=\"${rest# }\"" |
        python3 -c '
import json, sys
record = json.loads(sys.stdin.readline())
record["stage"].update(json.loads(sys.argv[1]), name=sys.argv[2], a="f32", b="f32", out="f32")
print(json.dumps(record))' "$stage" "$name" >>tiny.jsonl
      ;;
  esac
  [ "$first" = rows ] || name=$first
done <lines.txt
run tunedb verify tiny.jsonl
expect_status 0
expect_out '12 records, all consistent'
run tunedb export tiny.jsonl --machine epyc -o tuned.txt
expect_status 0
grep -v '^#' tuned.txt >plain.txt
expect_that 'the same schedule' diff plain.txt default.txt
run compile "$source_dir/examples/tiny.json" -q --stop-after schedule --target cpu:avx2 --schedule tuned.txt
expect_status 0
expect_that 'it compiles' diff out default.txt

# ---- the command line
run tunedb
expect_status 2
expect_err 'moec: error[E-USAGE]: no verb of moec tunedb was named
  hint: moec tunedb --help lists what it takes'
for verb in ls show merge export prune verify; do
  run tunedb "$verb" --help
  expect_status 0
  expect_in out "Usage: moec tunedb $verb"
done
run check --explain E-RECORD
expect_in out 'Exit 3.'
# Two merges, each into a file that the other reads, both end.
cp a.jsonl one.jsonl
cp a.jsonl two.jsonl
for turn in 1 2 3 4 5; do
  timeout 20 "$moec" tunedb merge one.jsonl two.jsonl -o one.jsonl >/dev/null 2>first.err &
  last='two merges at once'
  expect_that 'the second ends' timeout 20 "$moec" tunedb merge two.jsonl one.jsonl -o two.jsonl
  expect_that 'the first ends' wait $!
done
done_testing
