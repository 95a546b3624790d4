# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# golden.py FOLDER: writes one golden case, a layer's weights, inputs and the outputs that another program computed, for
# `moec verify --golden FOLDER`. Here that program is a loop over plain Python numbers; put your own model in its place.
import json
import math
import os
import random
import struct
import sys

E, H, I, K, T = 4, 8, 6, 2, 3  # examples/tiny.json; T tokens


def save(path, tensors):
    """{name: (shape, floats)} -> a safetensors file, as safetensors.numpy.save_file writes it."""
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def draw(count):
    """Normal numbers, rounded to f32."""
    return [struct.unpack("f", struct.pack("f", random.gauss(0, 1)))[0] for _ in range(count)]


def dot(matrix, row, vector):
    return sum(a * b for a, b in zip(matrix[row * len(vector):(row + 1) * len(vector)], vector))


def model(router, gate, up, down, x):
    """Your model: y [T,H] of x [T,H]."""
    p = [math.exp(dot(router, e, x)) for e in range(E)]
    chosen = sorted(range(E), key=lambda e: -p[e])[:K]
    y = [0.0] * H
    for e in chosen:
        g = [dot(gate, e * I + i, x) for i in range(I)]
        hidden = [g[i] / (1 + math.exp(-g[i])) * dot(up, e * I + i, x) for i in range(I)]
        for h in range(H):
            y[h] += p[e] / sum(p[c] for c in chosen) * dot(down, e * H + h, hidden)
    return y


def main():
    folder = sys.argv[1]
    router, gate, up, down, x = draw(E * H), draw(E * I * H), draw(E * I * H), draw(E * H * I), draw(T * H)
    y = [value for t in range(T) for value in model(router, gate, up, down, x[t * H:(t + 1) * H])]
    os.makedirs(folder, exist_ok=True)
    save(os.path.join(folder, "mine.safetensors"), {
        "w.router.weight": ([E, H], router), "w.experts.gate": ([E, I, H], gate), "w.experts.up": ([E, I, H], up),
        "w.experts.down": ([E, H, I], down), "b0.x": ([T, H], x), "b0.y": ([T, H], y)})
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "tiny.json"), encoding="utf-8") as file:
        spec = json.load(file)
    with open(os.path.join(folder, "mine.json"), "w", encoding="utf-8") as file:
        json.dump({"spec": spec, "dtype": "f32", "tolerance": {"y_rel": 2e-5},
                   "batches": [{"index": 0, "batch": 1, "tokens_per_sequence": T}]}, file)


if __name__ == "__main__":
    main()
