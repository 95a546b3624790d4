# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# --schedule FILE: every error stands at its line of that file, and nothing of a schedule is ignored.
. "$2/tests/cli/expect.sh"
cp "$source_dir/examples/tiny.json" tiny.json

run compile tiny.json -q --stop-after schedule
expect_status 0
cp out all.txt
run compile tiny.json -q --stop-after schedule --schedule all.txt
expect_status 0
expect_that 'a printed schedule changes nothing' diff out all.txt

: >empty.txt
run compile tiny.json -q -o none --schedule empty.txt
expect_status 3
expect_err "empty.txt:1:1: error[E-SCHEDULE]: found the end of the file, expected 'schedule' at the start of a schedule
    1 |$(printf ' ')
      | ^
  hint: moec explain prints the schedule a layer gets by default, in this form"

printf 'schedule tiny\nstage router avx2\n  rows 1.. panel { block_m = x } numeric fma\n' >word.txt
run explain tiny.json -q --schedule word.txt
expect_status 3
expect_err "word.txt:3:30: error[E-SCHEDULE]: found 'x', expected the value of block_m, an integer in 1..1000000
    3 |   rows 1.. panel { block_m = x } numeric fma
      |                              ^
  hint: moec explain prints the schedule a layer gets by default, in this form"

printf 'schedule tiny\nstage router amx\n  rows 1.. panel {} numeric fma\nstage rooter avx2\n  rows 1.. panel {} numeric fma\n' >unused.txt
run compile tiny.json -q -o none --schedule unused.txt --target cpu:avx2
expect_status 3
expect_err "unused.txt:2:1: error[E-SCHEDULE]: stage 'router' has no kernels of amx in this package
    2 | stage router amx
      | ^^^^^
  hint: built are router: avx2; experts_gate_up: avx2; experts_down: avx2
unused.txt:4:1: error[E-SCHEDULE]: the layer has no matmul stage 'rooter'
    4 | stage rooter avx2
      | ^^^^^"
run compile tiny.json -q --stop-after schedule --schedule unused.txt --target cpu:avx2
expect_status 3
expect_out ''

printf 'schedule tiny\nstage router avx2\n  rows 1..3 panel { block_k = 4, block_m = 1, panel_m = 2 } numeric fma\n  rows 4.. panel { block_k = 4, block_m = 1, panel_m = 16 } numeric fma\n' >illegal.txt
run verify tiny.json -q --tokens 1 --schedule illegal.txt
expect_status 3
expect_err "illegal.txt:3:3: error[E-SCHEDULE]: stage router avx2 rows 1..3: S2: panel_m is 2, expected at least 3, the last row of the entry
    3 |   rows 1..3 panel { block_k = 4, block_m = 1, panel_m = 2 } numeric fma
      |   ^^^^
  hint: codegen/schedule/Schedule.h has the rules S1 to S6"

run verify --golden "$source_dir/tests/golden" --schedule all.txt
expect_status 2
expect_err 'moec: error[E-USAGE]: --schedule applies to a spec alone: a schedule is one layer'"'"'s
  hint: name the spec of one case'
done_testing
