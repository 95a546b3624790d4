# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# shift_unit.py FROM.unit TO.unit SHARE -> the unit whose device answers with output[i] + SHARE * sums[i] (UnitCheck.h).
import struct
import sys

source, target, share = sys.argv[1], sys.argv[2], float(sys.argv[3])
with open(source, "rb") as file:
    head, data = file.read().split(b"\n", 1)
input_bytes, output_bytes, _, sums_bytes = map(int, head.split()[4:8])
assert sums_bytes == output_bytes, "a unit without sums"
words = "<%df" % (output_bytes // 4)
output = struct.unpack(words, data[input_bytes:input_bytes + output_bytes])
sums = struct.unpack(words, data[input_bytes + output_bytes:input_bytes + output_bytes + sums_bytes])
shifted = struct.pack(words, *(o + share * s for o, s in zip(output, sums)))
with open(target, "wb") as file:
    file.write(head + b"\n" + data[:input_bytes] + shifted + data[input_bytes + output_bytes:])
