"""Tax and reward ask one model the same questions and must get the same answers."""

import copy
import json
import math

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig

from omsweep.evaluation.reward import score_reward
from omsweep.evaluation.score import score_policy
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.tax import score_tax
from omsweep.families.decoding import DecodingSettings, resolved_decoding

LENGTH = 8
QUESTIONS = [f"{a} {b}{' please' * n}" for a in ("say", "sum") for b in ("one", "two", "six", "yes") for n in range(3)]
TASK = """
task: asked
dataset_path: json
dataset_kwargs: {data_files: {test: asked.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{prompt}}"
doc_to_target: "yes"
generation_kwargs: {until: [], max_gen_toks: 8, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """One file of questions, which a suite's task and the reward prompts read."""
    folder = tmp_path_factory.mktemp("asked")
    records = [{"id": f"q{n}", "split": "search", "prompt": question} for n, question in enumerate(QUESTIONS)]
    (folder / "asked.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "asked.yaml").write_text(TASK)
    return folder


@pytest.fixture
def answers(suite, make_llama, tokenizer):
    """Tax answers and greedy reward answers of a model, as a sweep makes them."""

    def ask(*, decoding=None, tokenizer=tokenizer, batch_size=256, **checkpoint):
        model = make_llama(2)
        model.generation_config = GenerationConfig(**{"eos_token_id": tokenizer.eos_token_id, **checkpoint})
        settings = EvaluateSettings(
            tax=str(suite),
            reward={"scorer": "tiny", "prompts": str(suite / "asked.jsonl")},
            samples=1,
            max_new_tokens=LENGTH,
            batch_size=batch_size,
        )
        decoding = resolved_decoding(tokenizer, model.generation_config, DecodingSettings(**(decoding or {})))
        table = score_policy(model, tokenizer, settings=settings, split="search", seed=0, decoding=decoding)
        greedy = table[table["decoder"] == "greedy"]
        return [list(greedy.loc[greedy["kind"] == kind, "completion"]) for kind in ("tax", "reward")]

    return ask


@pytest.fixture
def turn_end_tokenizer(tokenizer):
    """Turns end with `<user>`, an ordinary special token here, not with the end token."""
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = tokenizer.chat_template.replace(" <eos> ", " <user> ")
    return changed


@pytest.mark.parametrize(
    "checkpoint",
    [
        {"repetition_penalty": 5.0},
        {"eos_token_id": [3, 14]},  # <eos> and a word
        {"suppress_tokens": [16, 17, 18]},
        {"do_sample": True, "temperature": 3.0, "top_k": 5},
        {"num_beams": 3},
    ],
    ids=lambda checkpoint: next(iter(checkpoint)),
)
def test_both_paths_give_one_answer_whatever_the_checkpoint_says(answers, checkpoint):
    tax, reward = answers(**checkpoint)
    assert tax == reward
    assert (tax == answers()[0]) == ("eos_token_id" not in checkpoint)


@pytest.mark.parametrize(
    "said", [{"repetition_penalty": 2.0}, {"stop_tokens": ["four"]}], ids=lambda said: next(iter(said))
)
def test_what_a_family_says_holds_on_both_paths_in_any_batch(answers, said):
    tax, reward = answers(decoding=said)
    assert tax == reward != answers()[0]
    assert answers(decoding=said, batch_size=2) == [tax, reward]


def test_answers_stop_at_the_templates_turn_end(answers, turn_end_tokenizer):
    tax, reward = answers(tokenizer=turn_end_tokenizer)
    assert tax == reward
    assert any(len(answer.split()) < LENGTH for answer in tax)
    assert all("<user>" not in answer for answer in tax)
    to_the_end, _ = answers()
    # a special token is left out of the text: before, an answer went on after it
    assert all(whole.startswith(answer) for whole, answer in zip(to_the_end, tax, strict=True))
    assert tax != to_the_end


def test_a_tokenizer_that_adds_a_bos_of_its_own_adds_none_to_a_rendered_chat(answers, tokenizer):
    adding = copy.deepcopy(tokenizer)
    adding.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    assert adding("say")["input_ids"][0] == 2
    assert answers(tokenizer=adding) == answers()


def test_sampling_that_a_task_asks_for_is_not_done_and_said(llama, tokenizer, suite, tmp_path):
    (tmp_path / "asked.jsonl").write_text((suite / "asked.jsonl").read_text())
    (tmp_path / "asked.yaml").write_text(TASK.replace("do_sample: false", "do_sample: true, temperature: 2.0"))
    with pytest.warns(UserWarning, match="tax items are answered greedily .* 'temperature': 2.0"):
        drawn = score_tax(llama, tokenizer, suite=str(tmp_path), split="search")
    assert list(drawn["completion"]) == list(
        score_tax(llama, tokenizer, suite=str(suite), split="search")["completion"]
    )


def test_kl_under_a_penalty_is_said_to_be_without(llama, tokenizer, suite):
    decoding = resolved_decoding(tokenizer, llama.generation_config, DecodingSettings(repetition_penalty=2.0))
    prompts = {"scorer": "tiny", "prompts": str(suite / "asked.jsonl")}
    with pytest.warns(
        UserWarning, match="kl is that without a penalty, but samples are drawn with repetition_penalty 2"
    ):
        table = score_reward(
            llama, tokenizer, scorer=prompts, split="search", max_new_tokens=4, reference_model=llama, decoding=decoding
        )
    assert set(table.loc[table["decoder"] == "sampled", "kl"]) == {0.0}
    assert table.loc[table["decoder"] == "greedy", ["kl", "kl_sampled"]].map(math.isnan).all(axis=None)
