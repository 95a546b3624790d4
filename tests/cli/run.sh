# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec-run: inspect, verify and bench of packages without the compiler; moec's verbs on the same folders.
. "$2/tests/cli/expect.sh"
tool=$moec
alone=$(dirname "$moec")/moec-run
cp "$source_dir/examples/tiny.json" tiny.json
run compile tiny.json -q --emit both -o both
run compile tiny.json -q -o static
run compile tiny.json -q --target cpu:baseline,cpu:avx2 --emit shared --reports all -o shared

runner() { # runner WORD...: as run, of moec-run
  moec=$alone
  run "$@"
  moec=$tool
  last="moec-run $*"
}
says() { # says EXPRESSION: of d, the JSON on stdout
  expect_that "$1" python3 -c 'import json, sys; d = json.load(open("out")); assert eval(sys.argv[1]), d' "$1"
}

# ---- what it needs
expect_that 'no LLVM, and no C++ library' sh -c '! ldd "$1" | grep -qE "LLVM|MLIR|libstdc|libc\+\+"' sh "$alone"

# ---- inspect
for place in both both/share/tiny both/lib/libtiny.so; do
  runner inspect $place --json
  expect_status 0
  expect_err ''
  says 'd["calls"]["abi"] == "tvm-ffi 0.1" and "forward" in d["calls"]["functions"]'
  says 'd["name"] == "tiny" and d["complete"] and d["experts"] == 4 and d["library"] == "both" and d["cannot_run"] == ""'
done
says 'sum(i["taken"] for i in d["isas"]) == 1 and d["isas"][-1]["isa"] == "baseline"'
says '{r["name"]: r["shape"] for r in d["roles"]}["experts.gate"] == [4, 6, 8]'
says 'd["workspace"][0]["tokens"] == 1 and d["workspace"][-1]["tokens"] == d["max_tokens"] == 8192'
says '{f["path"] for f in d["files"]} >= {"lib/libtiny.a", "lib/libtiny.so", "share/tiny/spec.json"}'
runner inspect shared
expect_status 0
expect_in out 'made from    spec.json, targets cpu:baseline cpu:avx2, max-tokens 8192, math exact, det run'
expect_in out 'schedule     heuristics'
expect_in out 'reports      probabilities'
expect_in out 'calls        tvm-ffi 0.1: forward call backward pack load bind'
MOEC_MAX_ISA=baseline
export MOEC_MAX_ISA
runner inspect shared --json
unset MOEC_MAX_ISA
says '[i["use"] for i in d["isas"]] in ([u, "taken"] for u in ("MOEC_MAX_ISA is baseline", "this machine does not have it"))'

# ---- verify
runner verify both --tokens 0-5,17 --json
expect_status 0
says 'd["failed"] == 0 and d["passed"] > 0 and all(i["rows_compared"] > 0 for i in d["isas"])'
cp out first
run verify both --tokens 0-5,17 --json
expect_status 0
expect_that 'moec verify says the same' cmp first out
runner verify both --tokens 0-5,17 --seed 7 --seeds 2 --json
says 'd["failed"] == 0 and d["isas"][0]["cases"] == 14'
expect_that 'other weights' sh -c '! cmp -s first out'
runner verify both --tokens 1-4
expect_in out ' 0 failed, '
runner verify shared --tokens 8193
expect_status 2
expect_err 'moec-run: error[E-USAGE]: token range "8193" is outside 0..8192 or runs backwards'

# ---- an archive is linked by this machine's linker; without one there is a hint
if command -v ld.lld-22 >/dev/null || command -v ld.lld >/dev/null || command -v ld >/dev/null; then
  runner verify static --tokens 1-4
  expect_status 0
  expect_that 'nothing is left of the linking' sh -c '! ls -d "${TMPDIR:-/tmp}"/moec-run-* 2>/dev/null | grep -q .'
fi
last='moec-run verify, started by a program that ignores SIGCHLD'
python3 -c '
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])' "$alone" verify both --tokens 1-4 >out 2>err
status=$?
expect_status 0
path=$PATH
PATH=/nowhere
runner verify static --tokens 1
PATH=$path
expect_status 5
expect_err 'moec-run: error[E-TOOL]: the package holds an archive, and PATH has no linker: looked for ld.lld-22, ld.lld and ld
  hint: moec compile --emit both adds a shared library, which needs none'

# ---- a byte that is another one
for file in lib/libtiny.so share/tiny/spec.json share/tiny/templates/functions/silu.mlir; do
  rm -rf bad && cp -r both bad
  python3 -c '
import sys
path = "bad/" + sys.argv[1]
text = bytearray(open(path, "rb").read())
text[len(text) // 2] ^= 1
open(path, "wb").write(text)' $file
  for verb in verify bench; do
    runner $verb bad --tokens 1
    expect_status 3
    expect_err 'moec-run: error[E-PACKAGE]: package folder "bad": '$file' is not the file that manifest.json lists'
  done
  runner inspect bad
  expect_status 3
  expect_in err 'moec-run: error[E-PACKAGE]: package folder "bad": '$file': SHA-256 is '
  expect_in out 'files        1 of '
  runner inspect bad --json
  says 'not d["complete"] and "isas" not in d and [f["path"] for f in d["files"] if f["problem"]] == ["'$file'"]'
done
rm -rf bad && cp -r both bad && rm bad/include/tiny.h
runner inspect bad
expect_status 3
expect_in err 'include/tiny.h: cannot read '
runner verify bad --tokens 1 # a header is nothing that runs
expect_status 0

# ---- a package with the library of another layer, listed with its hash; a library that crashes
sed 's/"silu"/"relu"/' tiny.json >relu.json
run compile relu.json -q --emit shared -o relu
relist() { # relist FOLDER PATH: the manifest lists the file as it is now
  python3 - "$1" "$2" <<'PY'
import hashlib, json, sys
path = sys.argv[1] + "/share/tiny/manifest.json"
m = json.load(open(path))
m["files"][sys.argv[2]] = "sha256:" + hashlib.sha256(open(sys.argv[1] + "/" + sys.argv[2], "rb").read()).hexdigest()
json.dump(m, open(path, "w"))
PY
}
rm -rf bad && cp -r both bad && cp relu/lib/libtiny.so bad/lib/ && relist bad lib/libtiny.so
runner verify bad --tokens 1
expect_status 3
expect_in err 'its library is of another layer than manifest.json says'
sed -i 's/"count": 4/"count": 3/' bad/share/tiny/spec.json && relist bad share/tiny/spec.json
runner verify bad --tokens 1
expect_status 3
expect_in err 'its spec and functions have the identity '
rm -rf bad && cp -r both bad
head -c 3000 both/lib/libtiny.so >bad/lib/libtiny.so && relist bad lib/libtiny.so
runner verify bad --tokens 1
expect_status 3
expect_in err 'its shared library cannot be read: a segment ends after the file'
if command -v cc >/dev/null; then
  printf '#include <stdlib.h>\nconst void *tiny_package(void) { abort(); }\n' >crash.c
  cc -shared -fPIC -o bad/lib/libtiny.so crash.c && relist bad lib/libtiny.so
  runner verify bad --tokens 1
  expect_status 1
  expect_in err 'moec-run: error[E-CRASH]: the package'"'"'s code, or moec-run, ended with signal Aborted'
fi

# ---- a kernel that computes something else
mkdir -p wrong/kernels
sed 's/%k = %c0 to/%k = %c1 to/' "$source_dir/templates/kernels/panel.mlir" >wrong/kernels/panel.mlir # one step short
run compile tiny.json -q --templates wrong --target cpu:avx2 --emit shared -o planted
expect_status 0
for verb in 'runner verify' 'run verify'; do
  $verb planted --tokens 1-4
  expect_status 1
  expect_in err 'error[E-MISMATCH]: avx2: seed 0, '
done
runner inspect planted
expect_status 0
expect_in out 'kernels/panel.mlir (of --templates, '

# ---- functions of --templates: the oracle evaluates the text that is in the package
mkdir -p mine/functions
sed 's/silu/swish/' "$source_dir/templates/functions/silu.mlir" >mine/functions/swish.mlir
sed 's/"silu"/"swish"/' tiny.json >swish.json
run compile swish.json -q --templates mine --emit shared -o swish
rm -r mine
runner verify swish --tokens 1-4,17
expect_status 0
expect_in out ' 0 failed, '

# ---- layers of the dialect
run compile tiny.json -q --stop-after build
cp out tiny.mlir
run compile tiny.mlir -q --emit shared -o dialect
for verb in verify bench; do
  runner $verb dialect --tokens 1
  expect_status 4
  expect_err 'moec-run: error[E-UNSUPPORTED]: "dialect" was made from text of the moe dialect, which only the compiler reads
  hint: moec '$verb' takes the package on a machine with the compiler'
done
runner inspect dialect
expect_status 0
run verify dialect -q --tokens 1-4
expect_status 0
expect_in out ' 0 failed, '
run bench dialect -q --tokens 2 --rounds 1 --json
expect_status 0

# ---- CUDA kernels wait for a GPU
run compile tiny.json -q --target cuda:sm_80 --emit shared -o cuda
runner inspect cuda
expect_status 0
expect_in out 'takes none: the package has no kernels for CPUs'

# ---- bench
runner bench both --tokens 1,8 --rounds 2 --json
expect_status 0
says '[r["tokens"] for r in d["results"]] == [1, 8] and d["name"] == "tiny" and d["ceilings"]["read_gbps"] > 0'
cp out first
run bench both -q --tokens 1,8 --rounds 2 --json
expect_status 0
expect_that 'moec bench writes the same members' python3 -c '
import json
def form(v): return {k: form(x) for k, x in v.items()} if isinstance(v, dict) else type(v)
a, b = json.load(open("first")), json.load(open("out"))
assert form(a) == form(b) and a["spec_sha256"] == b["spec_sha256"] and a["accepted_fraction"] == b["accepted_fraction"]
assert [set(r) - {"reason"} for r in a["results"]] == [set(r) - {"reason"} for r in b["results"]]'
cp out second
run compare first second
expect_status 0
runner bench both --tokens 4 --rounds 1 --stages --skew zipf
expect_status 0
expect_in out '| 4 | experts_down | matmul |'
runner bench --ceilings --json
expect_status 0
says 'd["compute_gflops"] > 0'
runner bench
expect_status 2

# ---- moec's verbs refuse what would be another package
run verify both --target cpu:avx2 --schedule nothing.txt
expect_status 8
run verify both --max-tokens 16
expect_status 2
expect_err 'moec: error[E-USAGE]: "both" is a package folder, and --max-tokens cannot change it
  hint: name a spec, or compile a package with other flags'
run explain both --json
expect_status 0
says 'd["package"]["complete"] and [s["kind"] for s in d["steps"]].count("matmul") == 3 and "stage router" in d["schedule"]'
run explain both
expect_status 0
expect_in out 'identity     '
expect_in out 'experts_gate_up'
run check both
expect_status 4

# ---- usage, and a prefix that holds the runner alone
runner
expect_status 2
expect_err 'moec-run: error[E-USAGE]: no verb was named
  hint: moec-run --help lists what it takes'
runner --help
expect_status 0
expect_in out 'inspect'
runner --version
expect_status 0
expect_in out 'moec-run '
runner inspect nowhere
expect_status 8
runner inspect tiny.json
expect_status 3
mkdir -p image/bin image/pkg image/tmp
cp "$alone" image/bin/ && cp -r shared/. image/pkg/
for library in $(ldd "$alone" | grep -o '/[^ ]*'); do
  mkdir -p "image/$(dirname "$library")" && cp "$library" "image/$library"
done
if chroot image /bin/moec-run --version >/dev/null 2>&1; then
  last='moec-run in a chroot with libc alone'
  chroot image /bin/moec-run verify /pkg --tokens 1-4 >out 2>err </dev/null
  status=$?
  expect_status 0
  expect_in out ' 0 failed, '
  chroot image /bin/moec-run inspect /pkg/lib/libtiny.so >out 2>err </dev/null
  status=$?
  expect_status 0
else
  echo 'SKIPPED: an image with the runner alone (no right to chroot)'
fi
done_testing
