import pytest
import torch

from omsweep.evaluation.backends import batches, prefix
from omsweep.evaluation.backends.continuations import likelihoods
from omsweep.evaluation.spread import Models

ASKED = [
    ((2, 6, 8), (9,)),
    ((2, 6, 8), (10, 11, 12)),
    ((2, 6, 8), (10, 11)),
    ((2, 5), (7, 7)),
    ((2, 6, 8, 9, 9, 9, 10, 4), (3,)),
    ((2, 6, 8), (9,)),
]


def plain(model, context, continuation):
    """One pass over the whole, one row."""
    with torch.no_grad():
        logits = model(torch.tensor([[*context, *continuation]])).logits[0, len(context) - 1 : -1].double()
    found = logits.log_softmax(dim=-1)[range(len(continuation)), list(continuation)].sum()
    return float(found), logits.argmax(dim=-1).tolist() == list(continuation)


def greedy(model, context, length):
    tokens = []
    for _ in range(length):
        with torch.no_grad():
            tokens.append(int(model(torch.tensor([[*context, *tokens]])).logits[0, -1].argmax()))
    return tuple(tokens)


@pytest.mark.parametrize(
    ("rows", "bytes_", "worth"), [(256, 2**31, 256), (2, 2**31, 256), (256, 1, 256), (256, 2**31, 1)]
)
def test_each_is_that_of_a_pass_of_its_own(llama, monkeypatch, rows, bytes_, worth):
    monkeypatch.setattr(prefix, "WORTH_TOKENS", worth)
    monkeypatch.setitem(batches.CACHE_BYTES, "cpu", bytes_)
    asked = [*ASKED, *(((2, 6, 8), greedy(llama, (2, 6, 8), length)) for length in (1, 3))]
    found = likelihoods(Models(llama), asked, batch_size=rows)
    for (value, best), one in zip(found, asked, strict=True):
        expected, expected_best = plain(llama, *one)
        assert value == pytest.approx(expected, abs=1e-5)
        assert best == expected_best
    assert [best for _, best in found[-2:]] == [True, True]
    assert found[0] == found[5]


def test_nothing_asked(llama):
    assert likelihoods(Models(llama), []) == []
