"""Log-probs are computed for what runs read, once, whatever was computed before: not for whole data sets."""

import numpy as np
import pytest
import torch
from tqdm import tqdm
from transformers import LlamaForCausalLM

from omsweep.align import reference
from omsweep.align.data import prepare_data
from omsweep.align.order import Reading, rows_read
from omsweep.align.preflight import PreflightError
from omsweep.align.reference import COLUMNS, open_prepared, score_reference

READINGS = (Reading(seed=3, examples=6), Reading(seed=4, examples=6))


class KilledError(Exception):
    pass


def stopping_after(count):
    """A progress bar that kills the scoring after so many examples."""

    class Bar(tqdm):
        def update(self, n=1):
            super().update(n)
            if self.n >= count:
                raise KilledError

    return Bar


@pytest.fixture
def tokens(preferences, make_pairs, sft_path, tokenizer, tmp_path):
    """Algorithm -> a fresh folder of 24 tokenised pairs without log-probs."""

    def folder(algorithm, name="first"):
        options = {"model_path": sft_path, "tokenizer": tokenizer, "batch_size": 4, "max_length": 32}
        return prepare_data(preferences(make_pairs(24)), algorithm=algorithm, root=tmp_path / name, **options)

    return folder


@pytest.fixture
def score(sft_path, tokenizer):
    def run(data, readings, progress=tqdm, **part):
        def model():
            return LlamaForCausalLM.from_pretrained(sft_path, dtype=torch.float32).eval()

        return score_reference(data, readings, model=model, tokenizer=tokenizer, progress=progress, **part)

    return run


def numbers(data, algorithm="dpo"):
    kind = "unpaired" if algorithm == "kto" else "paired"
    rows = open_prepared(data).with_format("numpy")
    return np.stack([rows[name] for name in COLUMNS[kind]], axis=1)


@pytest.mark.parametrize("algorithm", ["dpo", "kto"])
def test_only_what_is_read_is_scored_and_nothing_twice(algorithm, tokens, score):
    data = tokens(algorithm)
    group = 4 if algorithm == "kto" else 1
    readings = [Reading(seed=one.seed, examples=8, group=group) for one in READINGS]
    read = rows_read(len(open_prepared(data)), readings)
    assert score(data, readings) == len(read) < len(open_prepared(data))
    assert (np.flatnonzero(~np.isnan(numbers(data, algorithm)).any(1)) == read).all()
    assert score(data, readings) == 0
    assert score(data, None) == len(open_prepared(data)) - len(read)


@pytest.mark.parametrize("algorithm", ["dpo", "kto"])
def test_numbers_do_not_depend_on_what_else_is_asked_for(algorithm, tokens, score):
    whole, parts = tokens(algorithm), tokens(algorithm, "second")
    score(whole, None)
    score(parts, [Reading(seed=9, examples=4)])
    for part in range(3):
        score(parts, None, part=part, parts=3)
    assert np.array_equal(numbers(whole, algorithm), numbers(parts, algorithm))


def test_a_killed_scoring_goes_on_where_it_was(tokens, score, monkeypatch):
    monkeypatch.setattr(reference, "FILE_SECONDS", 0)
    data = tokens("dpo")
    with pytest.raises(KilledError):
        score(data, READINGS, progress=stopping_after(5))
    kept = int((~np.isnan(numbers(data)[:, 0])).sum())
    assert kept == 4  # the fifth was counted and not yet kept
    assert score(data, READINGS) == len(rows_read(24, READINGS)) - kept


def test_a_run_of_more_than_was_scored_is_refused(tokens, score, run):
    data = tokens("dpo")
    score(data, [Reading(seed=3, examples=4)])
    with pytest.raises(PreflightError, match="must have ref_chosen_logps, got 12 of 16 without"):
        run(data=data)


def test_a_run_reads_what_its_settings_say(tokens, score, run, settings):
    data = tokens("dpo")
    assert score(data, [settings(steps=3).pairs_read]) == 12
    outcome, _ = run(data=data, steps=3)
    assert outcome.state == "completed"
