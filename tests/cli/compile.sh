# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec compile: the package folder appears whole or not at all; existing folders, links, interrupts and limits.
. "$2/tests/cli/expect.sh"
cp "$source_dir/examples/tiny.json" tiny.json
no_leftovers() { expect_that "nothing left of $1" sh -c "! ls -d $1 $1.tmp-* 2>/dev/null | grep -q ."; }

run compile tiny.json -q
expect_status 0
expect_out tiny
expect_err ''
files=$(cd tiny && find . -type f | sort | tr '\n' ' ')
expect_that 'the files of a package' test "$files" = './include/tiny.h ./lib/cmake/tiny/tinyConfig.cmake ./lib/cmake/tiny/tinyConfigVersion.cmake ./lib/libtiny.a ./lib/pkgconfig/tiny.pc ./share/tiny/manifest.json ./share/tiny/schedule.txt ./share/tiny/spec.json ./share/tiny/templates/functions/silu.mlir '
expect_that 'manifest digests are those of the files' python3 -c '
import hashlib, json
m = json.load(open("tiny/share/tiny/manifest.json"))
assert len(m["files"]) == 8, m["files"]
for path, digest in m["files"].items():
    assert "sha256:" + hashlib.sha256(open("tiny/" + path, "rb").read()).hexdigest() == digest, path'

run compile tiny.json -q -o again --jobs 1
expect_that 'two compilations give equal bytes' diff -r tiny again

run compile tiny.json
expect_status 8
expect_err 'moec: error[E-EXISTS]: folder "tiny" exists
  hint: choose another folder with -o, or pass --force to replace a package'
run compile tiny.json --force -q --max-tokens 64
expect_status 0
expect_in tiny/include/tiny.h '#define TINY_MAX_TOKENS 64'
expect_that 'no folder but the packages' test "$(ls -d tiny* again*)" = 'again
tiny
tiny.json'

# Files of somebody else are not replaced with a package, files of the package are, whatever became of them.
echo notes >tiny/share/tiny/notes.txt
run compile tiny.json --force -q
expect_status 8
expect_err 'moec: error[E-EXISTS]: folder "tiny" holds "share/tiny/notes.txt", which is not a file of the package in it
  hint: --force replaces packages only; move the file, or choose another folder with -o'
expect_that 'the file stays' test "$(cat tiny/share/tiny/notes.txt)" = notes
rm tiny/share/tiny/notes.txt
echo changed >>tiny/include/tiny.h
run compile tiny.json --force -q --max-tokens 64
expect_status 0

ln -s tiny link
run compile tiny.json -o link --force
expect_status 8
expect_err 'moec: error[E-SYMLINK]: "link" is a symbolic link; a package folder is never written through one
  hint: name the folder it points to, or remove the link'
mkdir mine
echo mine >mine/file
run compile tiny.json -o mine --force
expect_status 8
expect_err 'moec: error[E-EXISTS]: folder "mine" holds files and is not a package made by moec
  hint: --force replaces packages only; choose another folder with -o'
expect_that 'a folder that is no package stays' test "$(cat mine/file)" = mine

sed 's/"top_k": 2/"top_k": 12/' tiny.json >bad.json
run compile bad.json -o none
expect_status 3
no_leftovers none

sed 's/"form": "glu"/"form": "glu", "quant": { "kind": "int8" }/' tiny.json >quant.json
run compile quant.json -o none
expect_status 4
expect_in err 'quant.json:6:'
expect_in err 'error[E-UNSUPPORTED]'
no_leftovers none

sed 's/"hidden": 8,/"hidden": 8, "dtype": "f16",/' tiny.json >half.json
run compile half.json -o none -q
expect_status 4
expect_err 'half.json:4:25: error[E-UNSUPPORTED]: f16 is not built for CPU targets; f32 and bf16 are, and f16 for cuda
    4 |   "hidden": 8, "dtype": "f16",
      |                         ^^^^^
  hint: use --target cuda or bf16'
no_leftovers none

run compile half.json -o half --target cuda -q
expect_status 0
expect_that 'the CUDA targets are in the manifest' python3 -c '
import json
m = json.load(open("half/share/tiny/manifest.json"))
assert m["isas"] == [], m["isas"]
assert [t["name"] for t in m["cuda"]["targets"]] == ["sm_90a", "sm_80"], m["cuda"]'

# What repeats, and what f32 is multiplied with, on CUDA.
run compile tiny.json -o none --det batch --target cpu,cuda:sm_80
expect_status 4
expect_in err 'error[E-UNSUPPORTED]: --det batch is not built for CUDA'
no_leftovers none
# A workspace that a call must not exceed.
run compile tiny.json -o limited --target cpu:avx2 --workspace-limit 40KiB --max-tokens 4096
expect_status 0
expect_in err ' tokens in chunks of '
expect_that 'the chunk is in the manifest' python3 -c '
import json
assert json.load(open("limited/share/tiny/manifest.json"))["sizes"]["chunk_tokens"] > 0'
run compile tiny.json -o none --target cpu:avx2 --workspace-limit 1KiB
expect_status 4
expect_in err 'error[E-UNSUPPORTED]: --workspace-limit: a call of one token takes '
no_leftovers none
run compile tiny.json -o none --target cpu:avx2 --workspace-limit some
expect_status 2
expect_in err '--workspace-limit is "some", expected a number of bytes as 65536, 64MiB or 1.5GiB'
run compile tiny.json -o none --target cuda --workspace-limit 64MiB
expect_status 4
expect_in err '--workspace-limit: calls of CUDA kernels do not run in chunks'
run compile tiny.json -o rows --det batch
expect_status 0
expect_in rows/include/tiny.h '#define TINY_DETERMINISM 2'
expect_in err 'deterministic: per row'
run compile tiny.json -o loose --target cpu:avx2,cuda:sm_80 --det off --math tf32 -q
expect_status 0
expect_in loose/include/tiny.h '#define TINY_DETERMINISM 0'
expect_that 'the manifest says so' python3 -c '
import json
m = json.load(open("loose/share/tiny/manifest.json"))
assert m["determinism"] == "off" and m["cuda"]["math"] == "tf32", m
names = [l["kernel"] for l in m["cuda"]["targets"][0]["launches"]]
assert any(n.endswith("combine_clear") for n in names), names'
run compile tiny.json -o strict --target cpu:avx2 --det off --math tf32 -q
expect_status 0
expect_in strict/include/tiny.h '#define TINY_DETERMINISM 1'
run compile tiny.json -o plain --target cpu:avx2 -q
expect_that 'CPU packages stay as they are' diff -r plain strict
run explain tiny.json --target cuda:sm_80 --det off --why
expect_in out 'CUDA kernels: math exact, determinism off'
expect_in out 'det  experts.down: rows are added to their tokens in any order, without a combine'

# The rows between the last matmul and the combine: 2 choices of 40 columns, padded to 64 bytes.
for rows in f32 activation; do
  printf '{"moec": 1, "name": "rows", "hidden": 40, "dtype": "bf16", "router": {"top_k": 2},
    "experts": {"count": 4, "intermediate": 6}, "combine": {"rows": "%s"}}' $rows > rows_$rows.json
  run compile rows_$rows.json -o rows_$rows --target cpu:avx2 -q
  expect_status 0
done
expect_that 'manifest, workspace and spec say so' python3 -c '
import json
for rows, dtype, bytes in (("f32", "f32", 384), ("activation", "bf16", 256)):
    m = json.load(open("rows_%s/share/rows/manifest.json" % rows))
    found = [b for b in m["buffers"] if b["name"] == "experts_down"]
    assert [(b["dtype"], b["bytes"]["per_token"]) for b in found] == [(dtype, bytes)], found
    spec = json.load(open("rows_%s/share/rows/spec.json" % rows))
    assert spec.get("combine") == ({"rows": rows} if rows == "activation" else None), spec'
run explain rows_f32.json --target cpu:avx2 --tokens 1 -q
expect_in out 'outputs of experts f32; combine.rows activation keeps them as bf16'
run explain rows_activation.json --target cpu:avx2 --tokens 1 -q
expect_in out 'outputs of experts bf16'
run explain rows_activation.json --target cpu:avx2 --tokens 1 -q --json
expect_that 'explain --json says so' grep -q '"rows_type": "bf16"' out

run compile tiny.json --name 'a b' -o none
expect_status 2
expect_err 'moec: error[E-USAGE]: --name "a b" is not a layer name
  hint: use [a-z][a-z0-9_]{0,62}; moec and moec_... are the runtime'"'"'s'
run compile tiny.json --stop-after linking
expect_status 2
expect_err 'moec: error[E-USAGE]: unknown stage "linking"
  hint: stages are spec, build, grad, fuse, plan, schedule, instantiate, lower, emit'

sed 's/"hidden"/"passes": ["forward", "backward"], "hidden"/' tiny.json >trained.json
run compile trained.json --stop-after grad
expect_status 0
expect_in out 'moe.role = "grad.y"'
expect_in out 'moe.role = "grad.experts.down"'
expect_in out 'moe.grouped_outer'
expect_in out '// saved.2  experts.gate, f32, 48 bytes per token'
expect_in out '// 120 bytes per token are saved, beside x; computed again:'
sed 's/"hidden"/"save": "ids", "hidden"/' trained.json >recomputed.json
run compile recomputed.json --stop-after grad
expect_status 0
expect_in out '// 8 bytes per token are saved, beside x; computed again: router.weight'
run compile trained.json -o trained_cuda --target cuda:sm_80
expect_status 0
expect_in err 'saved 120 B a token'
expect_that 'the workspace of backward is that of its target' grep -Eq '; backward [0-9.]+ [KM]iB on sm_80, saved ' err
expect_that 'the manifest lists the launches of both passes' python3 -c '
import json
m = json.load(open("trained_cuda/share/tiny/manifest.json"))
forward, backward = m["cuda"]["targets"], m["backward"]["cuda"]["targets"]
assert [t["name"] for t in backward] == [t["name"] for t in forward] == ["sm_80"], backward
for name, part, target in ("forward", m, forward[0]), ("backward", m["backward"], backward[0]):
    launches = target["launches"]
    assert {l["pass"] for l in launches} == {name}, launches
    assert {l["step"] for l in launches} == set(range(len(part["steps"]))), launches
    assert max(target["workspace_buffers"]) < len(part["buffers"]), target
    assert launches[0].keys() == forward[0]["launches"][0].keys() and target["images"] and target["tables"], target
assert any(l["kernel"].endswith("_experts_down_wgrad") for l in backward[0]["launches"]), backward
assert "workspace_formula" in m["backward"]["cuda"], m["backward"]["cuda"].keys()'
run explain trained.json --target cuda:sm_80 -q
expect_status 0
expect_that 'explain lists the kernels of both passes' sh -c '
  sed -n "/^sm_80/,/^$/p" out | grep -q " [0-9]*_experts_down_t1 " &&
  sed -n "/^sm_80, backward pass/,/^$/p" out | grep -q " [0-9]*_experts_down_wgrad "'
run explain trained.json --target cuda:sm_80 -q --json
expect_that 'explain --json too' python3 -c '
import json
launches = json.load(open("out"))["backward"]["cuda"]["targets"][0]["launches"]
assert {l["pass"] for l in launches} == {"backward"}, launches'
run compile trained.json -o trained --target cpu:avx2
expect_status 0
expect_in err 'saved 120 B a token'
run compile tiny.json --stop-after grad
expect_status 3
expect_in err 'a layer without a backward pass has no gradients'

run compile tiny.json -o none --fault crash
expect_status 7
expect_in err 'moec: error[E-INTERNAL]: this is a mistake in moec: stage "spec" ended with signal Aborted'
expect_that 'a reproducer' sh -c 'grep -q "^command: .*\"compile\" \"tiny.json\"" moec-repro-*/report.txt'
no_leftovers none
mkdir own_templates
run compile tiny.json -o none --templates own_templates --fault crash@emit
expect_status 7
expect_in err 'this is a mistake in moec, or in a template of "own_templates": stage "emit" ended with signal Aborted'
expect_in err 'hint: if it runs without --templates, look there first; otherwise please report it with the folder'
run compile tiny.json -o none --fault hang --timeout 0.5
expect_status 9
expect_err 'moec: error[E-TIMEOUT]: stopped after 0.5 s in stage "spec"
  hint: raise --timeout'
run compile tiny.json -o none --fault memory
expect_status 9
expect_err 'moec: error[E-MEMORY]: out of memory
  hint: raise --memory-limit, or use a smaller layer or fewer --jobs'
no_leftovers none

# An interrupt, a crash and a limit while the staging folder exists.
run compile tiny.json -o none -q --fault crash@package
expect_status 7
expect_in err 'stage "package" ended with signal Aborted'
no_leftovers none
last='interrupted compile'
"$moec" compile tiny.json -o none -q --fault hang@package >out 2>err &
pid=$!
expect_that 'a staging folder while it runs' wait_until 20 sh -c 'ls -d none.tmp-*'
kill -INT $pid
wait $pid
status=$?
expect_status 130
expect_err 'moec: error[E-INTERRUPTED]: interrupted; no output was left behind'
no_leftovers none

# Sizes that nobody has are said, exactly: the manifest's formula gives the same number.
cat >wide.json <<'JSON'
{"moec": 1, "name": "wide", "hidden": 16384, "router": {"top_k": 2}, "experts": {"count": 2, "intermediate": 64}}
JSON
run compile wide.json -q --max-tokens 16777216
expect_status 0
expect_that 'the workspace is that of the manifest' python3 -c '
import json
m = json.load(open("wide/share/wide/manifest.json"))
w, T, W = m["workspace"], 16777216, 1
up = lambda n: (n + 255) // 256 * 256
at = lambda e: e["per_token"] * T + e["fixed"]
total = sum(up(max(map(at, slot))) for slot in w["slots"][:len(w["slots"]) - w["report_slots"]])
total += sum(up(4 * (r["groups"] + 1)) + 3 * up(4 * T * r["choices"]) for r in w["routes"])
total += up(w["item_bytes"] * (at(w["items"]) + w["items_per_worker"] * W + 1)) + W * up(w["scratch_bytes"])
assert open("err").read() == f"""moec: warning[W-WORKSPACE]: a call of {T} tokens needs a workspace of {total} bytes ({total / 2**30:.2f} GiB) on one thread
  hint: a smaller --max-tokens; callers may split their tokens over several calls
"""'

# T*K rows fit into 31 bits, or nothing is written.
cat >many_rows.json <<'JSON'
{"moec": 1, "name": "many_rows", "hidden": 8, "router": {"top_k": 128}, "experts": {"count": 128, "intermediate": 8}}
JSON
for target in cpu cuda; do
  run compile many_rows.json -q --target $target --max-tokens 16777216
  expect_status 4
  expect_err 'many_rows.json: error[E-UNSUPPORTED]: rows are counted in 31 bits: 16777216 tokens of 128 choices are too many
  hint: --max-tokens 16777215; callers may split their tokens over several calls'
  no_leftovers many_rows
done
run compile many_rows.json -q --target cpu:baseline --max-tokens 16777215
expect_status 0

if [ -w /dev/full ]; then
  last='schema >/dev/full'
  "$moec" schema >/dev/full 2>err
  status=$?
  expect_status 8
  expect_err 'moec: error[E-WRITE]: cannot write to standard output: No space left on device'
fi

# A disk that is full: needs a mount of its own.
mkdir small
if mount -t tmpfs -o size=24k tmpfs small 2>/dev/null; then
  run compile tiny.json -q -o small/tiny
  status_full=$status
  left=$(ls small)
  cp err err_full
  umount small
  status=$status_full
  expect_status 8
  expect_in err_full 'No space left on device'
  expect_that 'nothing left on the full disk' test -z "$left"
else
  echo 'SKIPPED: a full disk (no right to mount a tmpfs)'
fi

# A missing linker is said before anything is compiled.
mkdir -p empty-path
PATH=$work/empty-path "$moec" compile "$source_dir/examples/tiny.json" --emit shared -o no-linker >out 2>err
status=$?
expect_status 5
expect_err 'moec: error[E-TOOL]: no linker found: looked for ld.lld-22, ld.lld and ld in PATH
  hint: moec doctor lists the programs moec runs; --emit static needs none'
expect_that 'nothing is left behind' test ! -e no-linker
done_testing
