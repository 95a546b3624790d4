# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# python3 experts.py BEFORE AFTER: two checkpoints; the experts of BEFORE have the same bits in AFTER, which has more.
import json
import struct
import sys


def tensors(path):
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    header.pop("__metadata__")
    return {name: (entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


before, after = tensors(sys.argv[1]), tensors(sys.argv[2])
names = [name for name in before if name.startswith("layers.") and ".experts." in name]
assert len(names) == 3, names
for name in names:
    (old, *rest), bytes_before = before[name]
    (new, *rest_after), bytes_after = after[name]
    assert new == old + 2 and rest == rest_after, (name, old, new)
    assert bytes_after[:len(bytes_before)] == bytes_before, f"{name}: an expert that is frozen has changed"
    size = len(bytes_before) // old
    parts = {bytes_after[e * size:(e + 1) * size] for e in range(new)}
    assert len(parts) == new, f"{name}: two experts are the same"
    moment = after["adam.first." + name][1]
    assert not any(moment[:len(bytes_before)]), f"{name}: a frozen expert had a gradient"
    assert any(moment[old * size:(old + 1) * size]) and any(moment[-size:]), f"{name}: a new expert has learned nothing"
