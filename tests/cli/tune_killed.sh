# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec tune killed while it writes records: the file always loads, at most one line is lost each time, and the same
# command ends by itself. search.killed_search kills a search 200 times; here it is the whole command.
. "$2/tests/cli/expect.sh"
grep -q avx2 /proc/cpuinfo || { echo 'skip: this machine has no AVX2'; exit 77; }
sed -e 's/"hidden": 8/"hidden": 64/' -e 's/"intermediate": 6/"intermediate": 64/' "$source_dir/examples/tiny.json" >small.json
last='kill_writer.py'
status=0
python3 "$source_dir/tests/cli/kill_writer.py" small.tune.jsonl 6 0.05 "$moec" tune small.json --target cpu:avx2 \
  --no-confirm --tokens 1,4,16,64 --budget full -q >out 2>err || complain 'the records survive'
run tune small.json --target cpu:avx2 --no-confirm --tokens 1,4,16,64 --budget full
expect_status 0
expect_in out '; not reached: 0'
run tune small.json --target cpu:avx2 --no-confirm --tokens 1,4,16,64 --budget full
expect_in out 'small.tune.jsonl: 0 measurements; '
run tunedb merge small.tune.jsonl -o whole.jsonl
expect_status 0
run tunedb verify whole.jsonl
expect_status 0
done_testing
