# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Published models generate the same tokens with moec.torch.accelerate as without it.

The models are tiny and random (families.py); their code is that of transformers. f32: the same greedy tokens, and
logits equal up to the order of sums. bf16: logits within BF16_LOGITS of those of the model's own code.
"""

import pytest
import torch

import families
import moec.torch
from moec.torch import _ops

NEW_TOKENS = 24

# |l - r| / |r| of a token's logits in f32: sums in another order, over a handful of layers.
F32_LOGITS = 1e-4
# The same in bf16. A block may differ by 2^-5 (moec.torch.BOUNDS), typically by 2^-7, and its output is added to a
# residual stream of at least its size, three or four times: 2^-4 altogether. Models that magnify differences, as linear
# attention does, magnify these too: twice what a rounding step of the input makes of a typical token is added.
BF16_LOGITS = 2.0**-4


def prompts():
    """Three prompts of 9, 5 and 7 tokens, padded on the left."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, 100, (3, 9), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    mask[2, :2] = 0
    return ids.masked_fill(mask == 0, 0), mask


def generated(model):
    ids, mask = prompts()
    made = model.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS
    )
    return made[:, -NEW_TOKENS:]


def logits(model, moved_by=0.0):
    """[tokens, V] of the prompts' tokens; the embedded tokens are moved by a share of their value, at random."""
    ids, mask = prompts()
    more = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}

    def move(module, arguments, output):
        step = torch.randint(-1, 2, output.shape) * moved_by
        return (output.double() * (1 + step)).to(output.dtype)

    weight = model.get_input_embeddings().weight  # encoder and decoder may share it
    hooks = [
        part.register_forward_hook(move)
        for part in model.modules()
        if isinstance(part, torch.nn.Embedding) and part.weight is weight
    ]
    assert hooks
    try:
        with torch.no_grad():
            return model(input_ids=ids, attention_mask=mask, **more).logits.double()[mask.bool()]
    finally:
        for hook in hooks:
            hook.remove()


def apart(found, expected):
    return (found - expected).norm(dim=-1) / expected.norm(dim=-1)


@pytest.fixture
def calls(monkeypatch):
    """Names of the blocks that moec computed, in order."""
    names = []
    run = _ops.Call.__call__

    def counted(self, *arguments):
        names.append(self.name)
        return run(self, *arguments)

    monkeypatch.setattr(_ops.Call, "__call__", counted)
    return names


@pytest.mark.parametrize("family", families.FAMILIES)
def test_the_same_tokens_in_f32(family, calls, recwarn):
    model = families.model_of(family)
    expected, expected_logits = generated(model), logits(model)

    report = moec.torch.accelerate(model, strict=True)
    assert len(report.replaced) == families.experts_of(family), str(report)
    assert not report.kept
    calls.clear()
    found = generated(model)
    assert set(calls) == {block.name for block in report.replaced}
    assert torch.equal(found, expected)
    assert float(apart(logits(model), expected_logits).max()) < F32_LOGITS
    assert not [w for w in recwarn if "moec" in str(w.message)], "a block ran as it was"

    moec.torch.restore(model)
    calls.clear()
    assert torch.equal(logits(model), expected_logits)
    assert not calls


@pytest.mark.parametrize("family", families.FAMILIES)
def test_logits_within_the_bound_in_bf16(family):
    """A choice of experts is not continuous: where two are equally good up to rounding, the model's own code chooses one
    or the other as its input moves by one rounding step. A token beyond the bound must be such a tie: the model's own
    code gives its logits, within the bound, for one of some inputs that are one rounding step away."""
    torch.manual_seed(1)
    model = families.model_of(family, torch.bfloat16)
    expected = logits(model)
    neighbours = [logits(model, torch.finfo(torch.bfloat16).eps) for _ in range(32)]

    report = moec.torch.accelerate(model, strict=True)
    assert len(report.replaced) == families.experts_of(family), str(report)
    found = logits(model)
    far = apart(found, expected)
    nearest = torch.stack([apart(found, other) for other in neighbours]).amin(dim=0)
    bound = BF16_LOGITS + 2 * float(torch.stack([apart(other, expected) for other in neighbours]).median())
    tie = far > bound
    assert float(far.median()) < bound / 2
    assert float(nearest[tie].max() if tie.any() else 0) < bound, f"{far} {nearest}"
    assert int(tie.sum()) * 3 <= len(tie), f"{far}"
