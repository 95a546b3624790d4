# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What moec.torch.accelerate promises besides equal tokens: when a block runs as it was, and what is said about it."""

import copy
import doctest
import gc
import importlib
import os
import pathlib
import pickle
import pkgutil
import threading
import weakref

import pytest
import torch
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

import families
import moec
import moec.torch
from moec.torch import _accelerate, _check, _ops
from test_torch_families import apart, logits, prompts


@pytest.fixture
def model():
    return families.model_of("qwen3_moe")


@pytest.fixture
def calls(monkeypatch):
    made = []
    run = _ops.Call.__call__
    monkeypatch.setattr(_ops.Call, "__call__", lambda self, *a: made.append(self.name) or run(self, *a))
    return made


def blocks(model):
    return [m for m in model.modules() if type(m).__name__ == "Qwen3MoeSparseMoeBlock"]


def hidden(tokens=6, width=40):
    return torch.randn(1, tokens, width, generator=torch.Generator().manual_seed(5))


# ---- what runs as it was ----


def test_gradients_and_training_run_as_before(model, calls):
    ids, mask = prompts()
    expected = model(ids, attention_mask=mask).logits
    moec.torch.accelerate(model, strict=True)
    calls.clear()
    with pytest.warns(UserWarning, match="model.layers.1.mlp runs as it was: gradients are recorded; call the model"):
        found = model(ids, attention_mask=mask).logits
    assert torch.equal(found, expected) and found.requires_grad
    found.sum().backward()
    assert blocks(model)[0].gate.weight.grad is not None
    with torch.no_grad():
        model.train()
        model(ids, attention_mask=mask)
        assert not calls
        model.eval()
        model(ids, attention_mask=mask)
    assert calls == ["model.layers.1.mlp", "model.layers.2.mlp"]


def test_a_frozen_model_needs_no_no_grad(model, calls):
    moec.torch.accelerate(model.requires_grad_(False), strict=True)
    calls.clear()
    model(prompts()[0])
    assert len(calls) == 2


def test_autocast_other_types_and_hooks_run_as_before(model, calls):
    moec.torch.accelerate(model, strict=True)
    block, x = blocks(model)[0], hidden()
    calls.clear()
    with torch.no_grad():
        with pytest.warns(UserWarning, match="autocast is on"), torch.autocast("cpu", torch.bfloat16):
            assert block(x).shape == x.shape
        seen = []
        hook = block.experts.register_forward_hook(lambda *a: seen.append(1))
        block(x)
        hook.remove()
        assert seen and not calls
        block(x)
        assert calls


def test_hooks_of_the_router_see_it(model, calls):
    """transformers records router logits this way."""
    ids, mask = prompts()
    with torch.no_grad():
        expected = model(ids, attention_mask=mask, output_router_logits=True)
        moec.torch.accelerate(model, strict=True)
        calls.clear()
        found = model(ids, attention_mask=mask, output_router_logits=True)
    assert calls
    assert len(found.router_logits) == len(expected.router_logits) > 0
    for a, b in zip(found.router_logits, expected.router_logits):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(found.aux_loss, expected.aux_loss)


def test_router_logits_that_the_block_returns(calls):
    model = families.model_of("llama4")
    block = model.model.layers[1].feed_forward
    with torch.no_grad():
        expected = block(hidden())
        moec.torch.accelerate(model, strict=True)
        calls.clear()
        found = block(hidden())
    assert calls and isinstance(found, tuple) and len(found) == len(expected) == 2
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b)


# ---- never silently wrong ----


def test_a_block_that_computes_something_else_stays(model):
    """As if the importer misread the config: one choice more than the block makes."""
    for block in blocks(model):
        block.gate.top_k = 3
    expected = logits(model)
    report = moec.torch.accelerate(model)
    assert not report.replaced and len(report.kept) == 2
    assert report.kept[0].name == "model.layers.1.mlp"
    assert "random tokens differ from the block by up to" in report.kept[0].reason
    assert "stays as it was: its compiled form computes something else: " in str(report)
    assert torch.equal(logits(model), expected)
    with pytest.raises(moec.MoecError, match="model.layers.2.mlp: stays as it was"):
        moec.torch.accelerate(model, strict=True)


def test_one_block_of_several_stays(model, calls):
    blocks(model)[1].gate.top_k = 3
    expected = logits(model)
    report = moec.torch.accelerate(model)
    assert [b.name for b in report.replaced] == ["model.layers.1.mlp"]
    assert [b.name for b in report.kept] == ["model.layers.2.mlp"]
    calls.clear()
    assert float(apart(logits(model), expected).max()) < 1e-4
    assert calls == ["model.layers.1.mlp"]
    with pytest.raises(moec.MoecError):
        moec.torch.accelerate(model, strict=True)
    calls.clear()
    assert torch.equal(logits(model), expected)
    assert not calls, "strict leaves nothing replaced"


def test_a_small_difference_is_found():
    """A factor of 1.001 in f32 and of 1.05 in bf16; not the rounding of either."""
    x = _check.random_tokens((48, 40), torch.float32, torch.device("cpu"))
    assert _check.agreement(x, x * (1 + 2**-20), x, lambda v: v, _check.BOUNDS[torch.float32])
    assert not _check.agreement(x, x * 1.001, x, lambda v: v, _check.BOUNDS[torch.float32])
    y = x.bfloat16()
    assert not _check.agreement(y, (x * 1.05).bfloat16(), y, lambda v: v, _check.BOUNDS[torch.bfloat16])
    wrong = y.clone()
    wrong[7] = 0
    found = _check.agreement(y, wrong, y, lambda v: v, _check.BOUNDS[torch.bfloat16])
    assert not found and "1 of 48 random tokens differ" in found.problem
    wrong[7] = float("nan")
    assert not _check.agreement(y, wrong, y, lambda v: v, _check.BOUNDS[torch.bfloat16])
    assert "gives [48, 40] of torch.float32" in _check.agreement(y, x, y, lambda v: v, 0.1).problem


def test_ties_are_told_from_faults():
    """A block that chooses by the sign of a number near 0 ..."""
    x = torch.ones(32, 8, dtype=torch.bfloat16)
    x[:, 0] = torch.linspace(-1, 1, 32)
    x[5, 0] = x[5, 1] = 1.0

    def block(v):
        return torch.where((v[:, :1] - v[:, 1:2]).abs() < 1e-6, v * 2, v)

    found = block(x)
    found[5] = x[5]  # ... may be answered either way where it is 0,
    checked = _check.agreement(block(x), found, x, block, 2**-5)
    assert checked and checked.ties == 1
    found[6] = x[6] * 2  # and nowhere else
    assert not _check.agreement(block(x), found, x, block, 2**-5)


def test_changed_weights_are_noticed(model):
    moec.torch.accelerate(model, strict=True)
    for change in (
        lambda: blocks(model)[0].experts.down_proj.data.mul_(2),
        lambda: setattr(blocks(model)[0].gate, "weight", torch.nn.Parameter(torch.zeros(9, 40))),
        lambda: model.load_state_dict(model.state_dict()),
        lambda: model.half().float(),
    ):
        moec.torch.restore(model)
        model.float()
        moec.torch.accelerate(model)
        with torch.no_grad():
            change()
        with pytest.raises(moec.MoecError, match="the weights of model.layers.[12].mlp changed after they were packed"):
            logits(model)
    moec.torch.restore(model)
    assert torch.isfinite(logits(model)).all()


def test_a_copy_of_the_model_runs_as_before(model, calls):
    expected = logits(model)
    moec.torch.accelerate(model, strict=True)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        calls.clear()
        assert torch.equal(logits(other), expected)
        assert not calls
        assert len(moec.torch.accelerate(other, strict=True).replaced) == 2
        assert float(apart(logits(other), expected).max()) < 1e-4
        assert calls
    calls.clear()
    logits(model)
    assert calls, "the model itself is still accelerated"


def test_what_cannot_be_accelerated_is_named():
    report = moec.torch.accelerate(torch.nn.Linear(4, 4).eval())
    assert not report.blocks and "no config of transformers" in str(report)
    dense = Qwen3MoeForCausalLM(Qwen3MoeConfig(**{**families.SIZES, "mlp_only_layers": [0, 1, 2]})).eval()
    report = moec.torch.accelerate(dense)
    assert "no layer" in str(report)
    report = moec.torch.accelerate(families.model_of("qwen3_moe").train())
    assert "training mode" in str(report)
    with pytest.raises(moec.MoecError, match="training mode"):
        moec.torch.accelerate(families.model_of("qwen3_moe").train(), strict=True)
    report = moec.torch.accelerate(families.model_of("qwen3_moe").double())
    assert "torch.float64" in report.kept[0].reason
    nowhere = families.model_of("qwen3_moe")
    nowhere.model.layers[1].to("meta")
    report = moec.torch.accelerate(nowhere)
    assert [b.name for b in report.kept] == ["model.layers.1.mlp"] and "meta" in report.kept[0].reason


# ---- one layer, many callers ----


def test_equal_layers_are_compiled_once(monkeypatch, tmp_path, model):
    made = []
    compile_spec = _accelerate.compile_spec
    monkeypatch.setattr(_accelerate, "compile_spec", lambda *a, **k: made.append(a) or compile_spec(*a, **k))
    report = moec.torch.accelerate(model, packages=tmp_path / "packages", strict=True)
    assert len(made) == 1 and len({b.package for b in report.replaced}) == 1
    assert pathlib.Path(report.replaced[0].package).parent == tmp_path / "packages"
    assert os.listdir(tmp_path / "packages") == [pathlib.Path(report.replaced[0].package).name]
    moec.torch.accelerate(model, packages=tmp_path / "packages", strict=True)
    assert len(made) == 1, "the folder's package is used again"


def test_threads_follow_torch(model):
    before = torch.get_num_threads()
    try:
        moec.torch.accelerate(model, strict=True)
        call = _ops.call_of(blocks(model)[0].__dict__["_moec_state"].handle)
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(logits(model))
            assert call.kernels.layer(threads).threads == threads
        assert set(call.kernels._layers) >= {1, 2}
        assert float(apart(*results).max()) < 1e-5
        moec.torch.accelerate(model, threads=1, strict=True)
        call = _ops.call_of(blocks(model)[0].__dict__["_moec_state"].handle)
        logits(model)
        assert set(call.kernels._layers) == {1}
    finally:
        torch.set_num_threads(before)


def test_more_tokens_than_a_package_takes(model):
    block = blocks(model)[0]
    x = hidden(9000)
    with torch.no_grad():
        expected = block(x)
        moec.torch.accelerate(model, strict=True)
        assert _ops.call_of(block.__dict__["_moec_state"].handle).kernels.layer(1).max_tokens < 9000
        torch.testing.assert_close(block(x), expected, atol=1e-4, rtol=1e-3)


def test_hidden_states_of_any_layout(model):
    moec.torch.accelerate(model, strict=True)
    block, x = blocks(model)[0], hidden(8)
    with torch.no_grad():
        expected = block(x)
        wide = torch.cat([x, x], dim=-1)[..., :40]
        assert torch.equal(block(wide), expected)
        memory = torch.empty(x.numel() + 1)
        shifted = memory[1:].view(x.shape).copy_(x)
        assert shifted.data_ptr() % 16
        assert torch.equal(block(shifted), expected)
        assert block(x[:, :0]).shape == (1, 0, 40)


def test_many_python_threads(model):
    expected = logits(model)
    moec.torch.accelerate(model, strict=True)
    block, x = blocks(model)[0], hidden(16)
    with torch.no_grad():
        alone = block(x)
    failed = []

    def run():
        with torch.no_grad():
            for _ in range(50):
                if not torch.equal(block(x), alone):
                    failed.append(1)

    workers = [threading.Thread(target=run) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed
    assert float(apart(logits(model), expected).max()) < 1e-4


def test_a_refusal_releases_nothing(model):
    expected = logits(model)
    blocks(model)[1].gate.top_k = 3
    with pytest.raises(moec.MoecError, match="model.layers.2.mlp: stays as it was"):
        moec.torch.accelerate(model, strict=True, release_weights=True)
    blocks(model)[1].gate.top_k = 4
    assert torch.equal(logits(model), expected)


def test_weights_that_others_have_too_are_kept(model):
    """Two layers with one bank of experts, of which one cannot be replaced."""
    blocks(model)[1].experts = blocks(model)[0].experts
    blocks(model)[1].gate.top_k = 3
    expected = logits(model)
    report = moec.torch.accelerate(model, release_weights=True)
    assert [b.name for b in report.replaced] == ["model.layers.1.mlp"]
    assert float(apart(logits(model), expected).max()) < 1e-4


def test_weights_can_be_released(model, tmp_path):
    expected = logits(model)
    with torch.no_grad():
        recorded = model(prompts()[0], output_router_logits=True).router_logits
    packed = moec.torch.accelerate(model, strict=True, release_weights=True).replaced
    assert float(apart(logits(model), expected).max()) < 1e-4
    assert all(block.experts.gate_up_proj.numel() == 0 for block in blocks(model))
    assert sum(b.weights_bytes for b in packed) > 0
    with torch.no_grad():
        again = model(prompts()[0], output_router_logits=True).router_logits
    torch.testing.assert_close(again, recorded)
    with pytest.raises(moec.MoecError, match="weights of model.layers.1.mlp were released; load the model again"):
        moec.torch.restore(model)
    with pytest.raises(moec.MoecError, match="cannot run without moec, because its weights were released: gradients"):
        model(prompts()[0])
    with pytest.raises(moec.MoecError, match="released"):
        logits(copy.deepcopy(model))
    for save in (model.state_dict, lambda: model.save_pretrained(tmp_path / "saved")):
        with pytest.raises(moec.MoecError, match="layers.1.mlp were released and cannot be saved; load the model"):
            save()
    report = moec.torch.accelerate(model)
    assert "the weights of model.layers.1.mlp were released; load the model again" in str(report)
    assert float(apart(logits(model), expected).max()) < 1e-4
    with torch.no_grad():
        blocks(model)[0].gate.weight.mul_(2)
    with pytest.raises(moec.MoecError, match="changed after they were packed; their originals were released: load the"):
        logits(model)


def test_packed_weights_go_with_the_model():
    gc.collect()  # models of other tests
    model = families.model_of("qwen3_moe")
    before = len(_ops._calls)
    report = moec.torch.accelerate(model, strict=True)
    calls = [weakref.ref(_ops.call_of(block.__dict__["_moec_state"].handle).weights) for block in blocks(model)]
    assert len(_ops._calls) == before + len(calls) == before + 2
    del model, report
    gc.collect()
    assert len(_ops._calls) == before and [call() for call in calls] == [None, None]


def test_places_of_the_watch_meet_every_kind_of_expert():
    """Experts that are not multiples of 4 changed through .data; 16 even places of 64 experts meet none of them."""
    for experts, rows in ((64, 24), (128, 7), (16, 100)):
        weights = torch.zeros(experts, rows)
        part = torch.nn.Module()
        part.weight = torch.nn.Parameter(weights, requires_grad=False)
        watch = _ops.Watch(part)
        for expert in range(experts):
            if expert % 4:
                weights.data[expert] = 1
        assert watch.changed()
        places = _ops._places(experts * rows, 16)
        assert len({place // rows for place in places}) == 16 and len({place % rows for place in places}) > 4
    assert _ops._places(3, 16) == [0, 1, 2] and _ops._places(0, 16) == []


# ---- torch.compile ----


def test_operator_passes_opcheck(model):
    moec.torch.accelerate(model, strict=True)
    handle = blocks(model)[0].__dict__["_moec_state"].handle
    for arguments in ((hidden(5)[0], handle, 0), (hidden(6)[0], handle, 3)):
        torch.library.opcheck(torch.ops.moec.layer.default, arguments)


@pytest.mark.parametrize("family", ["qwen3_moe", "llama4", "minimax_m2", "gpt_oss"])
def test_compiled_whole(family):
    """torch.compile without a graph break, with the compiler of torch."""
    model = families.model_of(family)
    expected = logits(model)
    moec.torch.accelerate(model, strict=True)
    torch._dynamo.reset()
    ids, mask = prompts()
    compiled = torch.compile(model, fullgraph=True)
    with torch.no_grad():
        found = compiled(input_ids=ids, attention_mask=mask, use_cache=False).logits.double()[mask.bool()]
    assert float(apart(found, expected).max()) < 1e-4


def test_compiled_generation_gives_the_same_tokens(model):
    ids, mask = prompts()

    def tokens():
        return model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=12, min_new_tokens=12)

    expected = tokens()
    moec.torch.accelerate(model, strict=True)
    torch._dynamo.reset()
    model.forward = torch.compile(model.forward)
    assert torch.equal(tokens(), expected)


def test_a_graph_of_a_restored_model_is_not_run(model):
    moec.torch.accelerate(model, strict=True)
    handle = blocks(model)[0].__dict__["_moec_state"].handle
    moec.torch.restore(model)
    with pytest.raises(moec.MoecError, match="must be compiled again"):
        torch.ops.moec.layer(hidden()[0], handle, 0)


# ---- one layer as a module ----


def test_examples_of_docstrings(model):
    package = moec.Package(moec.torch.accelerate(model, strict=True).replaced[0].package)
    tensors = {role: torch.randn(shape) for role, shape in moec.load(package).roles.items()}
    trained = moec.compile({"moec": 1, "name": "trained", "hidden": 40, "passes": ["forward", "backward"],
                            "experts": {"count": 4, "intermediate": 8}, "router": {"top_k": 2},
                            "losses": [{"kind": "load_balance"}, {"kind": "z"}]})
    names = {"moec": moec, "torch": torch, "package": package, "tensors": tensors, "trained": trained}
    done = [doctest.testmod(importlib.import_module(m.name), extraglobs=names)
            for m in pkgutil.walk_packages(moec.torch.__path__, "moec.torch.")]
    assert sum(d.attempted for d in done) and not any(d.failed for d in done)


def test_layer(model, tmp_path):
    report = moec.torch.accelerate(model, strict=True)
    block, x = blocks(model)[0], hidden()
    with torch.no_grad():
        expected = block(x)
    model.save_pretrained(tmp_path)
    layer = moec.torch.Layer(report.replaced[0].package, tmp_path, "model.layers.1.")
    assert torch.equal(layer(x), expected)
    assert torch.equal(torch.compile(layer, fullgraph=True)(x), expected)
    assert torch.equal(copy.deepcopy(layer)(x), expected)
    assert "9 experts, top-4, H 40" in repr(layer)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(layer)
    y = layer(x.requires_grad_())
    with pytest.raises(RuntimeError, match="moec::layer has no gradient"):
        y.sum().backward()
