# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# moec tune killed 200 times at random moments: the file of records always loads, at most the line being written is lost
# each time, and the same command ends by itself.
. "$2/tests/cli/expect.sh"
grep -q avx2 /proc/cpuinfo || { echo 'this machine has no AVX2'; exit 0; }
sed -e 's/"hidden": 8/"hidden": 64/' -e 's/"intermediate": 6/"intermediate": 64/' "$source_dir/examples/tiny.json" >small.json
cat >kill.py <<'EOF'
import json, os, random, signal, subprocess, sys, time
command = sys.argv[1:] + ["tune", "small.json", "--target", "cpu:avx2", "--no-confirm", "--tokens", "1,4,16,64",
                          "--budget", "full", "-q"]
records = "small.tune.jsonl"
random.seed(1)

def lines():
    """Whole records, and lines that are none."""
    good, torn = [], 0
    for line in open(records, "rb").read().split(b"\n") if os.path.exists(records) else []:
        try:
            good += [json.loads(line)] if line else []
        except ValueError:
            torn += 1
    return good, torn

before = 0
torn_before = 0
longest = 1.0
for kill in range(200):
    # In a group of its own: the parent and the child that measures die together.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    # Most of a run is the probe of the machine; every tenth run gets further.
    time.sleep(random.uniform(0, 0.1) if kill % 10 else random.uniform(0.5, 2.5))
    os.killpg(process.pid, signal.SIGKILL)
    err = process.communicate()[1].decode()
    assert process.returncode in (-signal.SIGKILL, 0), (process.returncode, err)
    good, torn = lines()
    assert len(good) >= before, f"kill {kill}: {len(good)} records after {before}"
    assert torn <= torn_before + 1, f"kill {kill}: {torn} torn lines after {torn_before}"
    before, torn_before = len(good), torn
questions = [json.dumps([r["kind"], r["stage"]["name"], r["class"], r.get("candidate")]) for r in good]
measured = [q for q, r in zip(questions, good) if r["kind"] == "measurement"]
assert len(measured) == len(set(measured)), "a candidate was measured twice"
print(before, "records and", torn_before, "torn lines after 200 kills")
EOF
last='kill.py'
status=0
python3 kill.py "$moec" >out 2>err || complain 'the records survive'
cat out
expect_that 'some runs got far enough to measure' sh -c '! grep -q "^0 records" out'
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
