# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Golden cases of published models and of formulas, compiled, loaded and called from Python."""

import json
import struct
import unittest

import tiny
from tiny import moec, np

GOLDEN = tiny.ROOT / "tests" / "golden"
TYPES = {"F32": "float32", "BF16": "uint16", "F16": "float16", "I32": "int32", "I64": "int64", "F64": "float64"}


def read_safetensors(path):
    """{name: (array, type)}; bfloat16 as uint16."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    result = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            array = np.frombuffer(data[8 + size + start : 8 + size + end], TYPES[entry["dtype"]])
            result[name] = (array.reshape(entry["shape"]).copy(), entry["dtype"])
    return result


def wide(array, dtype):
    if dtype == "BF16":
        return (array.astype("uint32") << 16).view("float32").astype("float64")
    return array.astype("float64")


class Golden(unittest.TestCase):
    def check(self, name):
        case = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
        file = GOLDEN / f"{name}.safetensors"
        stored = read_safetensors(file)
        spec = {"dtype": case["dtype"], **case["spec"]}
        if "noise" in spec["router"]:
            spec["router"]["noise"]["when"] = "always"  # the case was made in training
        layer = moec.load(moec.compile(spec))
        w = layer.load(file, "w.")
        stated = "bfloat16" if layer.x_dtype == "bfloat16" else None
        for batch in case["batches"]:
            prefix = f"b{batch['index']}."
            x, x_type = stored[prefix + "x"]
            if stated and x_type == "F32":
                x = (x.view("uint32") >> 16).astype("uint16")
            inputs = {}
            for wanted in layer.inputs:
                value, _ = stored[prefix + wanted]
                value = value if value.dtype.kind == "f" else value.astype("int32")
                inputs[wanted] = value.reshape(x.shape[:-1] + value.shape[1:]) if value.ndim < x.ndim else value
            want = "ids" if "ids" in layer.outputs else ()
            result = layer(x, w, want=want, dtype=stated, **inputs)
            y = result[0] if want else result
            found, wanted = wide(y, "BF16" if stated else "F32"), wide(*stored[prefix + "y"])
            self.assertLessEqual(np.abs(found - wanted).max(), case["tolerance"]["y_rel"] * np.abs(wanted).max(), name)
            if want and prefix + "ids" in stored:
                ids = result[1].reshape(stored[prefix + "ids"][0].shape)
                self.assertGreater((np.sort(ids, 1) == np.sort(stored[prefix + "ids"][0], 1)).mean(), 0.95, name)
        return layer

    def test_models(self):
        self.check("mixtral-f32")
        self.check("deepseek_v2-bf16")

    def test_inputs(self):
        self.assertEqual(self.check("noisy_fixed").inputs, ("noise",))
        self.assertEqual(self.check("token_groups_own").inputs, ("group_ids",))

    def test_sequences(self):
        """Tokens of a sequence compete: a layer that took x [B,S,H] for one sequence would choose others."""
        self.check("soft_moe")
        self.check("mixture_of_depths")


if __name__ == "__main__":
    unittest.main()
