# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls with arrays of NumPy: results, forms of arguments, and the sentences for arguments that do not fit."""

import unittest

import tiny
from tiny import E, H, K, moec, np


class Results(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.roles = tiny.tensors()
        cls.layer = moec.load(tiny.package(), threads=1)
        cls.w = cls.layer.pack(cls.roles)

    def test_values(self):
        for tokens in (1, 2, 7, 64):
            x = tiny.x_of(tokens)
            self.assertTrue(tiny.near(self.layer(x, self.w), tiny.expected(x, self.roles)), tokens)

    def test_facts(self):
        layer = self.layer
        facts = (layer.name, layer.hidden, layer.num_experts, layer.top_k, layer.x_dtype, layer.y_dtype, layer.device)
        self.assertEqual(facts, ("tiny", H, E, K, "float32", "float32", "cpu"))
        self.assertEqual(layer.roles, {role: array.shape for role, array in self.roles.items()})
        self.assertEqual(layer.outputs, ("logits", "ids", "weights", "counts"))
        self.assertEqual((layer.inputs, layer.threads, layer.determinism, layer.manifest), ((), 1, "batch", {}))
        self.assertIn("tiny: 4 experts, top-2, H 8, float32", repr(layer))
        self.assertGreater(layer.workspace_nbytes(64), layer.workspace_nbytes(1))

    def test_outputs_in_the_order_of_want(self):
        x = tiny.x_of(9)
        y, counts, ids, weights = self.layer(x, self.w, want=("counts", "ids", "weights"))
        wanted_ids, wanted_weights = tiny.route(x, self.roles)
        np.testing.assert_array_equal(ids, wanted_ids)
        np.testing.assert_allclose(weights, wanted_weights, rtol=1e-5)
        np.testing.assert_array_equal(counts, np.bincount(ids.ravel(), minlength=E))
        self.assertEqual((ids.dtype, weights.dtype, counts.dtype), ("int32", "float32", "int32"))
        np.testing.assert_array_equal(y, self.layer(x, self.w))
        y, ids = self.layer(x, self.w, want="ids")
        np.testing.assert_array_equal(ids, wanted_ids)

    def test_axes_of_x_are_those_of_y_and_of_outputs(self):
        x = tiny.x_of(6)
        flat = self.layer(x, self.w)
        y, ids, counts = self.layer(x.reshape(2, 3, H), self.w, want=("ids", "counts"))
        self.assertEqual((y.shape, ids.shape, counts.shape), ((2, 3, H), (2, 3, K), (E,)))
        np.testing.assert_array_equal(y.reshape(6, H), flat)
        self.assertEqual(self.layer(x[:5], self.w).shape, (5, H))  # not three tokens per sequence
        y, ids = self.layer(x[0], self.w, want="ids")
        self.assertEqual((y.shape, ids.shape), ((H,), (K,)))
        np.testing.assert_array_equal(y, flat[0])

    def test_no_tokens(self):
        y, ids, counts, logits = self.layer(np.empty((0, H), "float32"), self.w, want=("ids", "counts", "logits"))
        self.assertEqual((y.shape, ids.shape, counts.tolist(), logits.shape), ((0, H), (0, K), [0] * E, (0, E)))
        self.assertEqual(self.layer(np.empty((2, 0, H), "float32"), self.w).shape, (2, 0, H))

    def test_out(self):
        x = tiny.x_of(5)
        y, ids = np.full((5, H), np.nan, "float32"), np.full((5, K), -7, "int32")
        self.assertIs(self.layer(x, self.w, out=y), y)
        self.assertTrue(tiny.near(y, tiny.expected(x, self.roles)))
        y[:] = np.nan
        results = self.layer(x, self.w, want=("ids", "counts"), out=(y, ids, None))
        self.assertIs(results[0], y)
        self.assertIs(results[1], ids)
        np.testing.assert_array_equal(ids, tiny.route(x, self.roles)[0])
        self.assertEqual(results[2].sum(), 10)

    def test_no_tokens_fill_what_is_given(self):
        """As they fill what the call makes."""
        counts = np.full(E, 7, "int32")
        x = tiny.x_of(5)[:0]
        self.layer(x, self.w, want="counts", out=(None, counts))
        np.testing.assert_array_equal(counts, self.layer(x, self.w, want="counts")[1])
        self.assertEqual(counts.tolist(), [0] * E)

    def test_what_one_call_asked_for_the_next_one_does_not_write(self):
        x = tiny.x_of(5)
        ids = np.full((5, K), -7, "int32")
        self.layer(x, self.w, want="ids", out=(None, ids))
        ids[:] = -7
        self.layer(x, self.w)
        self.layer(x, self.w, want="counts")
        self.assertTrue((ids == -7).all())

    def test_smaller_and_larger_calls_share_the_workspace(self):
        for tokens in (300, 1, 64, 512, 3):
            x = tiny.x_of(tokens)
            self.assertTrue(tiny.near(self.layer(x, self.w), tiny.expected(x, self.roles)), tokens)
        self.layer.trim()
        self.assertTrue(tiny.near(self.layer(x, self.w), tiny.expected(x, self.roles)))

    def test_threads_do_not_change_bits(self):
        x = tiny.x_of(200)
        y = self.layer(x, self.w)
        pool = moec.Pool(threads=3, spin_us=0, wait=True)
        for layer in (moec.load(tiny.package(), threads=3), moec.load(tiny.package(), pool=pool)):
            np.testing.assert_array_equal(layer(x, layer.pack(self.roles)), y)
            np.testing.assert_array_equal(layer(x, self.w), y)  # layers of a package share weights
        default = moec.load(tiny.package())
        np.testing.assert_array_equal(default(x, default.pack(self.roles)), y)

    def test_numpy_views_of_other_libraries(self):
        class Viewed:
            def __init__(self, array):
                self.array, self.shape, self.dtype = array, array.shape, array.dtype
                self.__array_interface__ = array.__array_interface__

        x = tiny.x_of(3)
        y = self.layer(Viewed(x), self.w)
        self.assertIs(type(y), np.ndarray)
        np.testing.assert_array_equal(y, self.layer(x, self.w))


class Refusals(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.layer = moec.load(tiny.package(), threads=1)
        cls.w = cls.layer.pack(tiny.tensors())

    def refused(self, status, text, x, w=None, kind=moec.MoecValueError, **arguments):
        with self.assertRaises(kind) as caught:
            self.layer(x, self.w if w is None else w, **arguments)
        self.assertEqual((str(caught.exception), caught.exception.status), (text, status))
        good = tiny.x_of(4)
        self.assertTrue(tiny.near(self.layer(good, self.w), tiny.expected(good, tiny.tensors())))

    def test_type_of_x(self):
        x = tiny.x_of(2)
        wrong = moec.MoecTypeError
        self.refused(
            "MOEC_DTYPE", 'x is of float64, expected float32; pass x.astype("float32")', x.astype("float64"), kind=wrong
        )
        text = 'x is of >f4, expected float32; pass x.astype("float32")'
        self.refused("MOEC_DTYPE", text, x.astype(">f4"), kind=wrong)
        self.refused(
            "MOEC_DTYPE",
            "x is of bfloat16 (as stated), expected float32",
            x.astype("uint16"),
            kind=wrong,
            dtype="bfloat16",
        )
        expected = "expected an array of NumPy, torch, JAX or CuPy, or one with __dlpack__"
        self.refused("MOEC_DTYPE", f"x is of type list, {expected}", x.tolist(), kind=wrong)
        self.refused("MOEC_DTYPE", f"x is of type NoneType, {expected}", None, kind=wrong)

    def test_shape_of_x(self):
        self.refused("MOEC_SHAPE", "x has shape (2, 7), expected [T, 8]", np.zeros((2, 7), "float32"))
        self.refused("MOEC_SHAPE", "x has shape (), expected [T, 8]", np.zeros((), "float32"))

    def test_strides_of_x(self):
        hint = "a layer reads and writes rows without gaps; pass numpy.ascontiguousarray(x)"
        self.refused("MOEC_STRIDE", f"x has strides (64, 4) (bytes), {hint}", np.zeros((2, 16), "float32")[:, :8])
        self.refused("MOEC_STRIDE", f"x has strides (4, 32) (bytes), {hint}", np.zeros((8, 8), "float32").T)
        self.refused("MOEC_STRIDE", f"x has strides (-32, 4) (bytes), {hint}", tiny.x_of(4)[::-1])

    def test_alignment_of_x(self):
        memory = np.zeros(2 * H * 4 + 64, "uint8")
        start = -memory.__array_interface__["data"][0] % 64 + 4
        x = memory[start : start + 2 * H * 4].view("float32").reshape(2, H)
        self.refused("MOEC_ALIGNMENT", "x is not 16-byte aligned; a copy of it is", x)

    def test_number_of_tokens(self):
        text = "num_tokens is 513, expected 0 to 512"
        self.refused("MOEC_TOKENS_OUT_OF_RANGE", text, np.zeros((513, H), "float32"))
        text = "tokens_per_sequence is 2, expected 0 or a divisor of 3 tokens"
        self.refused("MOEC_INVALID_ARGUMENT", text, tiny.x_of(3), tokens_per_sequence=2)
        text = "tokens_per_sequence is -1, expected 0 to 2147483647"
        self.refused("MOEC_INVALID_ARGUMENT", text, tiny.x_of(3), tokens_per_sequence=-1)

    def test_out(self):
        x = tiny.x_of(3)
        self.refused("MOEC_SHAPE", "out has shape (2, 8), expected (3, 8)", x, out=np.zeros((2, H), "float32"))
        y = np.zeros((3, H), "float32")
        y.flags.writeable = False
        self.refused("MOEC_INVALID_ARGUMENT", "out is read only", x, out=y)
        self.refused("MOEC_OVERLAP", "x and y share bytes", x, out=x)
        strided = np.zeros((3, 2 * H), "float32")[:, ::2]
        text = (
            "out has strides (64, 8) (bytes), a layer reads and writes rows without gaps; pass "
            "numpy.ascontiguousarray(out)"
        )
        self.refused("MOEC_STRIDE", text, x, out=strided)
        text = "out is a ndarray, expected a sequence of 2: y and the outputs of want, None for those to be made"
        self.refused("MOEC_SHAPE", text, x, out=np.zeros((3, H), "float32"), want="ids")
        ids = np.zeros((3, K), "int64")
        text = 'out for ids is of int64, expected int32; pass out for ids.astype("int32")'
        self.refused("MOEC_DTYPE", text, x, out=(None, ids), want="ids", kind=moec.MoecTypeError)

    def test_want(self):
        x = tiny.x_of(3)
        can = "tiny can return logits, ids, weights, counts"
        self.refused("MOEC_INVALID_ARGUMENT", f"want has 'id', {can}", x, want="id")
        text = f"want has 'diversity', {can}; moec.compile(..., reports=...) adds reports"
        self.refused("MOEC_INVALID_ARGUMENT", text, x, want=("ids", "diversity"))
        self.refused("MOEC_INVALID_ARGUMENT", "want names an output twice: ids, ids", x, want=("ids", "ids"))
        text = "want is of type int, expected a name or a tuple of names"
        self.refused("MOEC_DTYPE", text, x, want=3, kind=moec.MoecTypeError)

    def test_stated_types(self):
        """float32 of uint16 would be read beyond the end; the argument is checked for every x."""
        for dtype in ("float32", "int32", "bf16", 3):
            text = f'arrays of uint16 are stated to be of {dtype!r}, expected dtype="bfloat16" or dtype="float16"'
            for x in (np.zeros((3, H), "uint16"), tiny.x_of(3)):
                self.refused("MOEC_DTYPE", text, x, dtype=dtype, kind=moec.MoecTypeError)

    def test_masked_arrays(self):
        text = "x is a masked array, and a layer would not see its mask; pass x.filled(0)"
        self.refused("MOEC_DTYPE", text, np.ma.masked_array(tiny.x_of(3)), kind=moec.MoecTypeError)

    def test_inputs_and_streams(self):
        x = tiny.x_of(3)
        text = "noise is not an input of tiny, which takes no inputs besides x"
        self.refused("MOEC_INVALID_ARGUMENT", text, x, noise=np.zeros((3, E), "float32"))
        self.refused("MOEC_INVALID_ARGUMENT", "stream is given, but the layer runs on the CPU", x, stream=1)

    def test_weights(self):
        x = tiny.x_of(3)
        text = "w is of type dict, expected moec.Weights: what layer.load or layer.pack returned"
        self.refused("MOEC_DTYPE", text, x, w=tiny.tensors(), kind=moec.MoecTypeError)
        other = moec.load(tiny.package(cuda=True), threads=1)
        self.refused("MOEC_INVALID_ARGUMENT", "weights belong to another package", x, w=other.pack(tiny.tensors()))

    def test_options(self):
        def refused(text, **options):
            with self.assertRaises(moec.MoecError) as caught:
                moec.load(tiny.package(), **options)
            self.assertEqual(str(caught.exception), text)

        refused("threads is 0, expected at least 1, or None for all CPUs", threads=0)
        refused("threads is -1, expected 0 to 2147483647", threads=-1)
        refused("threads is of type str, expected an int", threads="2")
        refused("max_isa is of type list, expected a str", max_isa=[])
        refused('memory is 3, expected "torch" or "cupy"', memory=3)
        refused("cuda_driver is of type str, expected an address, an int", device="cuda", cuda_driver="x")
        refused("pool is of type int, expected moec.Pool", pool=2)
        isas = "baseline, avx2, avx512, avx512_bf16, amx"
        refused(f"max_isa is 'sse', expected one of {isas}", max_isa="sse")
        refused('device is \'gpu\', expected "cpu", "cuda" or "cuda:N"', device="gpu")
        refused('device is \'cuda:\', expected "cpu", "cuda" or "cuda:N"', device="cuda:")
        with self.assertRaisesRegex(moec.MoecError, "max_threads"):
            moec.load(tiny.package(), threads=2, pool=moec.Pool(threads=3))
        self.assertEqual(moec.load(tiny.package(), max_isa="baseline").isa, "baseline")


if __name__ == "__main__":
    unittest.main()
