# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""For the tests beside it: the layer of examples/tiny.json, its packages, and its meaning in NumPy's float64."""

import json
import os
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
try:
    import numpy as np
except ImportError:
    print("skipped: NumPy is not installed (apt-get install python3-numpy)")
    sys.exit(77)
try:
    import moec
except ImportError:
    sys.path.insert(0, str(ROOT / "runtime" / "bindings" / "python" / "src"))
    import moec

SPEC = json.loads((ROOT / "examples" / "tiny.json").read_text("utf-8"))
TRAINED = {**SPEC, "passes": ["forward", "backward"], "losses": [{"kind": "load_balance"}, {"kind": "z"}]}
E, K, H, INNER = 4, 2, 8, 6


def package(cuda=False):
    """The handwritten package, a library without a manifest."""
    name = "MOEC_TEST_TINY_CUDA" if cuda else "MOEC_TEST_TINY"
    default = ROOT / "build" / "lib" / ("libtiny_cuda.so" if cuda else "libtiny.so")
    return os.environ.get(name, str(default))


def tensors(seed=0):
    random = np.random.default_rng(seed)
    shapes = {
        "router.weight": (E, H),
        "experts.gate": (E, INNER, H),
        "experts.up": (E, INNER, H),
        "experts.down": (E, H, INNER),
    }
    return {role: random.standard_normal(shape).astype("float32") for role, shape in shapes.items()}


def x_of(tokens, seed=1):
    return np.random.default_rng(seed).standard_normal((tokens, H)).astype("float32")


def route(x, roles, added=0):
    """ids [T,K] in selection order, and weights [T,K]; `added` to the logits."""
    logits = x.astype("float64") @ roles["router.weight"].astype("float64").T + added
    ids = np.argsort(-logits, axis=1, kind="stable")[:, :K]
    chosen = np.exp(np.take_along_axis(logits, ids, 1) - logits.max(axis=1, keepdims=True))
    return ids.astype("int32"), chosen / chosen.sum(axis=1, keepdims=True)


def expected(x, roles, added=0):
    """y [T,H], float64."""
    gate, up, down = (roles["experts." + name].astype("float64") for name in ("gate", "up", "down"))
    ids, weights = route(x, roles, added)
    y = np.zeros(x.shape, "float64")
    for t, k in np.ndindex(ids.shape):
        e, row = ids[t, k], x[t].astype("float64")
        inner = gate[e] @ row
        y[t] += weights[t, k] * (down[e] @ (inner / (1 + np.exp(-inner)) * (up[e] @ row)))
    return y


def near(found, wanted, bound=2e-5):
    found = np.asarray(found).astype("float64")
    return found.shape == wanted.shape and bool(np.abs(found - wanted).max(initial=0) <= bound * np.abs(wanted).max())


def write_safetensors(path, arrays):
    """{name: array of float32} -> a file."""
    header, data = {}, b""
    for name, array in arrays.items():
        content = np.ascontiguousarray(array).tobytes()
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        data += content
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def checkpoint(roles, prefix=""):
    """The tensors of a checkpoint as the handwritten package reads it: gate and up in one tensor [E, in, 2 * out], in
    alternating columns, and down as a tensor for each expert."""
    gate_up = np.empty((E, H, 2 * INNER), "float32")
    gate_up[:, :, 0::2] = roles["experts.gate"].transpose(0, 2, 1)
    gate_up[:, :, 1::2] = roles["experts.up"].transpose(0, 2, 1)
    down = {f"{prefix}experts.{e}.down": part for e, part in enumerate(roles["experts.down"])}
    return {f"{prefix}router.weight": roles["router.weight"], f"{prefix}experts.gate_up": gate_up, **down}
