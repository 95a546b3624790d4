# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays of torch, JAX, ml_dtypes and others in and out; run by run.sh, where these are installed."""

import gc
import os
import subprocess
import sys
import threading

import pytest
import tiny
from tiny import E, H, K, moec, np

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
ml_dtypes = pytest.importorskip("ml_dtypes")
import jax.numpy as jnp  # noqa: E402

BOUND = {"float32": 2e-5, "bfloat16": 0.03}


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def layer(request):
    if request.param == "float32":
        return moec.load(tiny.package(), threads=1)
    return moec.load(moec.compile({**tiny.SPEC, "name": "short", "dtype": "bf16"}), threads=2)


def numbers(dtype, values):
    """NumPy's array of the layer's type."""
    return values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def to(library, array):
    if library == "torch":
        bits = (
            torch.from_numpy(array.view("uint16").astype("int32")).to(torch.int16)
            if array.dtype.itemsize == 2
            else None
        )
        return torch.from_numpy(array) if bits is None else bits.view(torch.bfloat16)
    return jnp.asarray(array) if library == "jax" else array


def back(array):
    return array.float().numpy() if isinstance(array, torch.Tensor) else np.asarray(array).astype("float32")


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_in_and_out(layer, library):
    roles = {role: numbers(layer.x_dtype, array) for role, array in tiny.tensors().items()}
    w = layer.pack({role: to(library, array) for role, array in roles.items()})
    wide = {role: array.astype("float32") for role, array in roles.items()}
    for tokens in (1, 7, 64):
        x = numbers(layer.x_dtype, tiny.x_of(tokens))
        given = to(library, x)
        y, ids, counts = layer(given, w, want=("ids", "counts"))
        for array in (y, ids, counts):
            assert type(array) is type(given)
        assert y.dtype == given.dtype and tuple(y.shape) == (tokens, H)
        assert tiny.near(back(y), tiny.expected(x.astype("float32"), wide), BOUND[layer.x_dtype])
        assert tuple(ids.shape) == (tokens, K) and str(ids.dtype).endswith("int32")
        assert int(counts.sum()) == K * tokens and tuple(counts.shape) == (E,)
        assert tuple(layer(given.reshape(1, tokens, H), w).shape) == (1, tokens, H)


@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_the_same_bits_from_every_library(layer, library):
    x = numbers(layer.x_dtype, tiny.x_of(9))
    w = layer.pack(tiny.tensors())
    np.testing.assert_array_equal(back(layer(to(library, x), w)), back(layer(x, w)))


def test_bits_of_bfloat16():
    layer = moec.load(moec.compile({**tiny.SPEC, "name": "short", "dtype": "bf16"}))
    w, x = layer.pack(tiny.tensors()), numbers("bfloat16", tiny.x_of(5))
    y = layer(x, w)
    for bits in (x.view("uint16"), torch.from_numpy(x.view("uint16").copy())):
        found = layer(bits, w, dtype="bfloat16")
        assert found.dtype == bits.dtype
        np.testing.assert_array_equal(np.asarray(found), y.view("uint16"))
        out = found * 0
        assert layer(bits, w, dtype="bfloat16", out=out) is out
        np.testing.assert_array_equal(np.asarray(out), y.view("uint16"))
    with pytest.raises(moec.MoecTypeError, match='state what the bits mean: dtype="bfloat16"'):
        layer(x.view("uint16"), w)


def test_results_of_one_library_for_x_of_another(layer):
    x, w = numbers(layer.x_dtype, tiny.x_of(5)), layer.pack(tiny.tensors())
    y = to("torch", x).clone()
    assert layer(x, w, out=y) is y
    np.testing.assert_array_equal(back(y), back(layer(x, w)))


def test_torch_refusals():
    layer = moec.load(tiny.package(), threads=1)
    w, x = layer.pack(tiny.tensors()), torch.from_numpy(tiny.x_of(8))

    def refused(pattern, x, **options):
        with pytest.raises(moec.MoecError, match=pattern):
            layer(x, w, **options)

    refused(r"x is of torch.float64, expected torch.float32; pass x.to\(torch.float32\)", x.double())
    refused(r"x has strides \(1, 8\) \(elements\).*; pass x.contiguous\(\)", x.T)
    refused(r"x is on meta:0, the layer runs on the CPU", torch.empty(2, H, device="meta"))
    refused(r"x has the layout torch.sparse_coo", x.to_sparse())
    refused(r"x requires gradients, a layer has none; call it under torch.no_grad", x.clone().requires_grad_())
    refused(r"x is of torch.complex64", x.to(torch.complex64))
    refused(r"out has shape \(2, 8\)", x, out=torch.empty(2, H))
    with torch.no_grad():
        assert tiny.near(layer(x.clone().requires_grad_(), w), tiny.expected(x.numpy(), tiny.tensors()))
    parameters = {role: torch.nn.Parameter(torch.from_numpy(array)) for role, array in tiny.tensors().items()}
    parameters["experts.up"] = parameters["experts.up"].transpose(1, 2).contiguous().transpose(1, 2)
    assert tiny.near(layer(x, layer.pack(parameters)), tiny.expected(x.numpy(), tiny.tensors()))


def test_torch_views_with_the_opposite_sign():
    layer = moec.load(tiny.package(), threads=1)
    roles, x = tiny.tensors(), torch.from_numpy(tiny.x_of(8))
    w = layer.pack(roles)
    with pytest.raises(moec.MoecError, match=r"opposite sign of its memory; pass x.resolve_neg\(\)"):
        layer(torch._neg_view(x), w)
    negative = {role: torch._neg_view(torch.from_numpy(-array)) for role, array in roles.items()}
    assert torch.equal(layer(x, layer.pack(negative)), layer(x, w))


def test_torch_tensors_without_values():
    from torch._subclasses.fake_tensor import FakeTensorMode

    layer = moec.load(tiny.package(), threads=1)
    roles = tiny.tensors()
    w = layer.pack(roles)
    router = torch.from_numpy(roles["router.weight"])
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(torch.zeros(3, H))
    with pytest.raises(moec.MoecError, match="x is a FakeTensor"):
        layer(fake, w)
    parts = [torch.zeros(2, H), torch.zeros(2, H)]
    with pytest.raises(moec.MoecError, match="x is a nested tensor"):
        layer(torch.nested.nested_tensor(parts), w)
    for pattern, tensor in (
        (r"layout torch.sparse_coo.*; pass router.weight.to_dense\(\)", router.to_sparse()),
        ("router.weight is a nested tensor", torch.nested.nested_tensor(parts)),
        ("router.weight is a nested tensor", torch.nested.nested_tensor(parts, layout=torch.jagged)),
        ("router.weight is a FakeTensor", fake),
        (r"is of float64, .*; pass router.weight.to\(torch.float32\)", router.double()),
        (r"is of torch.int16, .*; pass router.weight.to\(torch.float32\)", router.to(torch.int16)),
    ):
        with pytest.raises(moec.MoecError, match=pattern):
            layer.pack({**roles, "router.weight": tensor})


def test_jax_refusals():
    layer = moec.load(tiny.package(), threads=1)
    w, x = layer.pack(tiny.tensors()), jnp.asarray(tiny.x_of(8))
    with pytest.raises(moec.MoecError, match="x is traced by jax.jit"):
        jax.jit(lambda x: layer(x, w))(x)
    with pytest.raises(moec.MoecError, match="out is an array of JAX, which cannot be written"):
        layer(x, w, out=jnp.zeros_like(x))
    with pytest.raises(moec.MoecTypeError, match="x is of float16, expected float32"):
        layer(x.astype("float16"), w)
    deleted = jnp.asarray(tiny.x_of(8)) + 0
    deleted.delete()
    with pytest.raises(moec.MoecError, match="x was deleted"):
        layer(deleted, w)
    with pytest.raises(moec.MoecError, match="traced by .*jax.vmap"):
        jax.vmap(lambda row: layer(row[None], w))(x)
    with pytest.raises(moec.MoecError, match="has no gradient"):
        jax.grad(lambda x: layer(x, w).sum())(x)
    roles = tiny.tensors()
    for pattern, array in (("router.weight was deleted", deleted), ("router.weight is traced", None)):
        with pytest.raises(moec.MoecError, match=pattern):
            if array is None:
                jax.jit(lambda t: layer.pack({**roles, "router.weight": t}).nbytes)(jnp.asarray(roles["router.weight"]))
            else:
                layer.pack({**roles, "router.weight": array})


def test_sharded_arrays():
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import jax, numpy, tiny; from tiny import moec\n"
        "layer = moec.load(tiny.package(), threads=1)\n"
        "place = jax.sharding.NamedSharding(jax.make_mesh((2,), ('e',)), jax.sharding.PartitionSpec('e'))\n"
        "roles = tiny.tensors(); roles['experts.up'] = jax.device_put(roles['experts.up'], place)\n"
        "try: layer.pack(roles)\n"
        "except moec.MoecError as error: assert 'experts.up is on several devices' in str(error), error\n"
        "else: raise SystemExit('packed')\n"
    )
    paths = [str(tiny.ROOT / "tests" / "python"), str(tiny.ROOT / "runtime" / "bindings" / "python" / "src")]
    flags = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    subprocess.run([sys.executable, "-c", program, *paths], check=True, env=flags)


def test_jax_results_stay_what_they_are():
    """Memory of one result is not that of a later one."""
    layer = moec.load(tiny.package(), threads=1)
    w = layer.pack(tiny.tensors())
    results = [(seed, layer(jnp.asarray(tiny.x_of(64, seed)), w)) for seed in range(50)]
    gc.collect()
    for seed, y in results:
        assert tiny.near(np.asarray(y), tiny.expected(tiny.x_of(64, seed), tiny.tensors()))


def test_dlpack():
    class Tensor:
        """An array that only __dlpack__ shows."""

        def __init__(self, array):
            self.array, self.shape = array, array.shape

        def __dlpack__(self, **options):
            return self.array.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    layer = moec.load(tiny.package(), threads=1)
    x, w = tiny.x_of(5), layer.pack({role: Tensor(array) for role, array in tiny.tensors().items()})
    y = layer(Tensor(x), w)
    assert type(y) is np.ndarray and tiny.near(y, tiny.expected(x, tiny.tensors()))


def test_threads_of_torch():
    layer = moec.load(tiny.package())
    w, wrong = layer.pack(tiny.tensors()), []

    def work(seed):
        for step in range(50):
            x = torch.from_numpy(tiny.x_of(1 + step, seed))
            if not tiny.near(layer(x, w), tiny.expected(x.numpy(), tiny.tensors())):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_compare_and_bench_with_torch():
    layer = moec.load(moec.compile({**tiny.SPEC, "name": "short", "dtype": "bf16"}), threads=1)

    def dense(x, tensors):
        logits = x.float() @ tensors["router.weight"].float().T
        weights, ids = torch.topk(logits, K)
        weights = torch.softmax(weights, 1)
        y = torch.zeros_like(x, dtype=torch.float32)
        gate, up, down = (tensors["experts." + role].float() for role in ("gate", "up", "down"))
        for t, k in np.ndindex(tuple(ids.shape)):
            e, row = ids[t, k], x[t].float()
            y[t] += weights[t, k] * (down[e] @ (torch.nn.functional.silu(gate[e] @ row) * (up[e] @ row)))
        return y.to(torch.bfloat16)

    assert moec.testing.compare(layer, dense, arrays="torch").error < 0.02
    with pytest.raises(AssertionError, match="T 7: y"):
        moec.testing.compare(layer, lambda x, tensors: 1.1 * dense(x, tensors), arrays="torch", tokens=[7])
    w = layer.pack(tiny.tensors())
    timings = moec.bench(
        layer,
        w,
        tokens=[4],
        against={"torch": torch.nn.Linear(H, H, dtype=torch.bfloat16)},
        arrays="torch",
        seconds=0.02,
    )
    assert [timing.name for timing in timings] == ["moec", "torch"]


def test_no_library_is_imported_for_its_own_sake():
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import moec; assert not {'numpy', 'torch', 'jax'} & set(sys.modules), 'import moec'\n"
        "import tiny; from tiny import moec\n"
        "layer = moec.load(tiny.package(), threads=1); layer(tiny.x_of(1), layer.pack(tiny.tensors()))\n"
        "assert not {'torch', 'jax'} & set(sys.modules), 'a call'\n"
    )
    paths = [str(tiny.ROOT / "tests" / "python"), str(tiny.ROOT / "runtime" / "bindings" / "python" / "src")]
    subprocess.run([sys.executable, "-c", program, *paths], check=True)
