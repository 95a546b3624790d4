# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""CUDA layers on a driver without a GPU: its memory is memory of the host that the driver was told of."""

import contextlib
import ctypes
import pathlib
import tempfile
import unittest
import weakref

import tiny
from tiny import E, H, K, moec, np

from moec import _arrays
from moec._arrays.kind import wrong_device
from moec._arrays.numpy_kind import NumpyKind


class DeviceArray(np.ndarray):
    """An array on cuda:0."""


class Stream:
    address = 0x5000


class DeviceKind(NumpyKind):
    """What torch and CuPy know of their arrays, for DeviceArray."""

    def __init__(self, library):
        super().__init__()
        self.library = library
        self.current, self.made = 0x1000, 0

    def device(self, array):
        return ("cuda", 0)

    def address(self, array, name, dtype, device, stated):
        if device != ("cuda", 0):
            raise wrong_device(name, ("cuda", 0), device)
        return super().address(array, name, dtype, _arrays.CPU, stated)

    def empty(self, shape, dtype, like, stated):
        return self.new(shape, self.types[dtype])

    def new(self, shape, dtype):
        """An array whose bytes the driver takes for its own as long as it lives."""
        size = int(np.prod(shape)) * dtype.itemsize
        memory = np.full(size + 256, 0x5A, "uint8")
        start = -self.made_at(memory) % 256
        address = ctypes.c_void_p(self.made_at(memory) + start)
        self.library.fake_register(address, ctypes.c_size_t(max(size, 1)))
        weakref.finalize(memory, self.library.fake_forget, address)
        return memory[start : start + size].view(dtype).reshape(shape).view(DeviceArray)

    @contextlib.contextmanager
    def on_stream(self, stream, device):
        before, self.current = self.current, self.current if stream is None else stream.address
        try:
            yield self.current
        finally:
            self.current = before

    def device_bytes(self, nbytes, device):
        self.made += 1
        memory = self.new((nbytes,), self.types["uint8"])
        return memory, self.made_at(memory)

    def to_device(self, memory, data):
        memory[:] = np.frombuffer(data, "uint8")

    def to_host(self, memory):
        return memory.tobytes()

    def array(self, values):
        result = self.empty(values.shape, str(values.dtype), None, None)
        result[...] = values
        return result


class Device(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.library = ctypes.CDLL(tiny.package(cuda=True))
        cls.library.fake_driver.restype = cls.library.fake_last_stream.restype = ctypes.c_void_p
        cls.kind = DeviceKind(cls.library)
        _arrays.register(DeviceArray, cls.kind)
        find = _arrays._find
        before = dict(find._made)
        find._made["torch"] = cls.kind  # the library that is asked for memory where no array says which
        cls.addClassCleanup(lambda: (find._made.clear(), find._made.update(before)))
        cls.layer = cls.load()
        cls.roles = tiny.tensors()
        cls.w = cls.layer.pack(cls.roles)

    @classmethod
    def load(cls, **options):
        driver = cls.library.fake_driver()
        return moec.load(tiny.package(cuda=True), device="cuda", cuda_driver=driver, memory="torch", **options)

    def test_facts(self):
        self.assertEqual((self.layer.device, self.layer.isa, self.layer.x_dtype), ("cuda:0", "sm_90a", "float32"))

    def test_values(self):
        for tokens in (1, 7, 40):
            values = tiny.x_of(tokens)
            x = self.kind.array(values)
            y, ids, counts = self.layer(x, self.w, want=("ids", "counts"))
            self.assertIs(type(y), DeviceArray)
            self.assertTrue(tiny.near(y, tiny.expected(values, self.roles)))
            np.testing.assert_array_equal(ids, tiny.route(values, self.roles)[0])
            self.assertEqual((counts.shape, int(counts.sum())), ((E,), K * tokens))
            self.assertTrue(tiny.near(self.layer(x, self.w), tiny.expected(values, self.roles)))

    def test_streams(self):
        x = self.kind.array(tiny.x_of(3))
        self.layer(x, self.w)
        self.assertEqual(self.library.fake_last_stream(), 0x1000)  # the library's current one
        self.layer(x, self.w, stream=Stream)
        self.assertEqual(self.library.fake_last_stream(), 0x5000)

    def test_every_call_has_a_workspace_of_its_own(self):
        """Calls of several streams may run at the same time."""
        x, before = self.kind.array(tiny.x_of(3)), self.kind.made
        for _ in range(3):
            self.layer(x, self.w)
        self.assertEqual(self.kind.made, before + 3)
        self.assertEqual(len(self.layer._calls), 0)

    def test_weights_from_both_memories(self):
        x = self.kind.array(tiny.x_of(3))
        y = self.layer(x, self.w)
        roles = {**self.roles, "experts.up": self.kind.array(self.roles["experts.up"])}
        np.testing.assert_array_equal(self.layer(x, self.layer.pack(roles)), y)

    def test_files(self):
        x = self.kind.array(tiny.x_of(3))
        y = self.layer(x, self.w)
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "tiny.moec"
            self.w.save(file)
            np.testing.assert_array_equal(self.layer(x, self.layer.map(file)), y)
            source = pathlib.Path(folder) / "model.safetensors"
            tiny.write_safetensors(source, tiny.checkpoint(self.roles))
            np.testing.assert_array_equal(self.layer(x, self.layer.load(source)), y)

    def test_refusals(self):
        x = self.kind.array(tiny.x_of(3))
        host = moec.load(tiny.package(cuda=True), threads=1)
        for pattern, run in (
            ("x is on the CPU, the layer runs on cuda:0", lambda: self.layer(tiny.x_of(3), self.w)),
            ("x is on cuda:0, the layer runs on the CPU", lambda: host(x, host.pack(self.roles))),
            ("out is on the CPU", lambda: self.layer(x, self.w, out=np.empty((3, H), "float32"))),
            ("weights are not packed for", lambda: self.layer(x, host.pack(self.roles))),
        ):
            with self.assertRaisesRegex(moec.MoecError, pattern):
                run()

    def test_no_driver(self):
        try:
            ctypes.CDLL("libcuda.so.1")
        except OSError:
            pass
        else:
            self.skipTest("this machine has a driver")
        with self.assertRaises(moec.MoecError) as caught:
            moec.load(tiny.package(cuda=True), device="cuda")
        self.assertEqual(caught.exception.status, "MOEC_UNSUPPORTED_DEVICE")


if __name__ == "__main__":
    unittest.main()
