import pytest
import torch

from omsweep.evaluation.backends import prefix
from omsweep.evaluation.backends.prefix import left_padded, read_prompts

ROWS = [(2, 6, 8, 9), (2, 6, 8, 10, 11, 12), (2, 6, 8)]


def test_left_padding():
    input_ids, mask = left_padded([[5, 6], [7]], pad=3)
    assert input_ids.tolist() == [[5, 6], [3, 7]]
    assert mask.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize("worth", [1, 5])
def test_logits_are_those_of_each_prompt_by_itself(llama, monkeypatch, worth):
    """Two tokens are alike in all three rows, four are saved."""
    monkeypatch.setattr(prefix, "WORTH_TOKENS", worth)
    with torch.no_grad():
        input_ids, mask, cache = read_prompts(llama, ROWS, pad=0)
        known = 0 if cache is None else cache.get_seq_length()
        assert known == (2 if worth == 1 else 0)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        logits = llama(
            input_ids[:, known:], attention_mask=mask, position_ids=positions[:, known:], past_key_values=cache
        ).logits[:, -1]
        for row, found in zip(ROWS, logits, strict=True):
            torch.testing.assert_close(found, llama(torch.tensor([row])).logits[0, -1], rtol=0, atol=1e-5)
    assert [ids[one == 1].tolist() for ids, one in zip(input_ids, mask, strict=True)] == [list(row) for row in ROWS]


def test_a_layer_that_does_not_see_every_token_gets_no_gap(llama, monkeypatch):
    monkeypatch.setattr(prefix, "WORTH_TOKENS", 1)
    monkeypatch.setattr(prefix, "DynamicLayer", type("Another", (), {}))
    _, mask, cache = read_prompts(llama, ROWS, pad=0)
    assert cache is None
    assert mask[:, -1].tolist() == [1, 1, 1]
    assert mask.sum(dim=1).tolist() == [len(row) for row in ROWS]
