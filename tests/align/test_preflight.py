import json
import logging
import math

import pytest
from datasets import load_from_disk

from omsweep.align.algorithms import ALGORITHMS
from omsweep.align.preflight import PreflightError, check_data, check_rows, check_start
from omsweep.align.reference import SUMMARY_FILE


@pytest.fixture
def tampered(prepared, tmp_path):
    """(algorithm, row -> row, summary changes) -> a prepared folder with every row changed."""

    def folder(algorithm, change=lambda row: row, **summary):
        source = prepared(algorithm)
        rows = load_from_disk(source).map(change)
        target = tmp_path / f"tampered-{len(list(tmp_path.iterdir()))}"
        rows.save_to_disk(target)
        known = json.loads((source / SUMMARY_FILE).read_text())
        (target / SUMMARY_FILE).write_text(json.dumps(known | summary))
        return target

    return folder


@pytest.fixture
def checked(settings, tokenizer, tmp_path):
    def run(algorithm, folder, *, tokenizer=tokenizer, **changes):
        found = check_data(
            folder,
            load_from_disk(folder),
            settings=settings(algorithm=algorithm, **changes),
            algorithm=ALGORITHMS[algorithm],
            tokenizer=tokenizer,
        )
        check_rows(folder, tokenizer, root=tmp_path)
        return found

    return run


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_good_data_pass(algorithm, prepared, checked):
    examples = 48 if algorithm == "kto" else 24
    assert checked(algorithm, prepared(algorithm)) == {"examples": examples, "truncated_share": 0.0}


@pytest.mark.parametrize(
    ("algorithm", "changes", "message"),
    [
        ("dpo", {"max_length": 16}, "must have max_length 16, got 32"),
        ("dpo", {"dtype": "bfloat16"}, "must have dtype 'bfloat16', got 'float32'"),
        ("kto", {"batch_size": 8}, "must have per_device_batch_size 8, got 4"),
    ],
)
def test_data_of_other_settings_are_refused(algorithm, changes, message, prepared, checked):
    with pytest.raises(PreflightError, match=message):
        checked(algorithm, prepared(algorithm), **changes)


def test_data_of_another_kind_are_refused(prepared, checked):
    with pytest.raises(PreflightError, match="must have data_kind 'unpaired', got 'paired'"):
        checked("kto", prepared("dpo"))


def test_another_template_in_scoring_is_refused(prepared, checked, make_tokenizer):
    other = make_tokenizer(make_tokenizer().chat_template.replace("<user>", "<bot>"))
    with pytest.raises(PreflightError, match="prepared data must have tokenizer"):
        checked("dpo", prepared("dpo"), tokenizer=other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: {"prompt_ids": [1, *row["prompt_ids"]]}, r"exactly one BOS \('<s>'\), got 24 of 24 .* one with 2"),
        (lambda row: {"prompt_ids": row["prompt_ids"][1:]}, r"exactly one BOS .* got 24 of 24 .* one with 0"),
        (lambda row: {"rejected_ids": [*row["rejected_ids"], 1]}, "exactly one BOS"),
        (
            lambda row: {"chosen_ids": row["chosen_ids"][:-1]},
            r"must train their end token \('</s>'\), got 24 of 24 chosen_ids",
        ),
        (lambda row: {"prompt_ids": [*row["prompt_ids"], 9]}, "training and scoring must see the same prompt"),
    ],
    ids=["two BOS", "no BOS", "late BOS", "no EOS", "other prompt"],
)
def test_wrong_tokens_are_refused(change, message, tampered, checked):
    with pytest.raises(PreflightError, match=message):
        checked("dpo", tampered("dpo", change))


def test_one_bad_row_is_enough(tampered, checked):
    def change(row, seen=[]):  # noqa: B006 - counts the calls
        seen.append(row)
        return {"completion_ids": row["completion_ids"][:-1]} if len(seen) == 7 else row

    with pytest.raises(PreflightError, match="got 1 of 48 completion_ids"):
        checked("kto", tampered("kto", change))


def test_plain_text_is_refused_unless_it_was_asked_for(prepared, tampered, checked, make_pairs):
    plain = [{name: messages[0]["content"] for name, messages in record.items()} for record in make_pairs(8)]
    folder = prepared("dpo", records=plain, rendering="plain")
    with pytest.raises(PreflightError, match="exactly one BOS"):  # this tokenizer adds none to plain text
        checked("dpo", folder)
    folder = tampered("dpo", lambda row: {"prompt": row["prompt"][0]["content"]})
    with pytest.raises(PreflightError, match="without the chat template that scoring uses"):
        checked("dpo", folder)
    assert checked("dpo", tampered("dpo", rendering="plain"))["examples"] == 24


def test_truncated_examples_are_counted_and_said(prepared, checked, caplog):
    with caplog.at_level(logging.INFO, logger="omsweep.align.preflight"):
        found = checked("dpo", prepared("dpo", max_length=14), max_length=14)
    assert 0 < found["truncated_share"] < 1
    assert "examples are truncated at max_length 14" in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING


@pytest.mark.parametrize(
    ("algorithm", "beta", "loss"),
    [("dpo", 0.1, math.log(2)), ("ipo", 0.1, 25.0), ("ipo", 0.5, 1.0), ("kto", 0.3, 0.5)],
)
def test_the_first_loss_is_known(algorithm, beta, loss):
    wanted = ALGORITHMS[algorithm].initial_loss(beta)
    assert wanted == pytest.approx(loss)
    common = {"algorithm": ALGORITHMS[algorithm], "wanted": wanted, "dtype": "float32"}
    assert check_start(loss=loss, log_ratio_nats=0.0, **common)["expected_loss"] == pytest.approx(loss)
    for wrong in (loss + 2e-3 * max(1, loss), loss - 2e-3 * max(1, loss), math.nan):
        with pytest.raises(PreflightError, match=f"the first {algorithm} loss must be"):
            check_start(loss=wrong, log_ratio_nats=0.0, **common)
    for wrong in (0.05, math.nan):
        with pytest.raises(PreflightError, match="must equal the cached reference log-probs"):
            check_start(loss=loss, log_ratio_nats=wrong, **common)
