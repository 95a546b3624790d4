# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec bench --against and --schedule-b: two layers in one process, and what cannot be compared.
. "$2/tests/cli/expect.sh"
cp "$source_dir/examples/tiny.json" tiny.json

# against_is CONDITION: what holds for the first result, or why there is none on a busy machine
against_is() {
  expect_that "$1" python3 -c '
import json, sys
d = json.load(open("out"))
assert d["moec_against"] == 1 and d["ceilings"]["read_gbps"] > 0 and d["confidence"] == 0.95, d
for r in d["results"]:
    assert r["pairs"] >= r["rounds_a"] == r["rounds_b"] == len(r["pair_us"]), r
    if r["rounds_a"] == 0:
        assert r["ratio"] is None and r["reason"] == "no pair accepted", r
    elif r["rounds_a"] < 6:
        assert r["ratio_low"] is None and r["reason"] == "too few pairs for an interval" and not r["significant"], r
    else:
        assert r["ratio_low"] <= r["ratio"] <= r["ratio_high"] and "reason" not in r, r
    judged = r["rounds_a"] >= 6
    assert eval(sys.argv[1]), (sys.argv[1], r)' "$1"
}

# A layer against itself: one package, one copy of the weights.
run -q bench tiny.json --tokens 1,8 --rounds 8 --against tiny.json --json
expect_status 0
against_is 'd["a"]["package_sha256"] == d["b"]["package_sha256"] and d["shared_weights"] and r["pairs"] == 8'
run -q bench tiny.json --tokens 8 --rounds 2 --against tiny.json
expect_status 0
expect_in out 'note: a and b are the same package'
expect_in out 'Both read the same packed weights.'

# A layer of 4000 times the work is found to be slower.
printf '%s\n' '{"moec": 1, "name": "large", "hidden": 512, "router": {"top_k": 2}, "experts": {"count": 4, "intermediate": 384, "form": "glu", "act": "silu"}}' >large.json
run -q bench tiny.json --tokens 64 --rounds 12 --against large.json --json
expect_status 0
against_is 'not d["shared_weights"] and d["a"]["spec_sha256"] != d["b"]["spec_sha256"] and d["b"]["name"] == "large"'
against_is 'not judged or (r["significant"] and r["ratio_low"] > 2)'

# A preset beside a layer of the dialect.
run compile tiny.json --stop-after build
cp out tiny.mlir
run -q bench small-4x1 --tokens 2 --rounds 1 --skew zipf --threads 2 --warm --against tiny.mlir --json
expect_status 0
against_is 'r["skew"] == "zipf" and r["threads"] == 2 and r["weights"] == "warm"'

# Another schedule of the same layer: other kernels, the same weights.
run compile tiny.json --stop-after schedule
sed 's/prefetch_block = 2/prefetch_block = 4/' out >b.txt
run -q bench tiny.json --tokens 8 --rounds 2 --schedule-b b.txt --json
expect_status 0
against_is 'd["a"]["spec_sha256"] == d["b"]["spec_sha256"] and d["a"]["package_sha256"] != d["b"]["package_sha256"]'
against_is 'd["b"]["schedule"] == "b.txt" and "schedule" not in d["a"] and d["shared_weights"]'

# Experts that share storage do so in both.
run -q bench tiny.json --tokens 8 --rounds 1 --schedule b.txt --against large.json --distinct-experts 2 --json
expect_status 0
against_is 'd["a"]["distinct_experts"] == d["b"]["distinct_experts"] == 2 and d["a"]["schedule"] == "b.txt"'

run bench tiny.json --against nowhere.json
expect_status 8
run bench tiny.json --schedule-b nowhere.txt
expect_status 8
expect_in err 'nowhere.txt'
echo 'schedule tiny' >bad.txt
echo 'nonsense' >>bad.txt
run -q bench tiny.json --schedule-b bad.txt
expect_status 3
expect_in err 'bad.txt:2:1: error[E-SCHEDULE]'
run -q bench tiny.json --against tiny.json --stages
expect_status 2
expect_err 'moec: error[E-USAGE]: --stages times the steps of one layer
  hint: leave --against and --schedule-b out'
run -q bench tiny.json --against tiny.json --format csv
expect_status 2
run -q bench --against tiny.json
expect_status 2
run -q bench tiny.json --tokens 8 --rounds 1 --against tiny.json --format json
cp out against.json
run compare against.json against.json
expect_status 3
expect_in err 'against.json:1:1: error[E-RESULT]: "moec_bench" is missing'
done_testing
