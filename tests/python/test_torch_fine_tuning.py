# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""moec.torch.accelerate(model, train=True): published models learn as they do without it, and what is said if not."""

import copy

import pytest
import torch

import families
import moec
import moec.torch
from moec.torch import _train
from test_torch_families import logits, prompts

STEPS = 50
# |loss - own| of each step, over the first step's loss. f32: gradients differ in the order of sums, by 2^-20; Adam
# divides them by their size, so that 50 steps make a small multiple. bf16: parameters are rounded at each step to 2^-8,
# and a rounding that goes the other way is never undone: the two are runs of the same noise.
CURVES = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
# Family, whether its loss has the router's.
MODELS = {"qwen3_moe": True, "mixtral": True, "deepseek_v3": False, "gpt_oss": True}


@pytest.fixture
def calls(monkeypatch):
    """Names of blocks that moec computed; then " backward"."""
    made = []
    for name in ("forward", "backward"):
        run = getattr(_train.Trainable, name)

        def counted(self, *arguments, name=name, run=run):
            made.append(self.name + ("" if name == "forward" else " backward"))
            return run(self, *arguments)

        monkeypatch.setattr(_train.Trainable, name, counted)
    return made


@pytest.fixture
def model():
    return families.model_of("qwen3_moe")


def learn(model, router_losses, steps=STEPS):
    """The losses of some steps on four sentences of 24 tokens."""
    model.train()
    ids = torch.randint(5, 100, (4, 24), generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    options = {"output_router_logits": True} if router_losses else {}
    curve = []
    for _ in range(steps):
        optimizer.zero_grad()
        output = model(input_ids=ids, labels=ids, **options)
        if router_losses:
            assert output.aux_loss.requires_grad and float(output.aux_loss) > 0
        output.loss.backward()
        optimizer.step()
        curve.append(output.loss.item())
    return torch.tensor(curve)


@pytest.mark.parametrize("dtype", CURVES, ids=["f32", "bf16"])
@pytest.mark.parametrize("family", MODELS)
def test_the_loss_curve(family, dtype, calls, recwarn):
    own = families.model_of(family, dtype)
    model = copy.deepcopy(own)
    expected = learn(own, MODELS[family])
    report = moec.torch.accelerate(model, train=True, strict=True)
    assert len(report.replaced) == families.experts_of(family) and "gradients differ by at most" in str(report)
    calls.clear()
    found = learn(model, MODELS[family])
    names = [block.name for block in report.replaced]
    assert calls == STEPS * (names + [name + " backward" for name in reversed(names)])
    assert float(expected[-1]) < 0.2 * float(expected[0])
    assert float((found - expected).abs().max()) < CURVES[dtype] * float(expected[0])
    assert not [w for w in recwarn if "moec" in str(w.message)], "a block ran as it was"
    if dtype is torch.float32:
        moec.torch.restore(model)
        for (name, a), b in zip(model.named_parameters(), own.parameters()):
            assert (a - b).norm() < 1e-2 * b.norm(), name


@pytest.mark.parametrize("family", ["qwen2_moe", "llama4", "jetmoe", "switch_transformers"])
def test_gradients_of_other_families(family):
    """Shared experts with a gate, weights on the input, routers that the block returns, experts with few places."""
    report = moec.torch.accelerate(families.model_of(family), train=True, strict=True)
    assert len(report.replaced) == families.experts_of(family)
    assert max(block.gradients for block in report.replaced) < 2**-15


def test_jitter_in_training():
    """Mixtral multiplies what a layer reads by random numbers in training; torch draws the same ones for its package."""
    model = families.model_of("mixtral", router_jitter_noise=0.1).train()
    own = copy.deepcopy(model)
    name = moec.torch.accelerate(model, train=True, strict=True).replaced[0].name

    def step(module, seed):
        torch.manual_seed(seed)
        return module(torch.randn(2, 4, 40, generator=torch.Generator().manual_seed(1)))

    block, reference = model.get_submodule(name), own.get_submodule(name)
    assert block.training
    torch.testing.assert_close(step(block, 3), step(reference, 3), atol=1e-5, rtol=1e-3)
    assert not torch.equal(step(block, 4), step(block, 3))
    torch.testing.assert_close(step(block.eval(), 4), step(reference.eval(), 5), atol=1e-5, rtol=1e-3)


def test_dropout_that_a_package_does_not_have():
    model = families.model_of("mixtral")
    for layer in model.model.layers:
        layer.mlp.add_module("dropout", torch.nn.Dropout(0.2))
    report = moec.torch.accelerate(model, train=True)
    assert not report.replaced and "dropout drops values in training" in str(report.kept[0])


def test_evaluation_and_generation_use_the_weights_of_now(model, calls):
    expected = copy.deepcopy(model)
    moec.torch.accelerate(model, train=True, strict=True)
    learn(model, True, steps=3)
    learn(expected, True, steps=3)
    calls.clear()
    torch.testing.assert_close(logits(model.eval()), logits(expected.eval()), atol=1e-4, rtol=1e-3)
    assert calls == ["model.layers.1.mlp", "model.layers.2.mlp"]
    ids, mask = prompts()
    options = dict(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=8, min_new_tokens=8)
    assert torch.equal(model.generate(**options), expected.generate(**options))


def test_frozen_parameters(model, calls):
    """Only the routers are trained: no gradient of experts is computed."""
    moec.torch.accelerate(model, train=True, strict=True)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("gate.weight" in name)
    learn(model, True, steps=2)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == ("gate.weight" in name), name


def test_gradient_checkpointing_and_torch_compile(model):
    own = copy.deepcopy(model)
    expected = learn(own, False, steps=3)
    saved = copy.deepcopy(model)
    moec.torch.accelerate(saved, train=True, strict=True)
    saved.gradient_checkpointing_enable()
    torch.testing.assert_close(learn(saved, False, steps=3), expected, atol=1e-4, rtol=1e-4)
    moec.torch.accelerate(model, train=True, strict=True)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(learn(compiled, False, steps=3), expected, atol=1e-4, rtol=1e-4)


def test_other_gradients_are_found(model):
    """The same values, with a gradient of the hidden states that is not theirs."""
    block = model.model.layers[1].mlp
    forward = type(block).forward

    class Other(type(block)):
        def forward(self, hidden_states):
            return forward(self, hidden_states) + 0.01 * (hidden_states - hidden_states.detach())

    block.__class__ = Other
    report = moec.torch.accelerate(model, train=True)
    assert [b.name for b in report.kept] == ["model.layers.1.mlp"]
    assert "its compiled form has other gradients: that of hidden states differs by" in report.kept[0].reason
    assert [b.name for b in report.replaced] == ["model.layers.2.mlp"]


def test_a_parameter_that_moec_does_not_see(model):
    block = model.model.layers[1].mlp
    forward = type(block).forward

    class Scaled(type(block)):
        def forward(self, hidden_states):
            return forward(self, hidden_states) * self.factor

    block.__class__ = Scaled
    block.factor = torch.nn.Parameter(torch.ones(1))
    report = moec.torch.accelerate(model, train=True)
    assert "its compiled form has no gradient of factor" in report.kept[0].reason


def test_sentences_and_restoring(model, calls):
    expected = logits(model)
    assert "choose one of them" in str(moec.torch.accelerate(model, train=True, release_weights=True))
    with pytest.raises(moec.MoecError, match="choose one of them"):
        moec.torch.accelerate(model, train=True, release_weights=True, strict=True)
    assert "pass train=True" in str(moec.torch.accelerate(model.train()))
    moec.torch.accelerate(model.eval(), train=True, strict=True)
    other = copy.deepcopy(model)
    calls.clear()
    assert torch.equal(logits(other), expected) and not calls, "a copy runs as it was"
    moec.torch.restore(model)
    assert torch.equal(logits(model), expected) and not calls
    moec.torch.accelerate(model, strict=True)
    with pytest.warns(UserWarning, match="or accelerate it with train=True"):
        model(prompts()[0])
