import pytest

from omsweep.evaluation.backends import batches as module
from omsweep.evaluation.backends.batches import batches, kept_tokens


def test_batches_hold_so_many_rows_and_so_much():
    lengths = [3, 9, 1, 9, 2, 30]
    assert list(batches([length / 18 for length in lengths], rows=3)) == [[5], [1, 3], [0, 4, 2]]
    assert list(batches([length / 1000 for length in lengths], rows=4)) == [[5, 1, 3, 0], [4, 2]]
    assert list(batches([], rows=4)) == []


@pytest.mark.parametrize("tokens", [7, 9, 49, 93, 4097])
def test_a_batch_is_filled_to_the_last_token(tokens):
    """Without a rounding error: 1 / (1 / 49) is below 49 in some orders."""
    assert [len(batch) for batch in batches([1 / tokens] * tokens, rows=10**6)] == [tokens]


def test_kept_tokens_are_those_whose_keys_and_values_fit(llama, monkeypatch):
    a_token = 2 * 2 * 32 * 4  # keys and values, layers, heads times their width, bytes of float32
    monkeypatch.setitem(module.CACHE_BYTES, "cpu", 100 * a_token + 5)
    assert kept_tokens(llama) == 100
