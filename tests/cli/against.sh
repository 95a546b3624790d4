# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec bench --against, --schedule-b and --tuning-b: two layers in one process, and what cannot be compared.
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

# Packages on disk: an archive and a shared library, beside the spec that they were made from and beside each other.
"$moec" compile tiny.json -o static -q && "$moec" compile tiny.json --schedule b.txt --emit shared -o shared -q || exit 1
run -q bench tiny.json --tokens 1,8 --rounds 2 --against static --json
expect_status 0
against_is 'd["a"]["package_sha256"] == d["b"]["package_sha256"] and d["shared_weights"] and d["b"]["package"] == "static"'
against_is '"package" not in d["a"]'
run -q bench static --tokens 8 --rounds 2 --against shared --json
expect_status 0
against_is 'd["a"]["package"] == "static" and d["b"]["package"] == "shared" and d["shared_weights"]'
against_is 'd["a"]["spec_sha256"] == d["b"]["spec_sha256"] and d["a"]["package_sha256"] != d["b"]["package_sha256"]'
run -q bench static --tokens 8 --rounds 2 --against large.json
expect_status 0
expect_that 'a line says which' grep -q '^a: tiny on .*, package [0-9a-f]\{12\} of static, made by moec 0' out
expect_that 'the other is a spec' grep -q '^b: large on .*, package [0-9a-f]\{12\}$' out
# A package of a .mlir file holds it.
"$moec" compile tiny.mlir -o dialect -q || exit 1
run -q bench tiny.mlir --tokens 8 --rounds 1 --against dialect --json
expect_status 0
against_is 'd["a"]["spec_sha256"] == d["b"]["spec_sha256"] and d["shared_weights"]'
run -q bench large.json --tokens 8 --rounds 1 --against dialect --json
expect_status 0
against_is 'not d["shared_weights"] and d["b"]["package"] == "dialect"'
# What a package cannot be given, and packages that cannot be used.
run -q bench tiny.json --against static --schedule-b b.txt
expect_status 2
expect_err 'moec: error[E-USAGE]: "static" is a package folder, and a schedule cannot change it
  hint: name a spec, or compile a package with other flags'
run -q bench tiny.json --against static --tuning-b none
expect_status 2
expect_in err '"static" is a package folder, and records cannot change it'
run -q bench static --schedule b.txt --against tiny.json
expect_status 2
"$moec" compile tiny.json --max-tokens 16 -o few -q || exit 1
run -q bench tiny.json --tokens 8,32 --against few
expect_status 2
expect_in err 'token range "32" is outside 0..16 or runs backwards'
"$moec" compile tiny.json --target cuda:sm_80 -o device -q || exit 1
run -q bench tiny.json --against device
expect_status 3
expect_err 'moec: error[E-PACKAGE]: package folder "device": it holds no kernels for CPUs'
cp -r static edited
printf x >>edited/lib/libtiny.a
run -q bench tiny.json --against edited
expect_status 3
expect_err 'moec: error[E-PACKAGE]: package folder "edited": lib/libtiny.a is not the file that manifest.json lists'
# A library that is damaged before it was listed.
broken() { # broken FOLDER LIBRARY: lists LIBRARY as it is now
  python3 - "$1" "$2" <<'EOF'
import hashlib, json, sys
path = sys.argv[1] + "/share/tiny/manifest.json"
manifest = json.load(open(path))
manifest["files"][sys.argv[2]] = "sha256:" + hashlib.sha256(open(sys.argv[1] + "/" + sys.argv[2], "rb").read()).hexdigest()
json.dump(manifest, open(path, "w"))
EOF
}
rm -r edited && cp -r static edited
head -c 3000 static/lib/libtiny.a >edited/lib/libtiny.a
broken edited lib/libtiny.a
run -q bench tiny.json --against edited
expect_status 3
expect_in err 'moec: error[E-PACKAGE]: package folder "edited": its archive cannot be read: '
cp -r shared half
head -c 3000 shared/lib/libtiny.so >half/lib/libtiny.so
broken half lib/libtiny.so
run -q bench tiny.json --against half
expect_status 3
expect_err 'moec: error[E-PACKAGE]: package folder "half": its shared library cannot be read: a segment ends after the file'
for change in 's/moec.manifest.1/moec.manifest.9/' 's/"name": "tiny"/"name": "..\/tiny"/' 's/"abi": "1/"abi": "77/' \
  's/"versions"/"version"/' 's/libtiny/libother/' 's/^{/[/'; do
  rm -r edited && cp -r static edited
  sed -i "$change" edited/share/tiny/manifest.json
  run -q bench tiny.json --against edited
  expect_status 3
  expect_in err 'moec: error[E-PACKAGE]: package folder "edited": '
done
rm edited/lib/libtiny.a
python3 -c 'print("[" * 1000000)' >edited/share/tiny/manifest.json # deeper than a stack
run -q bench tiny.json --against edited
expect_status 3
expect_in err 'manifest.json is not JSON'
cp static/share/tiny/manifest.json edited/share/tiny/manifest.json
run -q bench tiny.json --against edited
expect_status 8
expect_err 'moec: error[E-FILE]: cannot read "edited/lib/libtiny.a": No such file or directory'
run check --explain E-PACKAGE
expect_status 0

# Records: the same layer with and without.
if grep -q avx2 /proc/cpuinfo; then
  sed -e 's/"hidden": 8/"hidden": 256/' -e 's/"intermediate": 6/"intermediate": 128/' tiny.json >small.json
  cat >slow.txt <<'EOF'
schedule tiny
stage experts_gate_up avx2
  rows 1.. panel { block_k = 4, block_m = 1, panel_m = 48 } numeric fma
EOF
  run -q tune small.json --target cpu:avx2 --tokens 64 --stage experts_gate_up --budget 2s --no-confirm --schedule slow.txt -o own.jsonl
  expect_status 0
  run -q bench small.json --target cpu:avx2 --tokens 64 --rounds 2 --tuning none --tuning-b own.jsonl --json
  expect_status 0
  against_is 'd["a"]["tuning"] == "none" and d["b"]["tuning"] == "own.jsonl" and d["shared_weights"]'
  run -q bench small.json --target cpu:avx2 --tokens 64 --rounds 2 --tuning own.jsonl --tuning-b '' --json
  expect_status 0
  against_is 'd["a"]["tuning"] == "own.jsonl" and d["b"]["tuning"] == "none"'
  run -q bench small.json --tokens 64 --tuning-b nowhere.jsonl
  expect_status 8
  expect_in err 'nowhere.jsonl'
fi

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
  hint: leave --against, --schedule-b and --tuning-b out'
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
