# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec tune killed while it writes records: the file always loads, at most one line is lost each time, and the same
# command ends by itself. search.killed_search kills a search 200 times; here it is the whole command.
. "$2/tests/cli/expect.sh"
grep -q avx2 /proc/cpuinfo || { echo 'skip: this machine has no AVX2'; exit 77; }
sed -e 's/"hidden": 8/"hidden": 64/' -e 's/"intermediate": 6/"intermediate": 64/' "$source_dir/examples/tiny.json" >small.json
cat >kill.py <<'EOF'
import json, os, random, signal, subprocess, sys, time
command = sys.argv[1:] + ["tune", "small.json", "--target", "cpu:avx2", "--no-confirm", "--tokens", "1,4,16,64",
                          "--budget", "full", "-q"]
records = "small.tune.jsonl"
random.seed(1)
size = lambda: os.path.getsize(records) if os.path.exists(records) else 0

def lines():
    """Whole records, and lines that are none."""
    good, torn = [], 0
    for line in open(records, "rb").read().split(b"\n") if os.path.exists(records) else []:
        try:
            good += [json.loads(line)] if line else []
        except ValueError:
            torn += 1
    return good, torn

good, torn = [], 0
for kill in range(6):
    begin = size()
    # In a group of its own: the parent and the child that measures die together.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    while size() == begin and process.poll() is None:
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.05))
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    err = process.communicate()[1].decode()
    assert process.returncode in (-signal.SIGKILL, 0), (process.returncode, err)
    before, torn_before = len(good), torn
    good, torn = lines()
    assert len(good) >= before, f"kill {kill}: {len(good)} records after {before}"
    assert torn <= torn_before + 1, f"kill {kill}: {torn} torn lines after {torn_before}"
questions = [json.dumps([r["stage"]["name"], r["class"], r["candidate"]]) for r in good if r["kind"] == "measurement"]
assert questions and len(questions) == len(set(questions)), "a candidate was measured twice"
EOF
last='kill.py'
status=0
python3 kill.py "$moec" >out 2>err || complain 'the records survive'
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
