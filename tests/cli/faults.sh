# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec compile while calls of the system fail, and while it is killed: there is a whole package or none, nothing is left
# beside it, and a shortage is never called a mistake of moec.
. "$2/tests/cli/expect.sh"
preload=$3
cp "$source_dir/examples/tiny.json" tiny.json
run compile tiny.json -q -o whole --target cpu:avx2,cpu:baseline
expect_status 0
run compile tiny.json -q -o whole_shared --target cpu:avx2,cpu:baseline --emit shared
expect_status 0

# A package is whole, or not there.
check_output() { # check_output WHOLE
  if [ -e q ]; then
    expect_that "a package that is there is whole" diff -r "$1" q
    rm -rf q
  elif [ "$status" = 0 ]; then
    complain 'exit 0 without a package'
  fi
  if ls -d q.tmp-* moec-repro-* >/dev/null 2>&1; then
    complain "left behind: $(ls -d q.tmp-* moec-repro-* 2>/dev/null)"
    rm -rf q.tmp-* moec-repro-*
  fi
}

fail_at() { # fail_at CALL N WHOLE FLAG...: allowed exit codes are those of files, tools and limits
  call=$1 at=$2 whole=$3
  shift 3
  last="FAIL_CALL=$call FAIL_AT=$at moec compile $*"
  LD_PRELOAD=$preload FAIL_CALL=$call FAIL_AT=$at "$moec" compile tiny.json -q -o q --target cpu:avx2,cpu:baseline "$@" \
    >out 2>err </dev/null
  status=$?
  case $status in
  0 | 5 | 8 | 9) ;;
  *) complain 'expected status 0, 5, 8 or 9' ;;
  esac
  [ "$status" = 0 ] || expect_in err 'moec: error[E-'
  check_output "$whole"
}

for at in 1 2 3 5 8 9 10 11 12; do fail_at write $at whole; done
for at in 1 2 4 6 8 10 14; do fail_at fsync $at whole; done
for at in 1 2 4 7; do fail_at mkdir $at whole; done
for at in 1 2 9 17 24; do fail_at open $at whole; done
fail_at renameat2 1 whole
expect_status 8
fail_at fork 1 whole
expect_status 9
expect_err 'moec: error[E-RESOURCE]: cannot start a process: Resource temporarily unavailable
  hint: raise the limit of processes (ulimit -u, pids.max)'
for at in 3000 20000 40000 80000; do fail_at malloc $at whole; done
for at in 2 5 20; do fail_at mmap $at whole; done
for at in 1 3 6; do fail_at write $at whole_shared --emit shared; done

# Without threads the same work is done by one.
fail_at pthread_create 1 whole --jobs 4
expect_status 0

# Killed at any moment.
python3 - "$moec" >out 2>&1 <<'PY' || complain 'a kill left something behind'
import glob, os, random, shutil, signal, subprocess, sys, time
moec = sys.argv[1]
random.seed(5)
bad = 0
for i in range(24):
    shutil.rmtree("q", ignore_errors=True)
    number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)[i % 4]
    p = subprocess.Popen([moec, "compile", "tiny.json", "-q", "-o", "q", "--target", "cpu:avx2,cpu:baseline"],
                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    time.sleep(random.uniform(0, 0.6))
    p.send_signal(number)
    said = p.communicate()[1].decode()
    time.sleep(0.1 if number == signal.SIGKILL else 0)  # its child dies with it
    there = os.path.isdir("q")
    good = not there or subprocess.run(["diff", "-r", "whole", "q"]).returncode == 0
    if p.returncode == 0:
        good = good and there
    elif number == signal.SIGKILL:
        good = good and p.returncode == -signal.SIGKILL
    else:
        good = good and p.returncode in (130, -number) and ("is complete" in said) == there
    left = glob.glob("q.tmp-*")
    if number == signal.SIGKILL:  # nobody is there to remove the staging folder, and it is in nobody's way
        for path in left:
            shutil.rmtree(path)
    elif left:
        good = False
    if not good:
        bad += 1
        print("kill", i, number, "exit", p.returncode, "package", there, "left", left, said)
sys.exit(bad != 0)
PY
done_testing
