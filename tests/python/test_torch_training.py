# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""moec.torch.MoE: gradients beside finite differences, checkpoints, packing, losses, random inputs, torch.compile."""

import copy
import pickle
import warnings

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import families
import moec
import moec.torch
from moec.torch import _publish

SPEC = {
    "moec": 1,
    "name": "layer",
    "hidden": 40,
    "passes": ["forward", "backward"],
    "router": {"top_k": 2, "normalize": {"kind": "sum"}},
    "experts": {"count": 6, "intermediate": 24},
}
LOSSES = [{"kind": "load_balance"}, {"kind": "z"}]

# torch.autograd.gradcheck in float32: steps of 1e-2 make rounding errors of y (2^-22 of about 1) count 2^-15, and the
# curvature of silu 1e-4; a choice of experts must not change, which atol could not hide.
GRADCHECK = dict(eps=1e-2, atol=2e-3, rtol=1e-2, nondet_tol=0.0)

STORAGE = {
    "roles": {},
    "a tensor for each expert": {
        "weights": {
            f"experts.{role}": {"tensor": f"mlp.experts.{{e}}.{role}_proj.weight", "stack": "per_expert"}
            for role in ("gate", "up", "down")
        }
    },
    "halves": {
        "weights": {
            "router.weight": {"tensor": "mlp.gate.weight"},
            "experts.gate": {"tensor": "mlp.gate_up", "part": "first_half"},
            "experts.up": {"tensor": "mlp.gate_up", "part": "second_half"},
            "experts.down": {"tensor": "mlp.down", "stack": "flat_rows"},
        }
    },
    "even and odd, in by out": {
        "experts": {**SPEC["experts"], "bias": {"in": True, "out": True}},
        "weights": {
            "experts.gate": {"tensor": "gate_up", "axes": "in_out", "part": "even"},
            "experts.up": {"tensor": "gate_up", "axes": "in_out", "part": "odd"},
            "experts.gate_bias": {"tensor": "gate_up_bias", "part": "even"},
            "experts.up_bias": {"tensor": "gate_up_bias", "part": "odd"},
            "experts.down": {"tensor": "down", "axes": "in_out"},
        },
    },
    "adapters": {
        "experts": {**SPEC["experts"], "lora": {"rank": 4, "alpha": 8, "at": "per_matrix"}},
        "weights": {
            "experts.gate": {"tensor": "gate_up", "part": "first_half"},
            "experts.up": {"tensor": "gate_up", "part": "second_half"},
            "experts.down": {"tensor": "down"},
            "experts.gate_lora_a": {"tensor": "adapter.lora_A", "stack": "flat_rows"},
            "experts.up_lora_a": {"tensor": "adapter.lora_A", "stack": "flat_rows"},
            "experts.gate_lora_b": {"tensor": "adapter.lora_B", "stack": "interleaved_columns", "part": "first_half"},
            "experts.up_lora_b": {"tensor": "adapter.lora_B", "stack": "interleaved_columns", "part": "second_half"},
        },
    },
}


def tokens(count=5, seed=0, **options):
    return torch.randn(count, 40, generator=torch.Generator().manual_seed(seed)).to(**options)


def made(spec=SPEC, seed=0, **options):
    torch.manual_seed(seed)
    return moec.torch.MoE(moec.compile(spec), **options)


@pytest.fixture
def moe():
    return made({**SPEC, "losses": LOSSES})


@pytest.fixture
def packs(monkeypatch):
    """How often weights are packed."""
    found = []
    pack = moec.Layer.pack
    monkeypatch.setattr(moec.Layer, "pack", lambda *a, **k: found.append(1) or pack(*a, **k))
    return found


def total(moe, x):
    y, losses = moe(x)
    return y.square().mean() + 0.01 * losses[0] + 0.001 * losses[1]


def gradients(moe, x, loss=total):
    x = x.detach().clone().requires_grad_()
    parameters = [p for p in moe.parameters() if p.requires_grad]
    return torch.autograd.grad(loss(moe, x), [x, *parameters])


def check(moe, x, **options):
    named = [(name, p.detach().clone().requires_grad_()) for name, p in moe.named_parameters() if p.requires_grad]

    def call(x, *parameters):
        return torch.func.functional_call(moe, dict(zip([name for name, _ in named], parameters)), (x,))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch prefers float64
        inputs = (x.clone().requires_grad_(), *(p for _, p in named))
        return torch.autograd.gradcheck(call, inputs, **{**GRADCHECK, **options})


def check_slopes(moe, x):
    """Along its own gradient each parameter changes the sum of dy * y by |gradient|."""
    dy = tokens(x.shape[0], seed=3)
    leaves = {"x": x.clone().requires_grad_(), **{n: p for n, p in moe.named_parameters() if p.requires_grad}}
    (moe(leaves["x"]) * dy).sum().backward()
    for name, leaf in leaves.items():
        norm = leaf.grad.double().norm()
        assert norm > 0, name
        step, values = 2e-3 * leaf.grad / norm, []
        with torch.no_grad():
            before = leaf.clone()
            for sign in (1, -1):
                leaf.copy_(before + sign * step)
                values.append(float((moe(leaves["x"]).double() * dy).sum()))
            leaf.copy_(before)
        slope = (values[0] - values[1]) / 4e-3
        assert abs(slope - float(norm)) < 1e-2 * float(norm), f"{name}: {slope} instead of {norm}"


# ---- gradients ----


def test_gradcheck(moe):
    """Every element of the Jacobians of y and of both losses by x, the router and the experts' down matrices."""
    small = made({**SPEC, "hidden": 8, "losses": LOSSES, "experts": {"count": 3, "intermediate": 4}})
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    assert check(small, x)
    assert check(moe, tokens(), fast_mode=True)


@pytest.mark.parametrize("form", STORAGE)
def test_every_form_of_storage(form, tmp_path):
    """Values as the runtime reads them from the file that state_dict makes, and gradients in the same places."""
    moe, x = made({**SPEC, **STORAGE[form]}), tokens()
    layer = moec.load(moe._trainable.kernels.package)
    with _publish.safetensors_image(moe.state_dict()) as image:
        expected = layer(x, layer.load(image))
    assert torch.equal(moe(x), expected)
    assert check(moe, x, fast_mode=True)
    check_slopes(moe, tokens(40))
    loaded = made({**SPEC, **STORAGE[form]}, seed=7)
    loaded.load_state_dict(moe.state_dict())
    assert torch.equal(loaded(x), expected)


def test_bfloat16_beside_float32():
    """bfloat16 rounds weights and rows; with parameters in float32 only the packed ones are rounded."""
    spec = {**SPEC, "dtype": "bf16", "losses": LOSSES}
    short, wide = made(spec), made(spec, dtype=torch.float32)
    exact = made({**SPEC, "losses": LOSSES})
    assert {p.dtype for p in short.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in wide.parameters()} == {torch.float32}
    with torch.no_grad():
        for a, b, c in zip(short.parameters(), wide.parameters(), exact.parameters()):
            b.copy_(a)
            c.copy_(a)
    x = tokens(9, dtype=torch.bfloat16)
    expected = gradients(exact, x.float())
    for found in (gradients(short, x), gradients(wide, x)):
        for g, r in zip(found, expected):
            assert (g.float() - r).norm() < 0.02 * r.norm()
    assert [g.dtype for g in gradients(short, x)] == [torch.bfloat16] * 5
    assert [g.dtype for g in gradients(wide, x)] == [torch.bfloat16] + [torch.float32] * 4


def test_losses_alone_and_outputs_alone(moe):
    x = tokens()
    z = gradients(moe, x, lambda moe, x: moe(x)[1][1])
    assert z[1].norm() > 0 and all(g.norm() == 0 for g in z[2:])
    y = gradients(moe, x, lambda moe, x: moe(x)[0].sum())
    both = gradients(moe, x, lambda moe, x: moe(x)[0].sum() + 3 * moe(x)[1][1])
    for a, b, c in zip(y, z, both):
        torch.testing.assert_close(c, a + 3 * b)


def test_bits_repeat(moe):
    x, before = tokens(50), torch.get_num_threads()
    try:
        first = gradients(moe, x)
        torch.set_num_threads(1)
        assert all(torch.equal(a, b) for a, b in zip(first, gradients(moe, x)))
    finally:
        torch.set_num_threads(before)


def test_no_second_derivative(moe):
    x = tokens().requires_grad_()
    (gradient,) = torch.autograd.grad(total(moe, x), x, create_graph=True)
    with pytest.raises(RuntimeError, match="moec has no second derivative: .* call backward without create_graph=True"):
        gradient.sum().backward()


def test_only_what_is_asked_for(moe):
    """Frozen by the user: nothing is computed for it; frozen by the spec: it does not require a gradient."""
    moe.experts.gate.requires_grad_(False)
    total(moe, tokens()).backward()
    assert moe.experts.gate.grad is None and moe.experts.up.grad is not None
    half = made({**SPEC, **STORAGE["halves"], "frozen": ["experts.up"]})
    half(tokens()).sum().backward()
    gradient = half.get_parameter("mlp.gate_up").grad
    assert gradient[:, :24].norm() > 0 and (gradient[:, 24:] == 0).all()
    frozen = made({**SPEC, "frozen": ["experts.*"]})
    assert [n for n, p in frozen.named_parameters() if p.requires_grad] == ["router.weight"]
    frozen(tokens()).sum().backward()
    assert frozen.router.weight.grad is not None and frozen.experts.up.grad is None


def test_it_learns(moe):
    torch.manual_seed(0)
    x, target = tokens(64), tokens(64, seed=1)
    optimizer = torch.optim.Adam(moe.parameters(), 1e-2)
    errors = []
    for _ in range(40):
        optimizer.zero_grad()
        y, losses = moe(x)
        error = (y - target).square().mean()
        (error + 0.01 * losses[0]).backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]


# ---- parameters ----


def test_names_are_those_of_the_checkpoint():
    """A block of transformers and the module, from one state_dict."""
    model = families.model_of("qwen3_moe")
    block, prefix = model.model.layers[1].mlp, "model.layers.1."
    spec = moec.torch.accelerate(model, train=True, strict=True).replaced[0]
    moec.torch.restore(model)
    moe = moec.torch.MoE(spec.package, model.state_dict(), prefix)
    assert set(moe.state_dict()) == {"mlp." + name for name in block.state_dict()}
    x = tokens(7)
    torch.testing.assert_close(moe(x), block(x[None])[0], atol=1e-5, rtol=1e-4)
    moe(x).square().sum().backward()
    block(x[None]).square().sum().backward()
    for name, parameter in block.named_parameters():
        torch.testing.assert_close(moe.get_parameter("mlp." + name).grad, parameter.grad, atol=1e-5, rtol=1e-4)
    with pytest.raises(moec.MoecError, match="source has no tensor model.layers.9.mlp.gate.weight, and 2 more"):
        moec.torch.MoE(spec.package, model.state_dict(), "model.layers.9.")
    wrong = {name: t[:3] if "gate.weight" in name else t for name, t in moe.state_dict().items()}
    with pytest.raises(moec.MoecError, match=r"mlp.gate.weight has shape \(3, 40\), expected \(9, 40\)"):
        moec.torch.MoE(spec.package, wrong)


def test_weights_are_packed_when_they_were_written(moe, packs):
    x = tokens()
    total(moe, x).backward()
    with torch.no_grad():
        moe(x)
    assert len(packs) == 1, "forward, backward and another call"
    optimizer = torch.optim.SGD(moe.parameters(), 0.1)
    before = moe(x)[0]
    optimizer.step()
    after = moe(x)[0]
    assert len(packs) == 2 and not torch.equal(before, after)
    moe.experts.down.data.mul_(2)
    assert torch.allclose(moe(x)[0], 2 * after, rtol=1e-5) and len(packs) == 3
    moe.experts.down.data[0, 0, 0] += 1  # torch does not count this; gradcheck writes so
    changed = moe(x)[0]
    assert len(packs) == 4 and not torch.equal(changed, 2 * after)
    moe.load_state_dict(moe.state_dict())
    moe(x)
    assert len(packs) == 5
    twin = copy.deepcopy(moe)
    assert torch.equal(twin(x)[0], moe(x)[0]) and len(packs) == 6


def test_other_tensors_at_the_same_address(moe):
    """torch.func: tensors that live for one call, whose memory the next ones get."""
    x, names = tokens(), ["experts.down"]

    def call(factor):
        return torch.func.functional_call(moe, {names[0]: moe.experts.down.detach() * factor}, (x,))[0]

    with torch.no_grad():
        once = call(1)
        for factor in (2, 3, 4):
            assert torch.allclose(call(factor), factor * once, rtol=1e-5)


def test_a_step_between_forward_and_backward_is_refused(moe):
    loss = total(moe, tokens())
    with torch.no_grad():
        moe.experts.up.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_accumulation_over_calls(moe):
    x = tokens(8)
    for part in x.split(4):
        moe(part)[0].sum().backward()
    found = [p.grad.clone() for p in moe.parameters()]
    moe.zero_grad()
    moe(x)[0].sum().backward()
    for a, p in zip(found, moe.parameters()):
        torch.testing.assert_close(a, p.grad, atol=1e-5, rtol=1e-4)


# ---- calls ----


def test_training_and_evaluation_of_noise():
    spec = {**SPEC, "router": {**SPEC["router"], "noise": {"kind": "normal", "std": 1.0, "when": "always"}}}
    moe, x = made(spec), tokens(30)
    torch.manual_seed(5)
    first = moe(x)
    assert not torch.equal(moe(x), first)
    torch.manual_seed(5)
    assert torch.equal(moe(x), first)
    given = moe(x, noise=torch.zeros(30, 6))
    moe.eval()
    assert torch.equal(moe(x), given) and not torch.equal(given, first)


DRAWN = {
    "router": {
        "top_k": 2,
        "input": {"jitter": 0.1},
        "noise": {"kind": "gumbel"},
        "random_replace": {"p": 0.25},
        "expert_dropout": {"p": 0.25},
    },
    "experts": {"count": 6, "intermediate": 24, "hidden_dropout": {"p": 0.25}, "output_dropout": {"p": 0.5}},
}


def test_what_is_random_in_training_is_drawn():
    """Every step otherwise, again with the same seed; evaluation is the layer without any of it."""
    moe, x = made({**SPEC, **DRAWN}), tokens(30)
    torch.manual_seed(5)
    first = moe(x)
    assert not torch.equal(moe(x), first)
    torch.manual_seed(5)
    assert torch.equal(moe(x), first)
    plain = made({**SPEC, "router": {"top_k": 2}})
    plain.load_state_dict(moe.state_dict())
    assert torch.equal(moe.eval()(x), plain.eval()(x))


def test_distributions_of_what_is_drawn():
    moe = made({**SPEC, **DRAWN})
    torch.manual_seed(5)
    device = torch.device("cpu")
    drawn = {name: moe._draws.value(name, 4000, device, True) for name in moe._input_names}
    means = {"jitter": 0.5, "noise": 0.5772, "replace": 0.5, "replace_ids": 2.5}
    means.update({"expert_mask": 0.75, "hidden_mask": 1, "output_mask": 1})
    assert sorted(drawn) == sorted(means)
    for name, value in drawn.items():
        assert abs(float(value.double().mean()) - means[name]) < 0.05, name
    assert sorted(drawn["replace_ids"].unique().tolist()) == list(range(6))
    assert torch.equal(drawn["output_mask"].unique(), torch.tensor([0.0, 2.0]))
    assert torch.equal(drawn["hidden_mask"].unique(), torch.tensor([0.0, 1 / (1 - 0.25)]))


def test_a_library_alone_does_not_say_what_is_random():
    package = moec.compile({**SPEC, **DRAWN})
    moe = moec.torch.MoE(package.library)
    with pytest.raises(moec.MoecError, match="the layer needs the input (noise|replace_ids|expert_mask|hidden_mask)"):
        moe(tokens())
    moe.eval()(tokens())


@pytest.mark.parametrize("second, mean", [("gumbel", 0.5772), ("threshold", 0.0)])
def test_noise_of_second_experts(second, mean):
    select = {"kind": "second_policy", "k": 2, "second": second}
    if second == "threshold":
        select["threshold"] = 0.3
    noise = {} if second == "gumbel" else {"noise": {"kind": "normal"}}
    moe = made({**SPEC, "router": {"select": select, **noise}})
    torch.manual_seed(5)
    drawn = moe._draws.value("noise", 4000, torch.device("cpu"), True)
    assert abs(float(drawn.double().mean()) - mean) < 0.05


def test_dropout_of_everything():
    moe = made({**SPEC, "experts": {**SPEC["experts"], "hidden_dropout": {"p": 1}}})
    assert not moe(tokens()).any()


@pytest.mark.parametrize("scope", ["batch", "sequence"])
def test_masks_of_slots(scope):
    """A row for each slot of a sequence, or of the call; parts of a call have theirs."""
    experts = {"count": 3, "intermediate": 24, "hidden_dropout": {"p": 0.5}, "output_dropout": {"p": 0.5}}
    moe = made({**SPEC, "router": {"kind": "soft", "slots": 2, "scope": scope}, "experts": experts})
    x, count = tokens(6).view(2, 3, 40), 2 if scope == "sequence" else 1
    hidden, output = torch.ones(count, 6, 24), torch.ones(count, 6, 40)
    plain = moe(x, hidden_mask=hidden, output_mask=output)
    hidden[-1] = 0  # the last sequence, or all
    silent = moe(x, hidden_mask=hidden, output_mask=output)
    assert torch.equal(silent[0], plain[0]) == (scope == "sequence") and not silent[1].any()
    with pytest.raises(moec.MoecError, match="hidden_mask has shape"):
        moe(x, hidden_mask=torch.ones(6, 24 * count + 1), output_mask=output)
    silent[0].sum().backward()
    assert bool(moe.experts.down.grad.any()) == (scope == "sequence")
    torch.manual_seed(5)
    assert not torch.equal(moe(x), plain)  # drawn
    moe.eval()
    assert torch.equal(moe(x), plain)


def test_masks_of_slots_in_parts():
    """Sequences beyond what a package takes in one call."""
    experts = {"count": 3, "intermediate": 24, "output_dropout": {"p": 0.5}}
    moe = made({**SPEC, "router": {"kind": "soft"}, "experts": experts})
    x, mask = tokens(9000).view(9, 1000, 40), torch.rand(9, 3, 40)
    y = moe(x, output_mask=mask)
    assert torch.equal(y[8], moe(x[8:], output_mask=mask[8:])[0])


def test_reports():
    moe = made({**SPEC, "losses": LOSSES}, want=("counts", "ids"))
    y, losses, found = moe(tokens(6))
    assert int(found["counts"].sum()) == 12 and found["ids"].shape == (6, 2)
    assert not found["counts"].requires_grad and losses.requires_grad
    (y.sum() + losses.sum()).backward()


def test_checkpointing_and_moved_tensors(moe):
    x = tokens(9)
    expected = gradients(moe, x)
    again = gradients(moe, x, lambda moe, x: checkpoint(total, moe, x, use_reentrant=False))
    keeps = []

    def moved(tensor):  # to memory that begins elsewhere
        memory = torch.empty(tensor.numel() * tensor.element_size() + 4 * len(keeps) + 4, dtype=torch.uint8)
        keeps.append(memory)
        place = memory[4 * len(keeps) :][: tensor.numel() * tensor.element_size()]
        return place.view(tensor.dtype).view(tensor.shape).copy_(tensor)

    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: moved(t) if t.dtype is torch.uint8 else t):
        hooked = gradients(moe, x)
    assert keeps
    for found in (again, hooked):
        assert all(torch.equal(a, b) for a, b in zip(found, expected))


def test_more_tokens_than_a_package_takes(moe):
    small = made()
    x = tokens(9000)
    y = small(x)
    assert torch.equal(y[8500:], small(x[8500:]))
    whole = gradients(small, x, lambda moe, x: moe(x).sum())
    parts = [gradients(small, part, lambda moe, x: moe(x).sum()) for part in x.split(8192)]
    assert torch.equal(whole[0], torch.cat([part[0] for part in parts]))
    for index in range(1, 5):
        torch.testing.assert_close(whole[index], parts[0][index] + parts[1][index], rtol=1e-4, atol=1e-3)
    with pytest.raises(moec.MoecError, match="called with 9000 tokens, and was compiled for 8192; its losses"):
        moe(x)


@pytest.mark.parametrize("shape", [(0, 40), (2, 0, 40)])
def test_no_tokens(moe, shape):
    y, losses = moe(torch.zeros(shape))
    y.sum().backward()
    assert y.shape == shape and torch.isnan(losses).all()
    assert all((p.grad == 0).all() for p in moe.parameters())


def test_rows_of_any_layout(moe):
    x = tokens(8)
    expected = gradients(moe, x)
    wide = torch.cat([x, x], dim=-1)[:, :40]
    shifted = torch.empty(x.numel() + 1)[1:].view(x.shape).copy_(x)
    assert not wide.is_contiguous() and shifted.data_ptr() % 16
    for other in (wide, shifted):
        leaf = other.detach().requires_grad_()
        found = torch.autograd.grad(total(moe, leaf), [leaf, *moe.parameters()])
        assert all(torch.equal(a, b) for a, b in zip(found, expected))
    leaf = x.view(2, 4, 40).clone().requires_grad_()
    assert torch.equal(torch.autograd.grad(total(moe, leaf), leaf)[0].view(8, 40), expected[0])


def test_torch_compile(moe):
    """Without a graph break, for any number of tokens."""
    torch._dynamo.reset()
    compiled = torch.compile(moe, fullgraph=True)
    for count in (5, 7, 11):
        x = tokens(count)
        for found, expected in zip(gradients(compiled, x), gradients(moe, x)):
            assert torch.equal(found, expected)
        with torch.no_grad():
            assert torch.equal(compiled(x)[0], moe(x)[0])


def test_autocast():
    moe, x = made({**SPEC, "dtype": "bf16"}, dtype=torch.float32), tokens()
    with pytest.raises(moec.MoecError, match=r"x is of torch.float32, expected torch.bfloat16; pass x.to\("):
        moe(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(moe(x), moe(x.bfloat16()))


def test_sentences(moe):
    with pytest.raises(moec.MoecError, match=r"x has shape \(5, 39\), expected \[\.\.\., 40\]"):
        moe(tokens()[:, :39])
    with pytest.raises(moec.MoecError, match="noise is not an input of layer, which takes no inputs besides x"):
        moe(tokens(), noise=tokens())
    with pytest.raises(TypeError, match="not pickled; save its state_dict"):
        pickle.dumps(moe)
    with pytest.raises(moec.MoecError, match='compile it with "passes"'):
        moec.torch.MoE(moec.compile({k: v for k, v in SPEC.items() if k != "passes"}))
    with pytest.raises(moec.MoecError, match="dtype is torch.float16, expected torch.float32"):
        made(dtype=torch.float16)
    with pytest.raises(moec.MoecError, match="want has 'probabilities'"):
        made(want="probabilities")
    for name, wrong in (("experts.gate.more", "experts.gate"), ("forward", "forward"), ("router..weight",) * 2):
        with pytest.raises(moec.MoecError, match=f"no module can have a parameter {wrong}: "):
            made({**SPEC, "weights": {"router.weight": {"tensor": name}}})
    assert "6 experts, top-2, H 40" in repr(moe)
    ids = made({**SPEC, "inputs": {"expert_ids": True}, "router": {"kind": "external", "top_k": 2}})
    with pytest.raises(moec.MoecError, match="the layer needs the input expert_ids"):
        ids(tokens())
