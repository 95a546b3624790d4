# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""moec.testing.compare finds what is wrong with a function, and only that; moec.bench measures."""

import unittest

import tiny
from tiny import E, H, moec, np


def dense(x, tensors):
    return tiny.expected(x, tensors)


class Compare(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.layer = moec.load(moec.compile(tiny.SPEC), threads=1)

    def fails(self, pattern, function, layer=None, **options):
        with self.assertRaisesRegex(AssertionError, pattern):
            moec.testing.compare(layer or self.layer, function, **options)

    def test_the_same_function(self):
        result = moec.testing.compare(self.layer, dense)
        self.assertEqual([row.tokens for row in result.rows], [1, 7, 64])
        self.assertLess(result.error, 2e-6)
        self.assertAlmostEqual(result.bound, 8 * (2**-24 + 8**0.5 * 2**-24))
        self.assertRegex(str(result), r"^error .* of at most 1.8e-06 \(T 1: ")

    def test_given_weights(self):
        roles = tiny.tensors(9)
        moec.testing.compare(self.layer, dense, weights=roles)
        w = self.layer.pack(roles)
        moec.testing.compare(self.layer, lambda x: tiny.expected(x, roles), weights=w, tokens=[5])
        self.fails("T 5: y", lambda x: tiny.expected(x, tiny.tensors(8)), weights=w, tokens=[5])

    def test_wrong_functions(self):
        wrong = {
            "scale": lambda x, tensors: 1.01 * dense(x, tensors),
            "one row": lambda x, tensors: dense(x, tensors) * np.where(np.arange(len(x)) == 3, 1.001, 1)[:, None],
            "one value": lambda x, tensors: dense(x, tensors) + (np.arange(x.size).reshape(x.shape) == 11) * 1e-3,
            "experts": lambda x, tensors: dense(x, {**tensors, "experts.up": tensors["experts.up"][::-1]}),
            "NaN": lambda x, tensors: np.where(np.arange(H) == 2, np.nan, dense(x, tensors)),
        }
        for name, function in wrong.items():
            with self.subTest(name):
                self.fails(r"T 7: y\[\d+, \d+\] is ", function, tokens=[7])
        self.fails(r"returned shape \(7, 7\), expected \(7, 8\)", lambda x, t: dense(x, t)[:, 1:], tokens=[7])

    def test_bounds(self):
        self.fails("at most 1e-12", dense, bound=1e-12)
        moec.testing.compare(self.layer, lambda x, t: 1.01 * dense(x, t), bound=0.02)

    def test_ties_are_left_out(self):
        """Two experts with equal logits: which one is chosen says nothing about the function."""
        roles = tiny.tensors()
        roles["router.weight"] = np.tile(roles["router.weight"][:1], (E, 1))
        roles = tiny.tensors()
        roles["router.weight"][2] = np.nextafter(roles["router.weight"][1], np.float32(9))
        result = moec.testing.compare(self.layer, dense, weights=roles, tokens=[200])
        self.assertGreater(result.rows[0].ties, 0)
        self.assertLess(result.rows[0].ties, 200)

    def test_values_that_a_layer_does_not_write(self):
        class Lazy:
            """The layer, without the last row."""

            def __init__(self, layer):
                self.layer = layer

            def __getattr__(self, name):
                return getattr(self.layer, name)

            def __call__(self, x, w, out=None, **options):
                if out is None:
                    return self.layer(x, w, **options)
                self.layer(x[:-1], w, out=out[:-1], **options)
                return out

        self.fails(r"T 7: y\[6, 0\] is nan, or was not written", dense, layer=Lazy(self.layer), tokens=[7])

    def test_functions_that_are_not_numbers(self):
        for name, value in (("nan", np.nan), ("inf", np.inf)):
            self.fails(
                rf"T 7: y\[0, 0\] is .*, the function has {name}", lambda x, t: np.full_like(x, value), tokens=[7]
            )
        with self.assertRaisesRegex(moec.MoecError, r"tokens is \[\], expected numbers of tokens"):
            moec.testing.compare(self.layer, dense, tokens=[])

        def both(x, w, out=None, **options):
            y = self.layer(x, w, out=out, **options)
            if out is not None:
                out[...] = np.nan
            return y

        class Broken:
            def __getattr__(self, name):
                return getattr(Compare.layer, name)

            __call__ = staticmethod(both)

        everywhere = lambda x, t: np.full_like(x, np.nan)  # noqa: E731
        self.fails("is nan, or was not written; the function has nan", everywhere, layer=Broken(), tokens=[7])

    def test_numbers_of_other_libraries(self):
        """A choice of so many experts: an int of Python or of NumPy, which fits the runtime's."""
        spec = {**tiny.SPEC, "name": "less", "inputs": {"top_k": True}}
        layer = moec.load(moec.compile(spec), threads=1)
        self.assertEqual(layer.inputs, ("top_k",))
        w, x = layer.pack(tiny.tensors()), tiny.x_of(5)
        np.testing.assert_array_equal(layer(x, w, top_k=np.int64(1)), layer(x, w, top_k=1))
        for value, pattern in ((10**12, "top_k is 1000000000000, expected 0 to"), (True, "top_k is of type bool")):
            with self.assertRaisesRegex(moec.MoecError, pattern):
                layer(x, w, top_k=value)

    def test_inputs(self):
        router = {**tiny.SPEC["router"], "noise": {"kind": "normal", "std": 0.5, "when": "always"}}
        layer = moec.load(moec.compile({**tiny.SPEC, "name": "noisy", "router": router}), threads=1)
        self.assertEqual(layer.inputs, ("noise",))

        def noisy(x, tensors, noise):
            return tiny.expected(x, tensors, 0.5 * noise)

        moec.testing.compare(layer, noisy)
        moec.testing.compare(layer, noisy, inputs=lambda tokens: {"noise": np.ones((tokens, E), "float32")})
        self.fails("T 7", lambda x, tensors, noise: noisy(x, tensors, -noise), layer=layer, tokens=[7])

    def test_tables(self):
        """Experts of a token id, without a router's weight."""
        router = {"kind": "table", "vocab": 10, "weight_mode": "one", "select": {"k": 1}}
        layer = moec.load(moec.compile({**tiny.SPEC, "name": "hashed", "router": router}), threads=1)
        self.assertEqual(layer.inputs, ("token_ids",))

        def hashed(x, tensors, token_ids):
            chosen = tensors["router.table"][token_ids].ravel()
            gate, up, down = (tensors["experts." + role] for role in ("gate", "up", "down"))
            inner = np.einsum("tih,th->ti", gate[chosen], x)
            return np.einsum(
                "thi,ti->th", down[chosen], inner / (1 + np.exp(-inner)) * np.einsum("tih,th->ti", up[chosen], x)
            )

        moec.testing.compare(layer, hashed)
        self.fails("T 64", lambda x, tensors, token_ids: hashed(x, tensors, token_ids[::-1]), layer=layer, tokens=[64])

    def test_numbers_that_the_layer_has_exactly(self):
        from moec import _inputs

        layer = moec.load(moec.compile({**tiny.SPEC, "name": "short", "dtype": "bf16"}), threads=1)
        maker = _inputs.Maker(layer, "numpy", 0)
        values = maker.normal(100, H)
        rounded = maker.rounded(values)
        self.assertEqual(int((rounded.view("uint32") & 0xFFFF).max()), 0)
        self.assertLessEqual(np.abs(rounded / values - 1).max(), 2**-8)
        self.assertLess(abs((rounded / values - 1).mean()), 2**-11)

    def test_bfloat16(self):
        layer = moec.load(moec.compile({**tiny.SPEC, "name": "short", "dtype": "bf16"}), threads=1)
        try:
            import ml_dtypes  # noqa: F401
        except ImportError:
            with self.assertRaisesRegex(moec.MoecError, "install ml_dtypes"):
                moec.testing.compare(layer, dense)
            return
        result = moec.testing.compare(layer, dense)
        self.assertAlmostEqual(result.bound, 8 * (2**-8 + 8**0.5 * 2**-24))
        self.fails("T 64", lambda x, t: 1.1 * dense(x, t), layer=layer, tokens=[64])


class Bench(unittest.TestCase):
    def test_times(self):
        layer = moec.load(tiny.package(), threads=1)
        roles, calls = tiny.tensors(), []

        def slow(x):
            calls.append(len(x))
            return tiny.expected(x, roles)

        w = layer.pack(roles)
        timings = moec.bench(layer, w, tokens=(1, 64), against={"numpy": slow}, seconds=0.05)
        self.assertEqual(
            [(t.name, t.tokens) for t in timings], [("moec", 1), ("numpy", 1), ("moec", 64), ("numpy", 64)]
        )
        for t in timings:
            self.assertTrue(0 < t.low <= t.median <= t.high, t)
            self.assertGreaterEqual(t.rounds, 3)
        self.assertGreater(timings[3].median, 10 * timings[2].median)
        self.assertEqual(set(calls), {1, 64})
        self.assertRegex(str(timings[0]), r"^moec +T +1 +[\d.]+ us  \([\d.]+ \.\. [\d.]+, \d+ rounds\)$")

    def test_refusals(self):
        layer = moec.load(tiny.package(), threads=1)
        w = layer.pack(tiny.tensors())
        for options, pattern in (
            ({"tokens": ()}, "tokens is"),
            ({"tokens": [0]}, "tokens is"),
            ({"arrays": "x"}, "arrays"),
        ):
            with self.assertRaisesRegex(moec.MoecError, pattern):
                moec.bench(layer, w, **options)


if __name__ == "__main__":
    unittest.main()
