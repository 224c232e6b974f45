"""Noise from tables of scores: its size, what is shared, and when nothing can be told."""

import numpy as np
import pytest

from omsweep.results.answers.item_noise import ItemNoise, Reading, jackknife_noise, paired_noise
from tests.example_sweeps import item_scores


def test_the_squares_add_up_to_the_variance_of_a_mean():
    values = np.random.default_rng(0).normal(size=50)
    without = (values.sum() - values) / 49
    assert (jackknife_noise(without) ** 2).sum() == pytest.approx(values.var(ddof=1) / 50)


def test_differences_are_surer_where_errors_are_shared():
    one, other = np.array([[0.3, 0.4], [0.0, 0.2]]), np.array([[0.3, 0.4], [0.0, 0.1]])
    noise, read = (
        ItemNoise(of={"a": one, "b": other}),
        Reading(split="search", reward=0, tax=0, reward_error=3, tax_error=4),
    )
    assert noise.difference_errors("a", read, "b", read) == (pytest.approx(0.1), 0.0)
    reward, tax = noise.difference_errors("a", read, "c", read)
    assert (reward, tax) == (pytest.approx(3 * 2**0.5), pytest.approx(4 * 2**0.5))


@pytest.fixture
def tables(folder, make_trial, make_space):
    folder.create(make_space(families=["tiny-llama"]))
    rng = np.random.default_rng(1)
    folder.write_reference_scores("tiny-llama", item_scores(rng))
    for name in ("a", "b"):
        folder.append(make_trial(name))
        folder.write_scores(name, item_scores(rng, reward=0.5, tax=2.0))
    return folder


def test_tables_tell_as_much_noise_as_their_items_have(tables):
    found = paired_noise(tables, tables.trials(), "search")
    assert set(found) == {"a", "b"}
    tax, reward = np.linalg.norm(found["a"], axis=1)
    assert reward == pytest.approx(0.1 * 2**0.5 / 40**0.5, rel=0.3)  # two tables, 40 prompts
    assert tax == pytest.approx(100 * 0.02 * 2**0.5 / 60**0.5, rel=0.3)


def test_a_table_that_is_gone_tells_nothing(tables):
    (tables.scores_folder / "b.parquet").unlink()
    assert paired_noise(tables, tables.trials(), "search") == {}


def test_a_split_that_was_not_scored_tells_nothing(tables):
    assert paired_noise(tables, tables.trials(), "confirm") == {}
