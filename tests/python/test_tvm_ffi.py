# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Shared packages in torch and JAX through tvm-ffi, and in CuPy where there is a GPU.

Needs moec in MOEC or build/bin; each test compiles what it needs once. Results are compared with float64 PyTorch."""
import ctypes
import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

torch = pytest.importorskip("torch")
tvm_ffi = pytest.importorskip("tvm_ffi")
SOURCES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MOEC = os.environ.get("MOEC", os.path.join(SOURCES, "build", "bin", "moec"))
HIDDEN, EXPERTS, CHOICES, INNER = 64, 8, 2, 32


def compile_layer(folder, name, dtype="bf16", **layer):
    spec = folder / f"{name}.json"
    spec.write_text(json.dumps({"moec": 1, "name": name, "hidden": HIDDEN, "dtype": dtype,
                                "router": {"top_k": CHOICES}, "experts": {"count": EXPERTS, "intermediate": INNER},
                                **layer}))
    subprocess.run([MOEC, "compile", str(spec), "-q", "--emit", "shared", "-o", str(folder / name)], check=True)
    return str(folder / name / "lib" / f"lib{name}.so")


def random_tensors(layer, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {role["name"]: (torch.randn(role["shape"], generator=generator) * 0.3).to(dtype)
            for role in json.loads(layer.info())["roles"]}


def pack(layer, tensors):
    packed = torch.empty(layer.weights_bytes(), dtype=torch.uint8)
    layer.pack(packed, *[part for pair in tensors.items() for part in pair])
    return packed


def reference(x, tensors):
    """softmax over all experts, the best two, divided by their sum; silu gates. In float64."""
    x = x.double()
    w = {name: tensor.double() for name, tensor in tensors.items()}
    weights, ids = torch.softmax(x @ w["router.weight"].T, -1).topk(CHOICES)
    y = torch.zeros_like(x)
    for t in range(x.shape[0]):
        for weight, e in zip(weights[t], ids[t]):
            hidden = torch.nn.functional.silu(w["experts.gate"][e] @ x[t]) * (w["experts.up"][e] @ x[t])
            y[t] += weight * (w["experts.down"][e] @ hidden)
    return y, ids


@pytest.fixture(scope="session")
def libraries(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    return {name: compile_layer(folder, f"layer_{name}", name, router={"top_k": CHOICES, "score": "softmax"})
            for name in ("bf16", "f32")}


@pytest.fixture(scope="session")
def layer(libraries):
    return tvm_ffi.load_module(libraries["bf16"])


@pytest.mark.parametrize("name,dtype,limit", [("f32", torch.float32, 1e-5), ("bf16", torch.bfloat16, 2e-2)])
def test_torch_without_a_copy(libraries, name, dtype, limit):
    layer = tvm_ffi.load_module(libraries[name])
    tensors = random_tensors(layer, dtype)
    packed = pack(layer, tensors)
    for tokens in (1, 5, 33):
        x = torch.randn(tokens, HIDDEN, generator=torch.Generator().manual_seed(tokens)).to(dtype)
        y = torch.full_like(x, float("nan"))
        address = y.data_ptr()
        layer.forward(x, packed, y)
        assert y.data_ptr() == address # the tensor itself was written
        want, want_ids = reference(x, tensors)
        assert (y.double() - want).abs().max() <= limit * want.abs().max()
        ids = torch.full((tokens, CHOICES), -7, dtype=torch.int32)
        counts = torch.empty(EXPERTS, dtype=torch.int32)
        again = torch.empty_like(y)
        layer.call("x,weights,ids,counts,y", x, packed, ids, counts, again)
        assert torch.equal(again, y) and torch.equal(ids.long(), want_ids)
        assert torch.equal(counts, torch.bincount(ids.flatten(), minlength=EXPERTS).int())
    rows = torch.randn(2, 3, HIDDEN).to(dtype)
    both = torch.empty_like(rows)
    layer.forward(rows, packed, both)
    one = torch.empty(3, HIDDEN, dtype=dtype)
    layer.forward(rows[1], packed, one)
    assert torch.equal(both[1], one)
    empty = torch.empty(0, HIDDEN, dtype=dtype)
    layer.forward(empty, packed, torch.empty_like(empty))


def test_errors_are_exceptions(layer):
    packed = pack(layer, random_tensors(layer, torch.bfloat16))
    x = torch.zeros(4, HIDDEN, dtype=torch.bfloat16)
    y = torch.full_like(x, 3)
    cases = [
        (TypeError, "x is f32 [4, 64] on cpu, expected bf16 [4, 64]", lambda: layer.forward(x.float(), packed, y)),
        (ValueError, "y is bf16 [3, 64] on cpu, expected bf16 [4, 64]", lambda: layer.forward(x, packed, y[:3])),
        (ValueError, "expected rows without gaps",
         lambda: layer.forward(torch.zeros(HIDDEN, 64, dtype=torch.bfloat16).t(), packed, y)),
        (ValueError, "begins 2 bytes after a multiple of 16",
         lambda: layer.forward(torch.zeros(4 * HIDDEN + 1, dtype=torch.bfloat16)[1:].view(4, HIDDEN), packed, y)),
        (ValueError, "does not hold packed weights", lambda: layer.forward(x, torch.zeros_like(packed), y)),
        (ValueError, "x and y share bytes", lambda: layer.forward(x, packed, x)),
        (TypeError, "y is a string, expected a tensor", lambda: layer.forward(x, packed, "y")),
        (ValueError, "\"nosie\" is not the name of an argument",
         lambda: layer.call("x,nosie,weights,y", x, x, packed, y)),
        (ValueError, "does not have the argument noise", lambda: layer.call("x,noise,weights,y", x, x, packed, y)),
        (RuntimeError, "cannot be opened", lambda: layer.load(packed.clone(), "/nonexistent", "model.")),
        (RuntimeError, "set options before the first call", lambda: layer.options("threads", 2)),
    ]
    for kind, text, wrong in cases:
        with pytest.raises(kind) as caught:
            wrong()
        assert text in str(caught.value), caught.value
    assert (y == 3).all()
    layer.forward(x, packed, y) # and everything is as before


def test_gradients_with_torch(tmp_path):
    layer = tvm_ffi.load_module(compile_layer(tmp_path, "trained", "f32", passes=["forward", "backward"]))
    assert json.loads(layer.info())["trains"]
    tensors = {name: tensor.requires_grad_() for name, tensor in random_tensors(layer, torch.float32).items()}
    packed = pack(layer, {name: tensor.detach() for name, tensor in tensors.items()})
    x = torch.randn(9, HIDDEN, generator=torch.Generator().manual_seed(1), requires_grad=True)
    dy = torch.randn(9, HIDDEN, generator=torch.Generator().manual_seed(2))
    (reference(x, tensors)[0] * dy).sum().backward()

    rows, y = x.detach(), torch.empty(9, HIDDEN)
    saved = torch.empty(layer.saved_bytes(9), dtype=torch.uint8)
    layer.call("x,weights,saved,y", rows, packed, saved, y)
    leaves = {"grad_x": x, **tensors}
    found = {name: torch.full_like(leaf, float("nan"), requires_grad=False) for name, leaf in leaves.items()}
    names = ",".join(["x,weights,saved,grad_y", *found])
    layer.backward(names, rows, packed, saved, dy, *found.values())
    again = [torch.empty_like(gradient) for gradient in found.values()]
    layer.bind("backward", names)(rows, packed, saved, dy, *again)
    for (name, gradient), other in zip(found.items(), again):
        want = leaves[name].grad
        assert (gradient - want).abs().max() <= 1e-4 * want.abs().max(), name
        assert torch.equal(gradient, other)
    with pytest.raises(ValueError, match="grad_y is f32 \\[8, 64\\] on cpu, expected f32 \\[9, 64\\]"):
        layer.backward("x,weights,saved,grad_y,grad_x", rows, packed, saved, dy[:8], found["grad_x"])


def test_tvm_ffi_may_come_after_the_package(libraries):
    """The first to open the library does not have tvm-ffi; functions of it are found later all the same."""
    code = f"""if True:
        import ctypes
        path = {libraries["bf16"]!r}
        assert ctypes.CDLL(path).__tvm_ffi_forward(None, None, ctypes.c_int32(0), None) == -1
        import tvm_ffi
        layer = tvm_ffi.load_module(path)
        try:
            layer.forward(1, 2, 3)
        except TypeError as error:
            assert "x is the number 1, expected a tensor" in str(error), error
            print("TypeError", type(layer.bind("call", "x,weights,y")).__name__)
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "TypeError Function\n"


def test_threads_of_python(layer):
    packed = pack(layer, random_tensors(layer, torch.bfloat16))
    wrong = []

    def run(seed):
        x = torch.randn(1 + seed, HIDDEN, generator=torch.Generator().manual_seed(seed)).bfloat16()
        first = torch.empty_like(x)
        layer.forward(x, packed, first)
        for _ in range(200):
            y = torch.empty_like(x)
            layer.forward(x, packed, y)
            if not torch.equal(y, first):
                wrong.append(seed)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_forked_child(layer):
    packed = pack(layer, random_tensors(layer, torch.bfloat16))
    x = torch.randn(40, HIDDEN).bfloat16()
    y = torch.empty_like(x)
    layer.forward(x, packed, y)
    child = os.fork()
    if child == 0:
        again = torch.empty(40, HIDDEN, dtype=torch.bfloat16)
        layer.forward(x, packed, again)
        os._exit(0 if bytes(again.view(torch.int16).numpy()) == bytes(y.view(torch.int16).numpy()) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_freed_buffer_that_is_reused(layer):
    x = torch.randn(7, HIDDEN).bfloat16()
    for seed in range(6):
        tensors = random_tensors(layer, torch.bfloat16, seed)
        packed = pack(layer, tensors)
        y = torch.empty_like(x)
        layer.forward(x, packed, y)
        want = reference(x, tensors)[0]
        assert (y.double() - want).abs().max() <= 2e-2 * want.abs().max()
        del packed, y
        gc.collect()


def test_loaded_again_and_again(libraries):
    """1,000 loads and calls leave no memory behind."""
    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    x, y = torch.ones(3, HIDDEN).bfloat16(), torch.empty(3, HIDDEN).bfloat16()
    packed = pack(tvm_ffi.load_module(libraries["bf16"]), random_tensors(tvm_ffi.load_module(libraries["bf16"]),
                                                                         torch.bfloat16))
    before = 0
    for i in range(1000):
        module = tvm_ffi.load_module(libraries["bf16"], keep_module_alive=False)
        module.forward(x, packed, y)
        json.loads(module.info())
        del module
        if i == 200:
            before = resident()
    assert resident() - before < 4 << 20


# Times a loop of moec_layer_forward, which Python could not: it would time itself.
LOOP = """
#include <moec.h>
#include <time.h>
const moec_package *PACKAGE(void);
double time_of(const void *packed, size_t bytes, const void *x, void *y, void *workspace, size_t workspace_bytes) {
  static moec_layer *layer;
  static moec_weights *weights;
  struct timespec start, end;
  moec_forward_args args = {.struct_size = sizeof args, .num_tokens = 1, .x = x, .y = y, .workspace = workspace,
                            .workspace_bytes = workspace_bytes};
  if (!layer && (moec_layer_create(PACKAGE(), 0, &layer) || moec_weights_map(layer, packed, bytes, 0, &weights)))
    return -1;
  if (moec_layer_forward(layer, weights, &args))
    return -1;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (int i = 0; i < 500; ++i)
    moec_layer_forward(layer, weights, &args);
  clock_gettime(CLOCK_MONOTONIC, &end);
  return (end.tv_sec - start.tv_sec + 1e-9 * (end.tv_nsec - start.tv_nsec)) / 500;
}
"""


def latency(library, loop):
    """Microseconds of a call of one token from Python through tvm-ffi, and of moec_layer_forward in C, each the best of
    alternating rounds. For a process of its own, because options come before the first call."""
    layer = tvm_ffi.load_module(library)
    layer.options("threads", 1)
    packed = pack(layer, random_tensors(layer, torch.bfloat16))
    x, y = torch.ones(1, HIDDEN, dtype=torch.bfloat16), torch.empty(1, HIDDEN, dtype=torch.bfloat16)
    workspace = torch.empty(layer.workspace_bytes(1), dtype=torch.uint8)
    time_of = ctypes.CDLL(loop).time_of
    time_of.restype = ctypes.c_double
    aligned = (workspace.data_ptr() + 255) // 256 * 256
    forward, best, kernels = layer.forward, 1e9, 1e9
    for _ in range(400):
        start = time.perf_counter()
        for _ in range(500):
            forward(x, packed, y)
        best = min(best, (time.perf_counter() - start) / 500)
        own = time_of(ctypes.c_void_p(packed.data_ptr()), ctypes.c_size_t(packed.numel()),
                      ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr()), ctypes.c_void_p(aligned),
                      ctypes.c_size_t(workspace.numel() - 256))
        assert own > 0
        kernels = min(kernels, own)
    print(best * 1e6, kernels * 1e6)


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no C compiler")
def test_latency_beside_the_kernels(libraries, tmp_path, capsys):
    library = os.path.join(SOURCES, "build", "lib", "libmoec.so")
    (tmp_path / "loop.c").write_text(LOOP.replace("PACKAGE", "layer_bf16_package"))
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", f"-I{SOURCES}/runtime", str(tmp_path / "loop.c"), "-o",
                    str(tmp_path / "loop.so"), libraries["bf16"], library, f"-Wl,-rpath,{os.path.dirname(library)}",
                    f"-Wl,-rpath,{os.path.dirname(libraries['bf16'])}"], check=True)
    code = (f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r}); import test_tvm_ffi; "
            f"test_tvm_ffi.latency({libraries['bf16']!r}, {str(tmp_path / 'loop.so')!r})")
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    call, kernels = map(float, done.stdout.split())
    with capsys.disabled():
        print(f"\n  {call:.2f} us per call from Python through tvm-ffi, {kernels:.2f} us of them the layer's own: "
              f"{call - kernels:.2f} us beside it")
    assert call - kernels < 2


# ---- JAX -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def jax_layer(libraries):
    jax = pytest.importorskip("jax")
    jax_tvm_ffi = pytest.importorskip("jax_tvm_ffi")
    layer = tvm_ffi.load_module(libraries["bf16"])
    names = ",".join(role["name"] for role in json.loads(layer.info())["roles"])
    jax_tvm_ffi.register_ffi_target("test.forward", layer.forward, platform="cpu")
    jax_tvm_ffi.register_ffi_target("test.call", layer.bind("call", "x,weights,y,ids,counts"), platform="cpu")
    jax_tvm_ffi.register_ffi_target("test.pack", layer.bind("pack", names), platform="cpu")
    return jax, layer


def to_jax(jax, tensor):
    return jax.numpy.asarray(tensor.float().numpy(), jax.numpy.bfloat16)


def test_jax_under_jit(jax_layer):
    jax, layer = jax_layer
    tensors = random_tensors(layer, torch.bfloat16)
    packed = jax.ffi.ffi_call("test.pack", jax.ShapeDtypeStruct((layer.weights_bytes(),), jax.numpy.uint8))(
        *[to_jax(jax, tensor) for tensor in tensors.values()])
    assert bytes(memoryview(jax.device_get(packed))) == bytes(pack(layer, tensors).numpy())

    @jax.jit
    def forward(x, packed):
        return 2 * jax.ffi.ffi_call("test.forward", jax.ShapeDtypeStruct(x.shape, x.dtype), vmap_method="sequential")(
            x + 0, packed)

    @jax.jit
    def with_outputs(x, packed):
        tokens = x.shape[0]
        return jax.ffi.ffi_call("test.call", (jax.ShapeDtypeStruct(x.shape, x.dtype),
                                              jax.ShapeDtypeStruct((tokens, CHOICES), jax.numpy.int32),
                                              jax.ShapeDtypeStruct((EXPERTS,), jax.numpy.int32)))(x, packed)

    for tokens in (1, 9, 0):
        rows = torch.randn(tokens, HIDDEN, generator=torch.Generator().manual_seed(tokens)).bfloat16()
        want = torch.empty_like(rows)
        layer.forward(rows, pack(layer, tensors), want)
        x = to_jax(jax, rows)
        got = torch.tensor(jax.device_get(forward(x, packed)).astype("float32"))
        assert torch.equal(got, 2 * want.float()) # by the same library: the same bits
        y, ids, counts = with_outputs(x, packed)
        assert torch.equal(torch.tensor(jax.device_get(y).astype("float32")), want.float())
        if tokens:
            assert int(counts.sum()) == tokens * CHOICES and ids.shape == (tokens, CHOICES)
    batch = to_jax(jax, torch.randn(12, HIDDEN).bfloat16()).reshape(4, 3, HIDDEN)
    mapped = jax.vmap(forward, in_axes=(0, None))(batch, packed)
    assert (mapped[2] == forward(batch[2], packed)).all()


def test_jax_errors(jax_layer):
    jax, layer = jax_layer
    x = jax.numpy.ones((4, HIDDEN), jax.numpy.bfloat16)
    with pytest.raises(Exception, match="does not hold packed weights"):
        jax.ffi.ffi_call("test.forward", jax.ShapeDtypeStruct(x.shape, x.dtype))(
            x, jax.numpy.zeros(layer.weights_bytes(), jax.numpy.uint8)).block_until_ready()
    with pytest.raises(Exception, match=r"x is f32 \[4, 64\] on cpu, expected bf16 \[4, 64\]"):
        jax.ffi.ffi_call("test.forward", jax.ShapeDtypeStruct(x.shape, x.dtype))(
            x.astype("float32"), jax.numpy.zeros(layer.weights_bytes(), jax.numpy.uint8)).block_until_ready()


# ---- other ways in ---------------------------------------------------------------------------------------------------


def test_numpy(libraries):
    numpy = pytest.importorskip("numpy")
    layer = tvm_ffi.load_module(libraries["f32"])
    tensors = random_tensors(layer, torch.float32)
    x = numpy.random.default_rng(1).standard_normal((6, HIDDEN), dtype="float32")
    y = numpy.full_like(x, numpy.nan)
    layer.forward(x, pack(layer, tensors), y)
    want = reference(torch.from_numpy(x), tensors)[0]
    assert numpy.abs(y - want.numpy()).max() <= 1e-5 * want.abs().max()


def test_numpy_bf16(libraries):
    numpy = pytest.importorskip("numpy")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    layer = tvm_ffi.load_module(libraries["bf16"])
    tensors = random_tensors(layer, torch.bfloat16)
    packed = pack(layer, tensors)
    memory = numpy.empty(layer.weights_bytes() + 63, numpy.uint8)
    own = memory[-memory.ctypes.data % 64:][:layer.weights_bytes()]
    layer.pack(own, *[part for name, tensor in tensors.items() for part in (name, tensor.float().numpy())])
    assert bytes(own) == bytes(packed.numpy())
    x = numpy.random.default_rng(1).standard_normal((6, HIDDEN)).astype(ml_dtypes.bfloat16)
    y = numpy.empty_like(x)
    layer.forward(x.view("uint16"), own, y.view("uint16"))
    rows = torch.from_numpy(x.view("int16")).view(torch.bfloat16)
    want = torch.empty_like(rows)
    layer.forward(rows, packed, want)
    assert bytes(y.view("uint16")) == bytes(want.view(torch.int16).numpy())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("framework", ["torch", "cupy"])
def test_cuda(tmp_path, framework):
    """Tensors and the stream of a GPU; the package's own CPU kernels are what it is compared with."""
    spec = tmp_path / "gpu.json"
    spec.write_text(json.dumps({"moec": 1, "name": "gpu", "hidden": HIDDEN, "dtype": "bf16",
                                "router": {"top_k": CHOICES}, "experts": {"count": EXPERTS, "intermediate": INNER}}))
    subprocess.run([MOEC, "compile", str(spec), "-q", "--emit", "shared", "--target", "cpu,cuda", "-o",
                    str(tmp_path / "gpu")], check=True)
    layer = tvm_ffi.load_module(str(tmp_path / "gpu" / "lib" / "libgpu.so"))
    tensors = random_tensors(layer, torch.bfloat16)
    x = torch.randn(33, HIDDEN).bfloat16()
    want = torch.empty_like(x)
    layer.forward(x, pack(layer, tensors), want)
    packed = torch.empty(layer.weights_bytes(tvm_ffi.device("cuda:0")), dtype=torch.uint8, device="cuda")
    layer.pack(packed, *[part for pair in tensors.items() for part in pair])
    device_x, device_y = x.cuda(), torch.empty_like(x, device="cuda")
    if framework == "cupy":
        cupy = pytest.importorskip("cupy")
        workspace = cupy.empty(layer.workspace_bytes(33, tvm_ffi.device("cuda:0")), cupy.uint8)
        layer.call("x,weights,workspace,y", device_x, packed, tvm_ffi.from_dlpack(workspace), device_y)
        cupy.cuda.Device().synchronize()
    else:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            layer.forward(device_x, packed, device_y)
        stream.synchronize()
    assert (device_y.cpu().double() - want.double()).abs().max() <= 2e-2 * want.double().abs().max()
