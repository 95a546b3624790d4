# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Weights: every form that pack, load and map take, files of them, and what is refused."""

import os
import pathlib
import tempfile
import unittest

import tiny
from tiny import E, H, INNER, moec, np


class WeightCase(unittest.TestCase):
    def setUp(self):
        self.layer = moec.load(tiny.package(), threads=1)
        self.roles = tiny.tensors()
        self.x = tiny.x_of(6)
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return pathlib.Path(self.folder.name) / name

    def check(self, w, roles=None):
        self.assertTrue(tiny.near(self.layer(self.x, w), tiny.expected(self.x, roles or self.roles)))

    def refused(self, status, pattern, function, *arguments, **named):
        with self.assertRaisesRegex(moec.MoecError, pattern) as caught:
            function(*arguments, **named)
        self.assertEqual(caught.exception.status, status)


class Pack(WeightCase):
    def test_arrays(self):
        w = self.layer.pack(self.roles)
        self.check(w)
        self.assertEqual(w.nbytes, self.layer.weights_nbytes)
        self.assertEqual(repr(w), f"<moec.Weights of tiny, {w.nbytes} bytes>")

    def test_experts_one_by_one(self):
        roles = dict(self.roles)
        gate, up = roles.pop("experts.gate"), roles.pop("experts.up")
        listed = {"experts.gate": list(gate), "experts.up": tuple(up)}
        self.check(self.layer.pack({**roles, **listed}))
        named = {f"experts.{role}.{e}": part[e] for role, part in (("gate", gate), ("up", up)) for e in range(E)}
        self.check(self.layer.pack({**named, **roles}))

    def test_arrays_with_gaps_are_copied(self):
        stored = np.ascontiguousarray(self.roles["experts.down"].transpose(0, 2, 1))  # [E, in, out]
        wide = np.zeros((E, INNER, 2 * H), "float32")
        wide[:, :, ::2] = self.roles["experts.up"]
        roles = {**self.roles, "experts.down": stored.transpose(0, 2, 1), "experts.up": wide[:, :, ::2]}
        self.check(self.layer.pack(roles))

    def test_short_floats(self):
        half = {role: array.astype("float16") for role, array in self.roles.items()}
        self.check(self.layer.pack(half), half)
        bits = {role: (array.view("uint32") >> 16).astype("uint16") for role, array in self.roles.items()}
        values = {role: (array.astype("uint32") << 16).view("float32") for role, array in bits.items()}
        self.check(self.layer.pack(bits, dtype="bfloat16"), values)

    def test_refusals(self):
        pack, roles = self.layer.pack, self.roles
        self.refused("MOEC_MISSING_WEIGHT", "experts.up", pack, {r: roles[r] for r in roles if r != "experts.up"})
        self.refused("MOEC_INVALID_ARGUMENT", "experts.gat", pack, {**roles, "experts.gat": roles["experts.gate"]})
        self.refused("MOEC_SHAPE", "experts.down", pack, {**roles, "experts.down": roles["experts.gate"]})
        self.refused("MOEC_SHAPE", "experts.up has shape", pack, {**roles, "experts.up": np.zeros((1,) * 5, "f")})
        self.refused("MOEC_DTYPE", "router.weight", pack, {**roles, "router.weight": np.zeros((E, H), "int32")})
        self.refused("MOEC_DTYPE", "is of complex64", pack, {**roles, "router.weight": np.zeros((E, H), "complex64")})
        self.refused("MOEC_DTYPE", 'dtype="bfloat16"', pack, {**roles, "router.weight": np.zeros((E, H), "uint16")})
        bits = {**roles, "router.weight": np.zeros((E, H), "uint16")}
        self.refused("MOEC_DTYPE", "stated to be of 'bf16'", pack, bits, dtype="bf16")
        for stated in ("float32", "int32", "int64", "uint8", np.float32, 7):  # not of 2 bytes
            self.refused("MOEC_DTYPE", "are stated to be of", pack, bits, dtype=stated)
            self.refused("MOEC_DTYPE", "are stated to be of", pack, roles, dtype=stated)
        for dtype in ("float64", "int64", "uint8", "int16", "bool"):
            other = {**roles, "router.weight": np.zeros((E, H), dtype)}
            text = f'router.weight is of {dtype}, expected float32.*; pass router.weight.astype\\("float32"\\)'
            self.refused("MOEC_DTYPE", text, pack, other)
        masked = {**roles, "router.weight": np.ma.masked_array(roles["router.weight"])}
        self.refused("MOEC_DTYPE", r"masked array.*; pass router.weight.filled\(0\)", pack, masked)
        self.refused("MOEC_DTYPE", "tensors is of type NoneType", pack, None)
        self.refused("MOEC_DTYPE", "tensors is of type list", pack, list(roles.values()))
        self.refused("MOEC_DTYPE", "a role is of type int, expected a str", pack, {**roles, 3: roles["router.weight"]})
        self.refused("MOEC_DTYPE", "router.weight is of type NoneType", pack, {**roles, "router.weight": None})
        self.refused("MOEC_DTYPE", "is of type float", pack, {**roles, "router.weight": 1.0})
        self.refused("MOEC_MISSING_WEIGHT", "experts.gate", pack, {**roles, "experts.gate": []})
        self.refused("MOEC_INVALID_ARGUMENT", "NUL", pack, {**roles, "router\0": roles["router.weight"]})
        self.refused("MOEC_MISSING_WEIGHT", "router.weight", pack, {})


class Load(WeightCase):
    def test_prefix_and_folder(self):
        file = self.path("model.safetensors")
        tiny.write_safetensors(file, tiny.checkpoint(self.roles, "model.layers.3."))
        self.check(self.layer.load(file, "model.layers.3."))
        self.check(self.layer.load(str(file), prefix="model.layers.3."))
        self.check(self.layer.load(self.folder.name, "model.layers.3."))

    def test_adapters(self):
        tiny.write_safetensors(self.path("base"), tiny.checkpoint(self.roles))
        changed = tiny.tensors(5)
        adapter = tiny.checkpoint(changed, "a.")
        tiny.write_safetensors(self.path("a"), {"a.experts.gate_up": adapter["a.experts.gate_up"]})
        tiny.write_safetensors(self.path("b"), {"router.weight": changed["router.weight"], "x": self.x})
        roles = {**self.roles, "experts.gate": changed["experts.gate"], "experts.up": changed["experts.up"]}
        self.check(self.layer.load(self.path("base"), adapters=[(self.path("a"), "a.")]), roles)
        both = [(self.path("a"), "a."), (str(self.path("b")), "")]
        self.check(
            self.layer.load(self.path("base"), adapters=both), {**roles, "router.weight": changed["router.weight"]}
        )

    def test_refusals(self):
        file = self.path("model.safetensors")
        tiny.write_safetensors(file, tiny.checkpoint(self.roles))
        self.refused("MOEC_FILE", "nowhere", self.layer.load, self.path("nowhere"))
        self.refused("MOEC_MISSING_WEIGHT", "p.router.weight", self.layer.load, file, "p.")
        file.write_bytes(file.read_bytes()[:-8])
        self.refused("MOEC_FILE_FORMAT", "model.safetensors", self.layer.load, file)
        self.refused("MOEC_INVALID_ARGUMENT", "path has a NUL", self.layer.load, "a\0b")
        self.refused("MOEC_DTYPE", "path is of type NoneType", self.layer.load, None)
        self.refused("MOEC_DTYPE", "prefix is of type NoneType, expected a str", self.layer.load, file, None)
        self.refused("MOEC_DTYPE", "adapters is 'a.b'", self.layer.load, file, adapters="a.b")
        self.refused("MOEC_DTYPE", r"expected a list of \(path, prefix\)", self.layer.load, file, adapters=["ab"])
        self.refused("MOEC_DTYPE", "path is of type int", self.layer.map, 3)
        many = [(file, "")] * 16
        self.refused("MOEC_INVALID_ARGUMENT", "17", self.layer.load, file, adapters=many)


class Files(WeightCase):
    def test_saved_and_mapped(self):
        file = self.path("tiny.moec")
        self.layer.pack(self.roles).save(file)
        self.assertEqual(os.listdir(self.folder.name), ["tiny.moec"])
        self.assertEqual(file.stat().st_mode & 0o777, 0o666 & ~self.umask())
        for verify in (False, True):
            self.check(self.layer.map(file, verify=verify))
        w = self.layer.map(str(file))
        file.unlink()
        self.check(w)
        w.save(file)
        self.check(self.layer.map(file, verify=True))

    @staticmethod
    def umask():
        found = os.umask(0)
        os.umask(found)
        return found

    def test_refusals(self):
        file = self.path("tiny.moec")
        w = self.layer.pack(self.roles)
        w.save(file)
        data = bytearray(file.read_bytes())
        data[5000] ^= 1
        file.write_bytes(data)
        self.layer.map(file)
        self.refused("MOEC_FILE_FORMAT", f"{file}: .*damaged", self.layer.map, file, verify=True)
        file.write_bytes(data[:4096])
        self.refused("MOEC_WORKSPACE_TOO_SMALL", "tiny.moec", self.layer.map, file)
        file.write_bytes(b"")
        self.refused("MOEC_WORKSPACE_TOO_SMALL", "tiny.moec", self.layer.map, file)
        file.write_bytes(bytes(len(data)))
        self.refused("MOEC_VERSION_MISMATCH", "tiny.moec", self.layer.map, file)
        self.refused("MOEC_FILE", "nowhere", self.layer.map, self.path("nowhere"))
        self.refused("MOEC_FILE", "cannot map", self.layer.map, self.folder.name)
        self.refused("MOEC_FILE", "cannot write", w.save, self.path("none/tiny.moec"))
        self.path("folder").mkdir()
        self.refused("MOEC_FILE", "cannot write", w.save, self.path("folder"))
        self.assertEqual(sorted(os.listdir(self.folder.name)), ["folder", "tiny.moec"])


class Balance(unittest.TestCase):
    def test_rules_between_steps(self):
        counts = np.array([3, 1, 2, 2], "int32")
        load = moec.load_of_counts(counts)
        self.assertEqual((load.total, load.dead_experts, load.max_share), (8, 0, 0.375))
        self.assertAlmostEqual(load.variation, np.std(counts) / np.mean(counts))
        self.assertAlmostEqual(load.entropy, -sum(f * np.log(f) for f in counts / 8))
        bias = np.zeros(4, "float32")
        moec.update_choice_bias(bias, counts, 0.25)
        self.assertEqual(bias.tolist(), [-0.25, 0.25, 0, 0])
        bias[:] = 2
        moec.update_choice_bias(bias, counts, 0.5, centre=True)
        self.assertEqual(bias.tolist(), [-0.5, 0.5, 0, 0])
        self.assertAlmostEqual(moec.next_capacity_factor(np.array([1, 1], "int32"), 1.5), 1.4)

    def test_refusals(self):
        counts = np.array([3, 1], "int32")
        for pattern, function, arguments in (
            ("counts is of int64", moec.load_of_counts, [counts.astype("int64")]),
            ("rate is of type str", moec.update_choice_bias, [np.zeros(2, "f"), counts, "0.1"]),
            ("counts has shape", moec.load_of_counts, [counts.reshape(1, 2)]),
            ("count", moec.load_of_counts, [-counts]),
            ("bias has 3 elements and counts has 2", moec.update_choice_bias, [np.zeros(3, "f"), counts, 0.1]),
        ):
            with self.assertRaisesRegex(moec.MoecError, pattern):
                function(*arguments)
        frozen = np.zeros(2, "float32")
        frozen.flags.writeable = False
        with self.assertRaisesRegex(moec.MoecError, "bias is read only"):
            moec.update_choice_bias(frozen, counts, 0.1)


if __name__ == "__main__":
    unittest.main()
