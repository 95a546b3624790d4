# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The package's structs and names are those of moec.h; every public name is explained, and its examples run."""

import ctypes
import doctest
import importlib
import inspect
import os
import pkgutil
import subprocess
import time
import unittest

import tiny
from tiny import moec, np

from moec import _errors, _native, _plan

STRUCTS = {
    "moec_pool_options": _native.PoolOptions,
    "moec_layer_options": _native.LayerOptions,
    "moec_tensor": _native.Tensor,
    "moec_weights_source": _native.WeightsSource,
    "moec_load": _native.Load,
    "moec_forward_args": _native.ForwardArgs,
    "moec_backward_args": _native.BackwardArgs,
    "moec_layer_info": _native.LayerInfo,
    "moec_buffer": _plan._Buffer,
    "moec_plan_header": _plan._Header,
    "moec_role": _plan._Role,
    "moec_weight": _plan._Weight,
    "moec_package": _plan._Package,
}
OPTIONAL = ("moec.torch", "moec._arrays.torch_kind", "moec._arrays.jax_kind", "moec._arrays.cupy_kind")


class Header(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program = os.environ.get("MOEC_TEST_LAYOUTS", str(tiny.ROOT / "build" / "bin" / "python-layouts"))
        lines = subprocess.run([program], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout.splitlines()
        cls.lines = [line.split() for line in lines]

    def test_structs(self):
        fields = 0
        for name, value, *rest in self.lines:
            struct, _, field = name.partition(".")
            if rest or struct not in STRUCTS:
                continue
            found = getattr(STRUCTS[struct], field).offset if field else ctypes.sizeof(STRUCTS[struct])
            self.assertEqual(found, int(value), name)
            fields += 1
        self.assertGreater(fields, 120)

    def test_outputs_and_roles(self):
        for word, name, dtype, role in (line for line in self.lines if line[0] == "output"):
            self.assertEqual(_plan._ROLES[int(role)], name)
            from moec import _call

            self.assertEqual(name in _call._INT_OUTPUTS, dtype == "I32", name)
        for word, name, value in (line for line in self.lines if line[0] == "kind"):
            self.assertEqual(getattr(_plan, "_" + name.upper()), int(value))
        gradients = {int(value): name for word, name, value in (line for line in self.lines if line[0] == "gradient")}
        self.assertEqual(_plan._GRADIENTS, gradients)

    def test_numbers(self):
        for word, name, value in (line for line in self.lines if line[0] == "dtype"):
            self.assertEqual(_native.DTYPE_NUMBERS[name], int(value))

    def test_every_status_that_becomes_a_special_error_exists(self):
        names = {_native.status_name(int(value)) for word, value in (x for x in self.lines if x[0] == "status")}
        self.assertLessEqual(set(_errors._CLASSES), names)

    def test_version(self):
        self.assertEqual(moec.version(), moec.__version__)


class Documentation(unittest.TestCase):
    def test_every_public_name_is_explained(self):
        for name in moec.__all__:
            value = getattr(moec, name)
            if not isinstance(value, str):
                self.assertTrue(inspect.getdoc(value), name)
            for member, function in inspect.getmembers(value) if inspect.isclass(value) else ():
                public = not member.startswith("_") and getattr(function, "__module__", "").startswith("moec")
                self.assertTrue(not public or inspect.getdoc(function), f"{name}.{member}")

    @unittest.skipUnless("MOEC" in os.environ, "MOEC names no compiler")
    def test_examples(self):
        package = moec.compile(tiny.SPEC)
        layer = moec.load(package)
        tensors = tiny.tensors()
        names = {"moec": moec, "numpy": np, "spec": tiny.SPEC, "package": package, "layer": layer, "tensors": tensors}
        names.update(w=layer.pack(tensors), x=tiny.x_of(5), trained=moec.load(moec.compile(tiny.TRAINED)))
        tried = 0
        for module in pkgutil.walk_packages(moec.__path__, "moec."):
            if module.name.startswith(OPTIONAL) or module.name == "moec.libmoec":  # the wheel's runtime is no module
                continue
            result = doctest.testmod(importlib.import_module(module.name), extraglobs=names)
            self.assertEqual(result.failed, 0, module.name)
            tried += result.attempted
        self.assertGreater(tried, 15)


class Overhead(unittest.TestCase):
    def test_time_of_a_call_beside_its_kernels(self):
        layer = moec.load(tiny.package(), threads=1)
        w, x = layer.pack(tiny.tensors()), tiny.x_of(1)
        layer(x, w)
        call = layer._calls[-1]
        call.args.x, call.args.y = x.__array_interface__["data"][0], np.empty_like(x).__array_interface__["data"][0]

        def best(run):
            times = []
            for _ in range(20):
                start = time.perf_counter()
                for _ in range(500):
                    run()
                times.append((time.perf_counter() - start) / 500)
            return 1e6 * min(times)

        whole = best(lambda: layer(x, w))
        runtime = best(lambda: _native.forward(layer._box, w._box, call.pointer))
        print(f"a call with NumPy: {whole:.1f} us, of which moec_layer_forward through ctypes takes {runtime:.1f} us")
        self.assertLess(whole - runtime, 50)  # a guard against a slow path; a quiet machine shows 3


if __name__ == "__main__":
    unittest.main()
