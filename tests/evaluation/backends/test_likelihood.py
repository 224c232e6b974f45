import math

import numpy as np
import pytest
import torch

from omsweep.evaluation.backends import likelihood
from omsweep.evaluation.backends.likelihood import divergences
from omsweep.evaluation.generation import encode_prompts, generate

PROMPTS = [[6, 7, 8], [9], [10, 11]]
COMPLETIONS = [[12, 3], [13, 14, 15, 16], [3]]


@pytest.fixture(scope="module")
def other(make_llama):
    return make_llama(9)


def by_hand(policy, reference, prompt, completion):
    """Exact divergence and log ratio of one completion, token by token and word by word, without a batch."""
    exact = drawn = 0.0
    for place, token in enumerate(completion):
        context = torch.tensor([[*prompt, *completion[:place]]])
        with torch.no_grad():
            p, q = (model(context).logits[0, -1].double().softmax(dim=-1).tolist() for model in (policy, reference))
        exact += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        drawn += math.log(p[token] / q[token])
    return exact, drawn


def test_both_divergences_by_hand(llama, other):
    expected = [by_hand(llama, other, x, y) for x, y in zip(PROMPTS, COMPLETIONS, strict=True)]
    assert divergences(llama, other, PROMPTS, COMPLETIONS) == pytest.approx(np.array(expected), abs=1e-4)
    assert min(exact for exact, _ in expected) > 0.1


@pytest.mark.parametrize("at_a_time", [1, 40, 2**27])
def test_batches_and_slices_change_nothing(llama, other, monkeypatch, at_a_time):
    monkeypatch.setitem(likelihood.LOGITS_AT_A_TIME, "cpu", at_a_time)
    alone = np.concatenate([divergences(llama, other, [x], [y]) for x, y in zip(PROMPTS, COMPLETIONS, strict=True)])
    assert divergences(llama, other, PROMPTS, COMPLETIONS) == pytest.approx(alone, abs=1e-5)
    assert divergences(llama, other, PROMPTS, COMPLETIONS, batch_size=1) == pytest.approx(alone, abs=1e-5)


def test_a_slice_never_holds_more_logits_than_the_limit(llama, other, monkeypatch):
    sizes = []
    monkeypatch.setitem(likelihood.LOGITS_AT_A_TIME, "cpu", 3 * llama.config.vocab_size)
    monkeypatch.setattr(likelihood, "kl_div", lambda q, p, **_: sizes.append(p.numel()) or torch.zeros_like(p))
    divergences(llama, other, [[6]], [[7] * 20])
    assert len(sizes) == 7
    assert max(sizes) == 3 * llama.config.vocab_size


def test_a_model_against_itself_gives_exactly_zero(llama):
    assert not divergences(llama, llama, PROMPTS, COMPLETIONS).any()


def test_log_ratios_of_all_completions_of_one_token_average_to_the_exact_divergence(llama, other, tokenizer):
    """Sum over words of p(word) (log p(word) - log q(word)) is what the first column says of each of them."""
    words = list(range(len(tokenizer)))
    with torch.no_grad():
        p = llama(torch.tensor([[6, 7]])).logits[0, -1].double().softmax(dim=-1).numpy()
    exact, drawn = divergences(llama, other, [[6, 7]] * len(words), [[word] for word in words]).T
    assert exact == pytest.approx(np.full(len(words), p @ drawn), abs=1e-5)


def test_over_draws_both_have_one_mean_and_the_exact_one_the_smaller_variance(llama, other, tokenizer):
    chats = [[{"role": "user", "content": text}] for text in ("say one", "sum two please", "yes")]
    drawn = generate(llama, tokenizer, chats, samples=200, max_new_tokens=4)
    prompts = [ids for ids in encode_prompts(tokenizer, chats) for _ in range(200)]
    found = divergences(llama, other, prompts, [one.token_ids for row in drawn for one in row]).reshape(3, 200, 2)
    spread = found.std(axis=1, ddof=1)
    standard_error = np.hypot(spread[:, 0], spread[:, 1]) / math.sqrt(200)
    assert (abs(found.mean(axis=1)[:, 0] - found.mean(axis=1)[:, 1]) < 4 * standard_error).all()
    assert (spread[:, 0] < spread[:, 1]).all()
