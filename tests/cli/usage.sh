# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Exit 2: what moec does not understand, and how it says so; help and version are no errors.
. "$2/tests/cli/expect.sh"

run
expect_status 2
expect_err 'moec: error[E-USAGE]: no verb was named
  hint: moec --help lists what it takes'
expect_out ''

run --version
expect_status 0
expect_in out 'moec 0.1.0'

# README.md and `moec targets` say the same about instruction sets.
run targets
expect_status 0
for isa in baseline avx2 avx512 avx512_bf16 amx; do
  features=$(sed -n "s/^cpu:$isa  *\(runs here\|not on this machine\)  *//p" out)
  written=$(sed -n "s/^ *| \`$isa\` | \([^|]*\) |\$/\1/p" "$source_dir/README.md")
  expect_that "README.md says what $isa needs" test "$(echo "$written" | sed 's/ (bf16.*//; s/, and the kernel.*//; s/,//g')" = "$features"
done
run targets --json
expect_status 0
expect_that 'every target says what it needs' python3 -c '
import json
needs = {t["target"]: t["needs"] for t in json.load(open("out"))}
assert all(needs.values()), needs
assert needs["cuda"] == "compute capability 9.0, 8.0 and later", needs
assert needs["cpu:avx512_bf16"] == "AVX512-BF16", needs'

run chekc
expect_status 2
expect_err 'moec: error[E-USAGE]: unknown verb "chekc"
  hint: did you mean "check"?'

run compile
expect_status 2
expect_err 'moec: error[E-USAGE]: SPEC is required
  hint: moec compile --help lists what it takes'

run compile x.json --targets cpu
expect_status 2
expect_err 'moec: error[E-USAGE]: moec compile takes no "--targets"
  hint: did you mean "--target"?'
run compile x.json --quit
expect_status 2
expect_err 'moec: error[E-USAGE]: moec compile takes no "--quit"
  hint: did you mean "--quiet"?'
run compile x.json y.json
expect_status 2
expect_in err 'The following argument was not expected: y.json'
run compile "$source_dir/examples/tiny.json" --max-tokens 1-64 -o range -q
expect_status 0
expect_that '1-64 are calls of up to 64 tokens' grep -q 'define TINY_MAX_TOKENS 64$' range/include/tiny.h

run compile x.json --max-tokens 0
expect_status 2
expect_err 'moec: error[E-USAGE]: --max-tokens: Value 0 not in range 1 to 16777216
  hint: moec compile --help lists what it takes'

run compile x.json --target cpu:foo
expect_status 2
expect_err 'moec: error[E-USAGE]: unknown target "cpu:foo"
  hint: targets are cpu, cpu:amx, cpu:avx512_bf16, cpu:avx512, cpu:avx2, cpu:baseline, cuda, cuda:sm_90a,
        cuda:sm_80'

run compile x.json --target cpu,cuda:sm_75
expect_status 2
expect_err 'moec: error[E-USAGE]: unknown target "cuda:sm_75"
  hint: targets are cpu, cpu:amx, cpu:avx512_bf16, cpu:avx512, cpu:avx2, cpu:baseline, cuda, cuda:sm_90a,
        cuda:sm_80'

run compile x.json --target cuda --sanitize address
expect_status 2
expect_err 'moec: error[E-USAGE]: --sanitize is for CPU kernels
  hint: leave the cuda targets out'

run bench small-4x1 --target cuda
expect_status 4
expect_err 'moec: error[E-UNSUPPORTED]: moec bench measures CPU targets; CUDA kernels are measured by tests/cuda/run.sh on a machine with a GPU
  hint: leave the cuda targets out'

run verify
expect_status 2
expect_err 'moec: error[E-USAGE]: verify takes one of a spec, --golden DIR and --random N
  hint: moec verify layer.json'

run bench small-4x1 --tokens 4-1
expect_status 2
expect_err 'moec: error[E-USAGE]: token range "4-1" is outside 0..8192 or runs backwards
  hint: --tokens 1,2,4-64*2 or a larger --max-tokens'

run explain small-4x1 --tokens 0-4*2
expect_status 2
expect_err 'moec: error[E-USAGE]: token range "0-4*2" has a step that goes nowhere
  hint: --tokens 1,2,4-64*2 or a larger --max-tokens'

for verb in init check compile explain verify bench compare report tune tunedb targets doctor schema version; do
  run "$verb" --help
  expect_status 0
  expect_err ''
  expect_in out "Usage: moec $verb"
done

run version
expect_status 0
expect_in out 'moec 0.1.0 (package ABI 1.0, LLVM 22.'
run version --json
expect_status 0
expect_that 'version --json is JSON' python3 -c 'import json; assert json.load(open("out"))["moec"] == "0.1.0"'

run schema
expect_status 0
expect_that 'schema is JSON' python3 -c 'import json; assert "$schema" in json.load(open("out"))'
run schema --version 2
expect_status 4
expect_err 'moec: error[E-UNSUPPORTED]: spec version 2 is not known; supported: 1'

run targets
expect_status 0
expect_in out 'cpu:baseline     runs here'
run doctor --json
expect_that 'doctor --json is JSON' python3 -c 'import json; assert json.load(open("out"))[0]["what"] == "moec"'
done_testing
