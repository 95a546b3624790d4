# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception python3 checkpoint.py FILE NAME:TYPE:DIMS...: a safetensors
# file whose numbers count 0, 1, 2, ... from tensor to tensor (F32: in sixteenths, BF16: the patterns of small numbers).
# NAME may hold {a-b}: a tensor for each number.
import json
import re
import struct
import sys


def expand(argument):
    name, kind, dims = argument.rsplit(":", 2)
    shape = [int(d) for d in dims.split(",")]
    span = re.search(r"\{(\d+)-(\d+)\}", name)
    numbers = range(int(span[1]), int(span[2]) + 1) if span else [None]
    for number in numbers:
        yield (name if number is None else name.replace(span[0], str(number))), kind, shape


def write(path, arguments):
    header, data, count = {}, b"", 0
    for argument in arguments:
        for name, kind, shape in expand(argument):
            elements = 1
            for d in shape:
                elements *= d
            values = range(count, count + elements)
            count += elements
            if kind == "F32":
                part = struct.pack("<%df" % elements, *((v % 64 - 32) / 16 for v in values))
            elif kind == "BF16":
                part = struct.pack("<%dH" % elements, *(0x3E00 + v % 256 for v in values))
            else:
                part = struct.pack("<%dq" % elements, *values)
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
            data += part
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


write(sys.argv[1], sys.argv[2:])
