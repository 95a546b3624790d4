# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec compare: two results of bench side by side, and what --fail-on makes of them.
. "$2/tests/cli/expect.sh"

# result FILE FACTOR [KEY VALUE]...: eight rounds of 100 us times FACTOR, and members that replace the default ones
result() {
  python3 - "$@" <<'PY'
import json, sys
path, factor, changes = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
times = [round(factor * (100 + i), 3) for i in range(8)]
result = {"tokens": 32, "us_median": times[4], "rounds": 8, "rounds_accepted": 8, "round_us": times}
run = {"moec_bench": 1, "name": "tiny", "isa": "avx2", "threads": 1, "skew": "uniform", "weights": "cold",
       "moec_version": "0.1.0", "spec_sha256": "a" * 64, "types": {"input": "f32", "weight": "f32", "output": "f32"},
       "machine": {"vendor": "AuthenticAMD", "brand": "AMD EPYC", "family": 25, "model": 17}, "results": [result]}
for key, value in zip(changes[::2], changes[1::2]):
    run[key] = json.loads(value)
json.dump(run, open(path, "w"), indent=2)
PY
}
result a.json 1
result b.json 1.1
result same.json 1.001

run compare a.json b.json
expect_status 0
expect_err ''
expect_in out '| 32 | 1 | uniform | 103.5 | 113.8 | 1.1000 | '
expect_in out '| 10.0 % slower | 8, 8 |'
run compare b.json a.json
expect_in out '| 9.1 % faster | 8, 8 |'
run compare a.json same.json
expect_in out '| no difference | 8, 8 |'
run compare a.json b.json --json
expect_status 0
expect_that 'compare --json is JSON' python3 -c '
import json
d = json.load(open("out"))
r, = d["results"]
assert r["tokens"] == 32 and r["significant"] and 1 < r["ratio_low"] < r["ratio"] == 1.1 < r["ratio_high"] < 1.2, r
assert d["differences"] == [] and d["only_a"] == [] and d["confidence"] == 0.95, d'

# Only a significant regression of more than the limit fails.
run compare a.json b.json --fail-on 3%
expect_status 1
expect_in err 'moec: error[E-SLOWER]: T=32, 1 thread, uniform: 10.0 % slower ('
expect_in err '; --fail-on allows 3.0 %'
expect_in out '10.0 % slower'
run compare a.json b.json --fail-on 12
expect_status 0
expect_err ''
run compare b.json a.json --fail-on 0%
expect_status 0
run compare a.json same.json --fail-on '0 %'
expect_status 0
for bad in x -1 3%% 1e3 nan 2000 ''; do
  run compare a.json b.json --fail-on "x$bad"
  expect_status 2
done
run compare a.json b.json --fail-on -- -3%
expect_status 2

# A check that judges nothing does not pass.
result none.json 1 results '[{"tokens": 32, "us_median": null, "reason": "no round accepted", "rounds": 3, "rounds_accepted": 0, "round_us": []}]'
run compare a.json none.json --fail-on 3%
expect_status 1
expect_in out '| no round accepted in b | 8, 0 |'
expect_in err 'moec: warning[W-UNJUDGED]: T=32, 1 thread, uniform: no round accepted in b, so --fail-on does not judge it'
expect_in err 'moec: error[E-UNJUDGED]: --fail-on found no call that it could judge'
result elsewhere.json 1 threads 2
run compare a.json elsewhere.json
expect_status 0
expect_in out 'only in a: T=32, 1 thread, uniform'
expect_in out 'only in b: T=32, 2 threads, uniform'
run compare a.json elsewhere.json --fail-on 3%
expect_status 1

# A call that vanished is no success.
two='[{"tokens": 32, "us_median": 100, "rounds": 8, "rounds_accepted": 8, "round_us": [97, 98, 99, 100, 101, 102, 103, 104]},
      {"tokens": 64, "us_median": 100, "rounds": 8, "rounds_accepted": 8, "round_us": [97, 98, 99, 100, 101, 102, 103, 104]}]'
result two.json 1 results "$two"
run compare two.json a.json --fail-on 20%
expect_status 1
expect_in err 'moec: warning[W-UNJUDGED]: T=64, 1 thread, uniform: only the first file has it, so --fail-on does not judge it'
expect_in err "moec: error[E-UNJUDGED]: --fail-on found 1 of the first file's calls missing in the second"
run compare a.json two.json --fail-on 20%
expect_status 0

# What makes the comparison doubtful comes first.
result other.json 1 machine '{"vendor": "GenuineIntel", "brand": "Intel(R) Xeon"}' moec_version '"0.2.0"' spec_sha256 '"b"' types '{"input": "bf16", "weight": "bf16", "output": "bf16"}'
run compare a.json other.json
expect_status 0
expect_in out 'warning: not the same CPU: a AMD EPYC, family 25, model 17, stepping 0; b Intel(R) Xeon, family 0, model 0, stepping 0'
expect_in out 'warning: not the same spec: a aaaa'
expect_in out 'warning: not the same types: a f32 x f32 -> f32; b bf16 x bf16 -> bf16'
expect_in out 'warning: not the same moec version: a 0.1.0; b 0.2.0'
expect_that 'warnings come before the table' sh -c 'test "$(grep -n "moec version" out | cut -d: -f1)" -lt "$(grep -n "| 32 |" out | cut -d: -f1)"'
run compare a.json other.json --json
expect_that 'differences are in JSON' python3 -c '
import json
assert [d["what"] for d in json.load(open("out"))["differences"]] == ["CPU", "spec", "types", "moec version"]'

# Bad files.
run compare a.json nowhere.json
expect_status 8
expect_err 'moec: error[E-FILE]: cannot read the result "nowhere.json": No such file or directory'
printf '{\n  "moec_bench": 1,\n  "name": 5\n}\n' >bad.json
run compare bad.json a.json
expect_status 3
expect_in err 'bad.json:3:11: error[E-RESULT]: "name" is a number; expected a string'
expect_in err 'hint: measure again: moec bench SPEC --json'
cp "$source_dir/examples/tiny.json" tiny.json
run compare a.json tiny.json
expect_status 3
expect_in err 'tiny.json:1:1: error[E-RESULT]: "moec_bench" is missing; expected a result of moec bench'
printf '{"moec_bench": 1' >cut.json
run compare a.json cut.json
expect_status 3
expect_in err 'cut.json:1:17: error[E-JSON]: '
head -c 20000 /dev/urandom >noise.json
run compare noise.json a.json
expect_status 3
run compare a.json
expect_status 2

# What bench writes is what compare reads.
run bench tiny.json -q --tokens 1,8 --rounds 6 --json
cp out x.json
run bench tiny.json -q --tokens 1,8 --rounds 6 --format jsonl
cp out y.jsonl
run compare x.json y.jsonl
expect_status 0
expect_that 'every T is a row' sh -c 'test "$(grep -c "^| [18] | 1 | uniform |" out)" = 2'
expect_that 'nothing else differs' sh -c '! grep -v ceiling out | grep -q ^warning'
done_testing
