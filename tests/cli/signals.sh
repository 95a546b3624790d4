# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# What callers hand on and send: ignored signals, closed streams, limits of CPU time; programs that moec runs end with it.
. "$2/tests/cli/expect.sh"
preload=$3
cp "$source_dir/examples/tiny.json" tiny.json

# A caller that ignores SIGCHLD hands that on.
last='SIGCHLD ignored'
python3 -c '
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])' "$moec" --timeout 60 check tiny.json >out 2>err
status=$?
expect_status 0
expect_out 'tiny.json: valid, 4 experts, top-2, H 8, I 6, f32'

# nohup: a closed terminal does not end it.
last='nohup'
(trap '' HUP; exec "$moec" -q --timeout 60 compile tiny.json -o none --fault hang@package) >out 2>err &
pid=$!
wait_until 20 sh -c 'ls -d none.tmp-*'
kill -HUP $pid
sleep 0.5
expect_that 'it goes on after SIGHUP' kill -0 $pid
kill -TERM $pid
wait $pid
status=$?
expect_status 130

# Programs that moec runs, and those that they run, end with it.
mkdir bin
gone() { # the processes whose ids are in the file
  for process in $(cat pids); do
    expect_that "process $process is gone" wait_until 5 sh -c '! kill -0 "$1"' sh "$process"
    kill -9 "$process" 2>/dev/null
  done
}
for tool in ptxas ld.lld-22; do
  flags='--emit shared'
  [ $tool != ptxas ] || flags='--target cuda:sm_80'
  rm -f bin/* pids
  printf '#!/bin/sh\n[ "$1" != --version ] || exit 0\nsleep 1000 &\necho $$ $! >>"%s/pids"\nwait\n' "$work" >bin/$tool
  chmod +x bin/$tool
  for limit in 3 10 30 90; do # on a busy machine it takes long until the tool runs
    # shellcheck disable=SC2086 # one word per flag
    PATH=$work/bin:$PATH run --timeout $limit compile tiny.json -q -o none $flags
    [ ! -s pids ] || break
  done
  expect_status 9
  expect_that "$tool was running" test -s pids
  gone
  for number in TERM KILL; do
    rm -f pids
    last="SIG$number while $tool runs"
    [ $number = TERM ] || printf '#!/bin/sh\n[ "$1" != --version ] || exit 0\necho $$ >>"%s/pids"\nexec sleep 1000\n' \
      "$work" >bin/$tool
    # shellcheck disable=SC2086
    PATH=$work/bin:$PATH "$moec" compile tiny.json -q -o none $flags >out 2>err &
    pid=$!
    wait_until 90 test -s pids
    kill -$number $pid
    wait $pid 2>/dev/null
    status=$?
    [ $number = KILL ] || expect_status 130
    gone
    rm -rf none.tmp-*
  done
done
rm -r bin

# A signal after the package appeared.
last='SIGINT after the rename'
LD_PRELOAD=$preload FAIL_CALL=renameat2 FAIL_SLEEP=60 "$moec" compile tiny.json -q -o late >out 2>err &
pid=$!
wait_until 60 test -d late
kill -TERM $pid
wait $pid
status=$?
expect_status 130
expect_err 'moec: error[E-INTERRUPTED]: interrupted; "late" is complete'
expect_that 'the package is there' test -f late/share/tiny/manifest.json
LD_PRELOAD=$preload FAIL_CALL=renameat2 FAIL_SLEEP=60 "$moec" --timeout 20 compile tiny.json -q -o late --force >out 2>err
status=$?
expect_status 9
expect_in err '; "late" is complete'
expect_that 'one package and nothing else' test "$(ls -d late*)" = late

# A result that nobody can read: the work is done, and that is said.
if [ -w /dev/full ]; then
  last='compile >/dev/full'
  "$moec" compile tiny.json -q -o full >/dev/full 2>err
  status=$?
  expect_status 8
  expect_err 'moec: error[E-WRITE]: cannot write to standard output: No space left on device; "full" is complete'
  "$moec" --help >/dev/full 2>err
  status=$?
  expect_status 8
  expect_err 'moec: error[E-WRITE]: cannot write to standard output: No space left on device'
fi
last='compile >&-'
"$moec" compile tiny.json -q -o closed >&- 2>err
status=$?
expect_status 8
expect_err 'moec: error[E-WRITE]: cannot write to standard output: Bad file descriptor; "closed" is complete'
run compile tiny.json -q -o usual
expect_that 'no file took the number of the closed stream' diff -r usual closed
last='compile <&- 2>&-'
"$moec" compile tiny.json -q -o closed2 >out <&- 2>&-
status=$?
expect_status 0
expect_that 'nor of others' diff -r usual closed2
last='compile | true'
sh -c '"$1" compile tiny.json -q -o piped 2>err; echo $? >code' sh "$moec" | true
status=$(cat code)
: >out
expect_status 8
expect_err 'moec: error[E-WRITE]: standard output was closed; "piped" is complete'

# Limits of CPU time.
for hard in -S ''; do
  last="ulimit $hard -t 1"
  # shellcheck disable=SC2086 # no word if there is none
  (ulimit $hard -t 1; exec "$moec" compile deepseek-v3 -q -o none --jobs 1) >out 2>err
  status=$?
  expect_status 9
  expect_err 'moec: error[E-RESOURCE]: stopped by the limit of CPU time
  hint: raise ulimit -t'
done
done_testing
