# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec verify, explain and bench: what they print and where.
. "$2/tests/cli/expect.sh"
cp "$source_dir/examples/tiny.json" tiny.json

run verify tiny.json -q --tokens 0-9,33 --seeds 2
expect_status 0
expect_err ''
expect_that 'a summary that adds up' python3 -c '
import re
last = open("out").read().splitlines()[-1]
n, p, f, s = map(int, re.fullmatch(r"(\d+) cases, (\d+) passed, (\d+) failed, (\d+) skipped", last).groups())
assert n == p + f + s and p >= 22 and f == 0, last'
run verify tiny.json -q --json --tokens 1
expect_status 0
expect_that 'verify --json is JSON' python3 -c 'import json; assert json.load(open("out"))["failed"] == 0'

# How much was compared is said; a call without tokens is a case of its own.
run verify tiny.json -q --json --tokens 0,1,7
expect_status 0
expect_that 'the rows are counted' python3 -c '
import json
for i in json.load(open("out"))["isas"]:
    assert i["rows_compared"] == 8 and i["values_compared"] == 8 * 8 and i["calls_without_tokens"] == 1, i'
run verify tiny.json -q --tokens 0,1,7
expect_in out ' rows '
expect_in out 'calls without tokens, which have nothing to compare: 1 on each'
# Rounding decides much about a LayerNorm behind one hidden value: the limit is the layer's own.
run verify --random 1 --seed 20261189 --most 200 --most-experts 140 --tokens 64 --target cpu -q
expect_status 0
expect_that 'random layers say what they compared' grep -Eq '^1 layers, 1 passed, 0 failed, 0 not built; [0-9]+ cases, [1-9][0-9]* rows compared, 0 ties, worst error [0-9.e-]+, [0-9]+% of its limit$' out

# Rounding to tf32 is seen, and no more of it than is allowed; routing does not change.
run verify "$source_dir/tests/cuda_package/single.json" -q --json --tokens 5,20 --target cuda:sm_80 --emulate --math tf32
expect_status 0
expect_that 'tf32 shows' python3 -c '
import json
d = json.load(open("out"))
i = d["isas"][0]
assert d["math"] == "tf32" and i["worst_relative_error"] > 2e-5 and i["worst_share_of_limit"] < 1, d'
run verify tiny.json -q --tokens 5 --target cuda:sm_80 --emulate --det off
expect_status 0
expect_in out 'cuda, --det off: two runs are compared with the reference, not with each other'

# Linear experts have no inner width; one column of output may cancel to nothing.
printf '%s\n' '{"moec": 1, "name": "linear", "hidden": 1, "router": {"top_k": 2}, "experts": {"count": 4, "form": "linear"}}' >linear.json
run verify linear.json -q --tokens 1,70
expect_status 0

mkdir golden
cp "$source_dir"/tests/golden/mixtral-f32.* golden
cp golden/mixtral-f32.json golden/broken.json
cp golden/mixtral-f32.safetensors golden/broken.safetensors
run verify --golden golden
expect_status 0
expect_in out 'pass mixtral-f32'
expect_that 'golden rows are counted' grep -Eq '^pass mixtral-f32 +[1-9][0-9]* rows ' out
expect_that 'the summary is last' test "$(tail -1 out)" = '2 cases, 2 passed, 0 failed, 0 skipped'
expect_err ''
# A case whose file is cut short must fail, and say which.
head -c 3000 golden/mixtral-f32.safetensors >golden/broken.safetensors
run verify --golden golden
expect_status 1
expect_in out 'FAIL broken'
expect_that 'the failed case is counted' test "$(tail -1 out)" = '2 cases, 1 passed, 1 failed, 0 skipped'
# So must one whose expected output is another one: the file's last bytes are data.
cp "$source_dir/tests/golden/mixtral-f32.safetensors" golden/broken.safetensors
python3 - <<'PY'
import json, struct
path = "golden/broken.safetensors"
data = bytearray(open(path, "rb").read())
size = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + size])
begin = header["b1.y"]["data_offsets"][0] + 8 + size
data[begin:begin + 4] = struct.pack("<f", 123.0)
open(path, "wb").write(data)
PY
run verify --golden golden
expect_status 1
expect_in out 'FAIL broken'
expect_in out 'y: FAIL row 0 column 0 is '
expect_in out '; expected 123 within '
run verify --golden nowhere
expect_status 8

run explain tiny.json --tokens 1,4
expect_status 0
expect_err ''
expect_in out 'tiny: tokens 0..8192'
run explain tiny.json --json --tokens 4
expect_that 'explain --json is JSON' python3 -c '
import json
d = json.load(open("out"))
assert d["calls"][0]["tokens"] == 4 and d["steps"]'

run bench tiny.json -q --tokens 1,8 --rounds 3 --json
expect_status 0
expect_that 'bench --json has its fields' python3 -c '
import json, re
d = json.load(open("out"))
assert d["moec_bench"] == 1
assert d["ceilings"]["compute_gflops"] > 0 and d["ceilings"]["read_gbps"] > 0
assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", d["date"]), d
assert d["types"] == {"input": "f32", "weight": "f32", "output": "f32"}, d
assert d["moec_version"] and d["machine"]["logical_cpus"] >= 1 and "sse2" in d["machine"]["flags"], d
timed = ["us_median", "us_low", "us_high", "gflops", "gbps"]
for r, t in zip(d["results"], (1, 8)):
    assert r["tokens"] == t and r["rounds"] == 3 == r["rounds_accepted"] + r["rounds_rejected"], r
    assert len(r["round_us"]) == r["rounds_accepted"], r
    if r["rounds_accepted"] == 0:  # a busy machine: no figure, and it says why
        assert all(r[k] is None for k in timed + ["share_of_bound"]) and r["reason"] == "no round accepted", r
        continue
    assert all(r[k] > 0 for k in timed) and r["us_low"] <= r["us_median"] <= r["us_high"], r
    assert r["us_low"] == min(r["round_us"]) and r["us_high"] == max(r["round_us"]), r
    if r["share_of_bound"] is None:
        assert r["bound_us"] is None and r["reason"] == "above the ceiling: probe again", r
    else:
        assert 0 < r["share_of_bound"] <= 1 and r["bound_us"] > 0 and "reason" not in r, r'
# The hashes are those of the package that the same flags make.
"$moec" -q compile tiny.json -o pkg >compiled 2>&1 || complain 'tiny.json is compiled'
expect_that 'hashes name spec and package' python3 -c '
import json
d, m = json.load(open("out")), json.load(open("pkg/share/tiny/manifest.json"))
text = json.dumps(m)
assert d["spec_sha256"] == m["spec_sha256"] and "sha256:" + d["package_sha256"] in text, (d, text)'
run bench tiny.json -q --tokens 1,8 --rounds 1 --format jsonl
expect_status 0
expect_that 'every line of jsonl is whole' python3 -c '
import json
lines = [json.loads(line) for line in open("out")]
assert [l["tokens"] for l in lines] == [1, 8]
assert all(l["machine"]["flags"] and l["spec_sha256"] and l["ceilings"]["read_gbps"] > 0 for l in lines), lines'
# The workspace of a call takes 4 GiB, which is not an error in moec.
printf '%s\n' '{"moec": 1, "name": "deep", "hidden": 8, "router": {"top_k": 2}, "experts": {"count": 2, "intermediate": 65536, "form": "mlp", "act": "relu"}}' >deep.json
run --memory-limit 3000 -q bench deep.json --target cpu:avx2 --tokens 8192 --rounds 1
expect_status 9
expect_in err 'moec: error[E-MEMORY]: bench needs about '
run bench tiny.json -q --tokens 8 --rounds 3 --skew one-hot --format csv
expect_status 0
expect_that 'csv has a head and a row' test "$(wc -l <out)" = 2
run bench tiny.json -q --tokens 1,8 --rounds 3 --stages --distinct-experts 2 --json
expect_status 0
expect_that 'bench --stages times every step' python3 -c '
import json
d = json.load(open("out"))
assert d["distinct_experts"] == 2
for r in d["results"]:
    names = [s["name"] for s in r["steps"]]
    assert names == ["router", "route", "dispatch", "experts_gate_up", "experts_down", "combine"], names
    assert [s["name"] for s in r["steps"] if not s["routing"]] == ["experts_gate_up", "experts_down"]
    if r["rounds_accepted"] == 0:
        assert all(s["share"] is None and s["us_median"] is None for s in r["steps"]) and r["routing_share"] is None, r
        continue
    assert 0.5 < sum(s["share"] for s in r["steps"]) < 1.5 and 0 < r["routing_share"] < 1 and r["routing_us_median"] > 0, r'
run bench tiny.json -q --tokens 8 --rounds 3 --stages
expect_status 0
expect_in out '**all but expert matmuls**'
done_testing
