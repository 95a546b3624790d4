# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# kill_writer.py RECORDS KILLS SECONDS COMMAND... -> runs the command KILLS times and kills it at most SECONDS after it
# wrote a record. Records stay, each kill leaves one torn line at most, and no candidate is measured twice.
import json
import os
import random
import signal
import subprocess
import sys
import time

records, kills, wait, command = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
random.seed(1)


def size():
    return os.path.getsize(records) if os.path.exists(records) else 0


def lines():
    """Whole records, and how many lines are none."""
    good, torn = [], 0
    for line in open(records, "rb").read().split(b"\n") if size() else []:
        try:
            good += [json.loads(line)] if line else []
        except ValueError:
            torn += 1
    return good, torn


good, torn = [], 0
for kill in range(kills):
    begin = size()
    # In a group of its own: the parent and the child that measures die together.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    while size() == begin and process.poll() is None:
        time.sleep(0.001)
    time.sleep(random.uniform(0, wait))
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
