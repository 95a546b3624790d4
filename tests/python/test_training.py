# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Layer.forward_saved and Layer.backward with NumPy: gradients beside differences, types, buffers, sentences."""

import gc
import tempfile
import unittest

import tiny
from tiny import E, H, K, moec, np

ROLES = ("router.weight", "experts.gate", "experts.up", "experts.down")


def tensors(seed=0):
    return {role: 0.3 * array for role, array in tiny.tensors(seed).items()}


def grad_y(tokens, seed=2):
    return np.random.default_rng(seed).standard_normal((tokens, H)).astype("float32")


class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.layer = moec.load(moec.compile(tiny.TRAINED), threads=2)

    def setUp(self):
        self.x, self.dy, self.tensors = tiny.x_of(9), grad_y(9), tensors()
        self.w = self.layer.pack(self.tensors)

    def refused(self, pattern, call, error=None):
        with self.assertRaisesRegex(error or moec.MoecError, pattern):
            call()

    def test_facts(self):
        self.assertTrue(self.layer.trains)
        self.assertEqual(self.layer.gradients, ("x", *ROLES))
        self.assertGreater(self.layer.saved_nbytes(9), 0)
        self.assertGreater(self.layer.backward_workspace_nbytes(9), 0)
        plain = moec.load(tiny.package())
        self.assertEqual((plain.trains, plain.gradients, plain.saved_nbytes(9)), (False, (), 0))
        w = plain.pack(self.tensors)
        self.refused('compile it with "passes"', lambda: plain.forward_saved(self.x, w))
        self.refused("no backward pass", lambda: plain.backward_workspace_nbytes(9))

    def test_the_saved_call_is_the_call(self):
        y, losses, saved = self.layer.forward_saved(self.x, self.w, want="losses")
        self.assertTrue((y == self.layer(self.x, self.w)).all())
        self.assertEqual((saved.tokens, saved.nbytes), (9, self.layer.saved_nbytes(9)))
        self.assertEqual(losses.shape, (2,))
        self.assertIn("9 tokens", repr(saved))

    def test_gradients(self):
        """Of sum(dy * y) + 0.3 load_balance - 0.2 z, along random directions in float64 around each tensor."""
        coefficients = [0.3, -0.2]

        def total(name, step):
            given = {**self.tensors, "x": self.x}
            given[name] = given[name] + step
            x = given.pop("x")
            ids, weights = tiny.route(x, given)
            logits = x.astype("float64") @ given["router.weight"].astype("float64").T
            p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            balance = E * (np.bincount(ids.ravel(), minlength=E) / len(x) * p.mean(axis=0)).sum()
            z = (np.log(np.exp(logits).sum(axis=1)) ** 2).mean()
            y = tiny.expected(x, given)
            return (self.dy * y).sum() + coefficients[0] * balance + coefficients[1] * z

        _, saved = self.layer.forward_saved(self.x, self.w)
        found = self.layer.backward(self.dy, saved, grad_losses=coefficients)
        self.assertEqual(tuple(found), self.layer.gradients)
        random = np.random.default_rng(5)
        for name, gradient in found.items():
            direction = random.standard_normal(gradient.shape)
            expected = (total(name, 1e-5 * direction) - total(name, -1e-5 * direction)) / 2e-5
            self.assertAlmostEqual((gradient * direction).sum(), expected, delta=2e-4 * max(abs(expected), 1), msg=name)

    def test_ten_lines_learn(self):
        rng, layer, tensors = np.random.default_rng(0), self.layer, self.tensors
        x, target, w, errors = tiny.x_of(64), 0.1 * grad_y(64), None, []
        for _ in range(60):
            w = layer.pack(tensors, reuse=w)
            y, saved = layer.forward_saved(x, w)
            for role, gradient in layer.backward((y - target) / 64, saved, want=ROLES).items():
                tensors[role] -= 0.5 * gradient
            errors.append(float(((y - target) ** 2).mean()))
        self.assertLess(errors[-1], 0.5 * errors[0])

    def test_buffers(self):
        _, saved = self.layer.forward_saved(self.x, self.w)
        all_of_them = self.layer.backward(self.dy, saved)
        out = {name: np.full(array.shape, 7, "float32") for name, array in all_of_them.items() if name != "x"}
        found = self.layer.backward(self.dy, saved, out=out)
        self.assertEqual(tuple(found), tuple(out))
        for name in out:
            self.assertIs(found[name], out[name])
            self.assertTrue((out[name] == all_of_them[name]).all(), name)
        self.layer.backward(self.dy, saved, out=out, accumulate=True)
        for name in out:
            self.assertTrue(np.allclose(out[name], 2 * all_of_them[name], rtol=1e-5, atol=1e-6), name)
        only = self.layer.backward(self.dy, saved, want="x")
        self.assertEqual(tuple(only), ("x",))
        self.assertTrue((only["x"] == all_of_them["x"]).all())

    def test_bits_do_not_depend_on_threads_or_repetition(self):
        _, saved = self.layer.forward_saved(self.x, self.w)
        first = self.layer.backward(self.dy, saved, grad_losses=[1, 1])
        alone = moec.load(self.layer.package, threads=1)
        _, again = alone.forward_saved(self.x, self.w)
        for found in (self.layer.backward(self.dy, saved, grad_losses=[1, 1]),
                      alone.backward(self.dy, again, grad_losses=np.ones(2, "float32"))):
            for name in first:
                self.assertTrue((found[name] == first[name]).all(), name)

    def test_an_expert_without_tokens(self):
        x = self.x[:1]
        _, ids, saved = self.layer.forward_saved(x, self.w, want="ids")
        found = self.layer.backward(self.dy[:1], saved)
        for expert in set(range(E)) - set(ids[0]):
            for role in ROLES[1:]:
                self.assertTrue((found[role][expert] == 0).all())
        self.assertEqual(len(set(ids[0])), K)

    def test_no_tokens(self):
        _, saved = self.layer.forward_saved(self.x[:0], self.w)
        found = self.layer.backward(self.dy[:0], saved)
        self.assertEqual(found["x"].shape, (0, H))
        self.assertTrue(all((found[role] == 0).all() for role in ROLES))

    def test_saved_memory_goes_back(self):
        layer = moec.load(self.layer.package)
        _, first = layer.forward_saved(self.x, self.w)
        address = first.memory.address
        _, second = layer.forward_saved(self.x, self.w)
        self.assertNotEqual(second.memory.address, address)
        del first
        gc.collect()
        _, third = layer.forward_saved(self.x, self.w)
        self.assertEqual(third.memory.address, address)
        layer.trim()
        self.assertTrue((layer.backward(self.dy, third)["x"] == layer.backward(self.dy, second)["x"]).all())

    def test_sequences(self):
        x = self.x[:8].reshape(2, 4, H)
        _, saved = self.layer.forward_saved(x, self.w)
        found = self.layer.backward(self.dy[:8].reshape(2, 4, H), saved)
        _, flat = self.layer.forward_saved(self.x[:8], self.w)
        self.assertEqual(found["x"].shape, x.shape)
        self.assertTrue((found["x"].reshape(8, H) == self.layer.backward(self.dy[:8], flat)["x"]).all())

    def test_bfloat16(self):
        layer = moec.load(moec.compile({**tiny.TRAINED, "dtype": "bf16"}))
        x = (self.x.view("uint32") >> 16).astype("uint16")
        dy = (self.dy.view("uint32") >> 16).astype("uint16")

        def wide(array):
            return (array.astype("uint32") << 16).view("float32") if array.dtype == np.uint16 else array

        rounded = {role: wide((t.view("uint32") >> 16).astype("uint16")) for role, t in self.tensors.items()}
        _, saved = layer.forward_saved(x, layer.pack(rounded), dtype="bfloat16")
        found = layer.backward(dy, saved)
        _, exact = self.layer.forward_saved(wide(x), self.layer.pack(rounded))
        expected = self.layer.backward(wide(dy), exact)
        self.assertEqual(found["x"].dtype, np.uint16)
        short = layer.backward(dy, saved, grad_dtype="bfloat16", want=ROLES)
        for name in expected:
            bound = 0.03 * np.abs(expected[name]).max()
            self.assertLess(np.abs(wide(found[name]) - expected[name]).max(), bound, name)
        for name in ROLES:
            self.assertEqual(short[name].dtype, np.uint16, name)
            self.assertLess(np.abs(wide(short[name]) - found[name]).max(), 2**-7 * np.abs(found[name]).max(), name)

    def test_frozen_roles_have_no_gradient(self):
        layer = moec.load(moec.compile({**tiny.TRAINED, "frozen": ["experts.down", "router.weight"]}))
        self.assertEqual(layer.gradients, ("x", "experts.gate", "experts.up"))
        _, saved = layer.forward_saved(self.x, layer.pack(self.tensors))
        self.refused("want has 'experts.down', .* has gradients of x, experts.gate, experts.up",
                     lambda: layer.backward(self.dy, saved, want="experts.down"))

    def test_sentences(self):
        layer, dy = self.layer, self.dy
        _, saved = layer.forward_saved(self.x, self.w)
        self.refused("saved is of type Weights, expected moec.Saved", lambda: layer.backward(dy, self.w))
        self.refused(r"grad_y has shape \(8, 8\), expected \(9, 8\)", lambda: layer.backward(dy[:8], saved))
        self.refused('grad_y is of float64, expected float32; pass grad_y.astype',
                     lambda: layer.backward(dy.astype("float64"), saved))
        self.refused("grad_losses is .*expected 2 numbers", lambda: layer.backward(dy, saved, grad_losses=[1.0]))
        self.refused(r"grad_losses has shape \(3,\), expected \(2,\)",
                     lambda: layer.backward(dy, saved, grad_losses=np.ones(3, "float32")))
        self.refused("want has 'y'", lambda: layer.backward(dy, saved, want="y"))
        self.refused("want is of type int", lambda: layer.backward(dy, saved, want=3))
        self.refused("out is of type list", lambda: layer.backward(dy, saved, out=[dy]))
        self.refused("out has 'experts.gate'",
                     lambda: moec.load(moec.compile({**tiny.TRAINED, "frozen": ["experts.gate"]})).backward(
                         dy, saved, want="x", out={"experts.gate": self.tensors["experts.gate"]}))
        self.refused(r"out for experts.up has shape \(4, 6\)",
                     lambda: layer.backward(dy, saved, out={"experts.up": np.zeros((4, 6), "float32")}))
        self.refused("accumulate adds to what arrays hold, but out has none for experts.up",
                     lambda: layer.backward(dy, saved, want=("x", "experts.up"), accumulate=True))
        self.refused("grad_dtype is 'bfloat16', expected float32",
                     lambda: layer.backward(dy, saved, grad_dtype="bfloat16"))
        self.refused("out for x .* is read only|x is read only",
                     lambda: layer.backward(dy, saved, out={"x": np.broadcast_to(np.float32(0), (9, H))}))
        old = layer.pack(self.tensors)
        layer.pack(self.tensors, reuse=old)
        self.refused("", lambda: layer(self.x, old))
        self.refused("reuse is of type Saved, expected moec.Weights", lambda: layer.pack(self.tensors, reuse=saved))

    def test_masks_of_slots(self):
        dropout = {"hidden_dropout": {"p": 0.5}, "output_dropout": {"p": 0.5}}
        for scope, count in (("sequence", 3), ("batch", 1)):
            layer = moec.load(moec.compile({
                "moec": 1, "name": "slots", "hidden": H, "passes": ["forward", "backward"],
                "router": {"kind": "soft", "slots": 2, "scope": scope},
                "experts": {"count": 2, "intermediate": 5, **dropout},
            }))
            shapes = {"hidden_mask": (count, 4, 5), "output_mask": (count, 4, H)}
            self.assertEqual({name: layer.input_shape(name, 9, 3) for name in layer.inputs}, shapes)
            w = layer.pack({r: np.ones(s, "float32") * 0.3 for r, s in layer.roles.items()})
            ones = {name: np.ones(shape, "float32") for name, shape in shapes.items()}
            x = self.x.reshape(3, 3, H)
            y, saved = layer.forward_saved(x, w, **ones)
            flat = {name: mask.reshape(-1, mask.shape[-1]) for name, mask in ones.items()}
            self.assertTrue((layer(self.x, w, tokens_per_sequence=3, **flat).reshape(y.shape) == y).all())
            self.assertTrue(layer.backward(self.dy.reshape(x.shape), saved)["experts.up"].any())
            ones["output_mask"][-1] = 0
            silent, saved = layer.forward_saved(x, w, **ones)
            self.assertTrue(not silent[2].any() and (silent[0] == y[0]).all() == (count == 3))
            self.assertFalse(layer.backward(self.dy.reshape(x.shape), saved)["x"][2].any())
            self.refused(r"hidden_mask has shape \(5, 5\), expected \(%d, 4, 5\)" % count,
                         lambda: layer(x, w, hidden_mask=np.ones((5, 5), "float32"), output_mask=ones["output_mask"]))

    def test_only_own_memory_is_used_again(self):
        layer, other = self.layer, moec.load(tiny.package())
        old = layer.pack(self.tensors)
        new = layer.pack(self.tensors, reuse=old)
        expected = layer(self.x, new)
        with tempfile.TemporaryDirectory() as folder:
            new.save(folder + "/weights")
            mapped = layer.map(folder + "/weights")
            for wrong in (old, mapped, other.pack(self.tensors)):
                self.refused("expected weights that this layer packed or loaded, and that were not given up",
                             lambda: layer.pack(self.tensors, reuse=wrong))
            self.assertTrue((layer(self.x, mapped) == expected).all())
        self.assertTrue((layer(self.x, new) == expected).all())


if __name__ == "__main__":
    unittest.main()
