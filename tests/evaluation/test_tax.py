import copy
import json
import logging
import random
import shutil
import warnings

import numpy as np
import pytest
import torch

from omsweep.evaluation.generation import generate
from omsweep.evaluation.score import COLUMNS
from omsweep.evaluation.tax import score_tax
from tests.evaluation.conftest import CHAT

NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + CHAT
MUTE_SYSTEM = CHAT.replace("for m in messages", "for m in messages if m['role'] != 'system'")


@pytest.fixture
def own_suite(suite_path, tmp_path):
    return shutil.copytree(suite_path, tmp_path / "suite")


def rewrite(path, change):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(change(number, record)) + "\n" for number, record in enumerate(records)))


def test_one_row_per_item_of_the_split(llama, tokenizer, suite_path):
    scores = score_tax(llama, tokenizer, suite=str(suite_path), split="search")
    assert tuple(scores.columns) == tuple(name for name in COLUMNS if name in scores), "in that order"
    repeat = scores[scores["task"] == "repeat"]
    assert list(repeat["item_id"]) == [f"repeat-{number}" for number in range(30) if number % 3]
    assert set(scores["split"]) == {"search"}
    assert dict(scores.groupby("category")["task"].nunique()) == {"choice": 1, "talk": 2}
    assert scores["score"].isin([0.0, 1.0]).all()
    report = score_tax(llama, tokenizer, suite=str(suite_path), split="report")
    assert not set(report["item_id"]) & set(scores["item_id"])


def test_items_are_right_exactly_where_the_answer_is_what_the_model_says(llama, tokenizer, own_suite):
    """Answers are set to the greedy completion of the same chat for even items, to something else for odd ones."""
    data = own_suite / "data" / "repeat.jsonl"
    prompts = [json.loads(line)["prompt"] for line in data.read_text().splitlines()]
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    said = [row[0].text for row in generate(llama, tokenizer, chats, temperature=0.0, max_new_tokens=4)]
    said = [text.split(".")[0] for text in said]
    rewrite(data, lambda i, record: {**record, "answer": said[i] if i % 2 == 0 else said[i] + " no"})
    scores = score_tax(llama, tokenizer, suite=str(own_suite), split="search").query("task == 'repeat'")
    numbers = scores["item_id"].str.removeprefix("repeat-").astype(int)
    assert list(scores["score"]) == [float(number % 2 == 0) for number in numbers]
    assert list(scores["completion"]) == [said[number] for number in numbers]


def test_a_choice_is_right_where_its_likelihood_is_largest(llama, tokenizer, suite_path):
    scores = score_tax(llama, tokenizer, suite=str(suite_path), split="search").query("task == 'choosing'")
    records = [json.loads(line) for line in (suite_path / "data" / "choosing.jsonl").read_text().splitlines()]
    from omsweep.evaluation.suite import load_suite

    chosen = load_suite(suite_path).chosen("search", None)["choosing"]
    choices = tokenizer.convert_tokens_to_ids(["yes", "no"])
    expected = []
    for item in chosen:
        chat = [{"role": "user", "content": records[item.index]["prompt"]}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        with torch.no_grad():
            logits = llama(**tokenizer(text, add_special_tokens=False, return_tensors="pt")).logits[0, -1]
        expected.append(float(int(logits[choices].argmax()) == records[item.index]["label"]))
    # lm-eval joins context and choice into one text, "<assistant>yes": our word-level tokenizer splits there.
    assert list(scores["score"]) == expected
    assert 0 < sum(expected) < len(expected)


def test_scores_do_not_depend_on_the_batch_nor_on_an_earlier_call(llama, make_llama, tokenizer, suite_path):
    first = score_tax(llama, tokenizer, suite=str(suite_path), split="search", batch_size=64)
    other = score_tax(make_llama(5), tokenizer, suite=str(suite_path), split="search")
    again = score_tax(llama, tokenizer, suite=str(suite_path), split="search", batch_size=3)
    assert first.equals(again)
    assert not first["completion"].equals(other["completion"])


def test_limit(llama, tokenizer, suite_path):
    scores = score_tax(llama, tokenizer, suite=str(suite_path), split="report", limit=2)
    assert dict(scores.groupby("task").size()) == {"answer": 2, "choosing": 2, "repeat": 2}


def test_nothing_is_printed_and_everything_is_left_as_it_was(make_llama, tokenizer, suite_path, capfd, caplog):
    import lm_eval.api.task
    from tqdm import tqdm

    model = make_llama(1).train()
    score_tax(model, tokenizer, suite=str(suite_path), split="search", limit=1)
    capfd.readouterr()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    level = logging.getLogger("lm_eval").level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score_tax(model, tokenizer, suite=str(suite_path), split="search")
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]
    assert logging.getLogger("lm_eval").level == level
    assert lm_eval.api.task.tqdm is tqdm
    assert model.training


def test_a_tokenizer_without_template_warns(llama, tokenizer, suite_path):
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.warns(UserWarning, match="no chat template: tax items are given as plain text"):
            plain = score_tax(llama, tokenizer, suite=str(suite_path), split="search")
    finally:
        tokenizer.chat_template = template
    assert not plain["completion"].equals(
        score_tax(llama, tokenizer, suite=str(suite_path), split="search")["completion"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("higher_is_better: true", "higher_is_better: false"), "'exact_match' is better when lower"),
        (("category: talk", "metric: f1"), r"metric must be one of \['exact_match'\], got 'f1'"),
        (("category: talk", "filter: strict"), r"metadata.filter must be one of \['none'\], got 'strict'"),
        (("exact_match, aggregation: mean", "bleu, aggregation: bleu"), r"metric 'bleu' must be in \[0, 1\] for each"),
    ],
)
def test_a_metric_that_cannot_be_a_tax_is_named(llama, tokenizer, own_suite, change, message):
    task = own_suite / "repeat.yaml"
    task.write_text(task.read_text().replace(*change))
    with pytest.raises(ValueError, match=message):
        score_tax(llama, tokenizer, suite=str(own_suite), split="search", limit=2)


def test_a_chosen_filter_is_used(llama, tokenizer, own_suite):
    task = own_suite / "repeat.yaml"
    filters = (
        "filter_list:\n"
        "  - {name: strict, filter: [{function: regex, regex_pattern: 'never'}, {function: take_first}]}\n"
        "  - {name: all, filter: [{function: take_first}]}\n"
    )
    task.write_text(task.read_text() + filters)
    first = score_tax(llama, tokenizer, suite=str(own_suite), split="search", limit=3).query("task == 'repeat'")
    assert set(first["completion"]) == {"[invalid]"}
    task.write_text(task.read_text().replace("category: talk", "category: talk, filter: all"))
    second = score_tax(llama, tokenizer, suite=str(own_suite), split="search", limit=3).query("task == 'repeat'")
    assert "[invalid]" not in set(second["completion"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"suite": "nope", "split": "search"},
            r"tax suite must be one of \['paper', 'public', 'quick', 'smollm2', 'tiny'\]",
        ),
        ({"suite": "tiny", "split": "test"}, r"split must be one of \['search', 'report'\], got 'test'"),
    ],
)
def test_unknown_names_list_what_is_allowed(llama, tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        score_tax(llama, tokenizer, **arguments)


@pytest.mark.parametrize("template", [NO_SYSTEM, MUTE_SYSTEM])
def test_an_item_whose_system_turn_the_template_does_not_render_is_named(llama, tokenizer, own_suite, template):
    file = own_suite / "repeat.yaml"
    file.write_text(file.read_text() + 'description: "please say one"\n')
    mine = copy.deepcopy(tokenizer)
    mine.chat_template = template
    with pytest.raises(
        ValueError, match=r"tax item 'say .*': the chat template of .* renders .*system turn.*; put the"
    ):
        score_tax(llama, mine, suite=str(own_suite), split="search")
