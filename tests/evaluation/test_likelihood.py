import math

import pytest
import torch

from omsweep.evaluation import likelihood
from omsweep.evaluation.likelihood import log_probabilities, sampled_kl

PROMPTS = [[6, 7, 8], [9], [10, 11]]
COMPLETIONS = [[12, 3], [13, 14, 15, 16], [3]]


def test_sum_of_token_log_probabilities(llama):
    expected = []
    with torch.no_grad():
        for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True):
            table = llama(torch.tensor([prompt + completion])).logits[0].double().log_softmax(dim=-1)
            places = range(len(prompt) - 1, len(prompt) + len(completion) - 1)
            expected.append(sum(float(table[p, t]) for p, t in zip(places, completion, strict=True)))
    assert log_probabilities(llama, PROMPTS, COMPLETIONS) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("at_a_time", [1, 2**27])
def test_batches_change_nothing(llama, monkeypatch, at_a_time):
    monkeypatch.setitem(likelihood.LOGITS_AT_A_TIME, "cpu", at_a_time)
    alone = [log_probabilities(llama, [p], [c])[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    assert log_probabilities(llama, PROMPTS, COMPLETIONS) == pytest.approx(alone, abs=1e-5)
    assert log_probabilities(llama, PROMPTS, COMPLETIONS, batch_size=1) == pytest.approx(alone, abs=1e-5)


def test_all_completions_of_one_token_sum_to_one(llama, tokenizer):
    words = list(range(len(tokenizer)))
    values = log_probabilities(llama, [[6, 7]] * len(words), [[word] for word in words])
    assert sum(math.exp(value) for value in values) == pytest.approx(1.0, abs=1e-5)


def test_kl_is_zero_against_itself_and_the_difference_against_another(llama, make_llama):
    other = make_llama(9)
    assert sampled_kl(llama, llama, PROMPTS, COMPLETIONS) == [0.0, 0.0, 0.0]
    difference = [
        ours - theirs
        for ours, theirs in zip(
            log_probabilities(llama, PROMPTS, COMPLETIONS), log_probabilities(other, PROMPTS, COMPLETIONS), strict=True
        )
    ]
    assert sampled_kl(llama, other, PROMPTS, COMPLETIONS) == difference
    assert any(abs(value) > 0.1 for value in difference)


def test_mean_over_draws_estimates_the_divergence(llama, make_llama, tokenizer):
    """One-token completions: the mean of log p - log q over draws from p approaches KL(p || q)."""
    other = make_llama(3)
    prompt = [6, 7, 8]
    with torch.no_grad():
        p, q = (m(torch.tensor([prompt])).logits[0, -1].double().log_softmax(dim=-1) for m in (llama, other))
    exact = float((p.exp() * (p - q)).sum())
    draws = torch.multinomial(p.exp(), 2000, replacement=True, generator=torch.Generator().manual_seed(0)).tolist()
    values = torch.tensor(sampled_kl(llama, other, [prompt] * 2000, [[token] for token in draws]))
    assert abs(float(values.mean()) - exact) <= 4 * float(values.std()) / math.sqrt(2000)
