"""A server gives what the model in this process gives; what it does wrong is one clear error."""

import copy

import pandas as pd
import pytest
from tokenizers.processors import TemplateProcessing

from omsweep.evaluation.backends.in_process import InProcess
from omsweep.evaluation.backends.openai import opened
from omsweep.evaluation.generation import questions
from omsweep.evaluation.reward import score_reward
from omsweep.evaluation.score import score_policy
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.spread import Models
from omsweep.evaluation.statistics import reward_and_tax

CHATS = [[{"role": "user", "content": text}] for text in ("say one", "sum one two three please", "say yes")]
NOT_TOLD = ["kl", "kl_sampled"]


@pytest.fixture(scope="module")
def server(stub, saved, tokenizer, decoding):
    """A stub with the model itself."""
    with opened(stub("model", prompt_logprobs=True, requests=4), saved, tokenizer, decoding) as backend:
        yield backend


@pytest.fixture
def settings(suite_path, prompts_file):
    reward = {"scorer": "tiny", "prompts": str(prompts_file)}
    return EvaluateSettings(tax=str(suite_path), reward=reward, samples=2, max_new_tokens=6, limit=4)


@pytest.mark.slow
def test_tables_are_those_of_the_model_in_this_process(server, llama, tokenizer, settings):
    """Greedy answers, stop texts, longest lengths, multiple choice; drawn answers are the server's own."""
    ours = score_policy(llama, tokenizer, settings=settings, split="search", seed=0, reference_model=llama)
    theirs = score_policy(None, tokenizer, settings=settings, split="search", seed=0, backend=server)
    greedy = ours["decoder"] == "greedy"
    assert set(ours.loc[greedy, "task"]) == {"answer", "choosing", "repeat", "tiny"}
    # the length of a text is that of its tokens read anew: special tokens inside an answer are not told
    lengths = theirs.pop("length"), ours.pop("length")
    pd.testing.assert_frame_equal(
        theirs[greedy].drop(columns=NOT_TOLD), ours[greedy].drop(columns=NOT_TOLD), check_exact=True
    )
    assert (lengths[0][greedy].dropna() <= lengths[1][greedy].dropna()).all()
    drawn = theirs[~greedy]
    assert drawn["completion"].nunique() > 2
    assert theirs[NOT_TOLD].isna().all(axis=None)
    again = score_reward(
        None, tokenizer, scorer=settings.reward, split="search", samples=2, max_new_tokens=6, limit=4, backend=server
    )
    assert list(again["completion"]) == list(theirs.loc[theirs["kind"] == "reward", "completion"])


@pytest.mark.slow
def test_kl_is_null_and_everything_else_is_a_number(server, tokenizer, settings):
    table = score_policy(None, tokenizer, settings=settings, split="search", seed=0, backend=server)
    numbers = reward_and_tax(table, table)
    assert numbers["kl"] is None
    assert numbers["kl_sampled"] is None
    assert (numbers["reward"], numbers["tax"], numbers["length_ratio"]) == (0.0, 0.0, 1.0)


@pytest.mark.slow
def test_likelihoods_and_long_prompts(server, llama, tokenizer, decoding):
    mine = InProcess(models=Models(llama, tokenizer), decoding=decoding)
    asked = [((2, 6, 8), (9,)), ((2, 6, 8), (10, 11, 12)), ((5,), (7, 7))]
    for (value, best), (expected, expected_best) in zip(
        server.likelihoods(asked), mine.likelihoods(asked), strict=True
    ):
        assert value == pytest.approx(expected, abs=1e-4)
        assert best == expected_best
    assert server.context == mine.context == 64
    assert server.identity["version"] == "1.2"


@pytest.mark.slow
def test_a_tokenizer_that_adds_a_bos_is_sent_token_ids(server, llama, tokenizer, decoding):
    from dataclasses import replace

    adding = copy.deepcopy(tokenizer)
    adding.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    asked = questions(tokenizer, CHATS, samples=1, seed=0)
    mine = InProcess(models=Models(llama, tokenizer), decoding=decoding).answers(asked, longest=6)
    found = replace(server, tokenizer=adding).answers(asked, longest=6)
    assert [one.text for one in found] == [one.text for one in mine]
    assert [one.finished for one in found] == [one.finished for one in mine]


def test_what_is_asked(stub, saved, tokenizer, decoding):
    import json

    asked = questions(tokenizer, CHATS, samples=2, seed=5)
    with opened(stub(), saved, tokenizer, decoding) as backend:
        drawn = [json.loads(one.text) for one in backend.answers(asked, longest=9, temperature=0.5)]
        greedy = [json.loads(one.text) for one in backend.answers(asked[:1], longest=9, stop=["."])]
        model = backend.server.model
    assert len({one.pop("seed") for one in drawn}) == 6
    assert drawn[2] == {"model": model, "prompt": asked[2].text, "max_tokens": 9, "temperature": 0.5, "top_p": 1.0}
    plain = {"model": model, "prompt": asked[0].text, "max_tokens": 9, "temperature": 0.0, "top_p": 1.0}
    assert greedy == [{**plain, "stop": ["."]}]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("refuses", "the server of evaluate.backend refused a prompt: 400 .*prompt must be a string"),
        ("chatters", "answered without one choice"),
        ("aborts", "gave no whole answer: .*abort"),
        ("dies-later", "ended with status 7: out of memory, says the server"),
        ("reads-more", r"read 1000 tokens where scoring reads \d: .*its tokenizer adds or joins some"),
    ],
)
def test_bad_answers_are_one_error(stub, saved, tokenizer, decoding, how, message):
    asked = questions(tokenizer, CHATS, samples=1, seed=0)
    with opened(stub(how), saved, tokenizer, decoding) as backend, pytest.raises(ValueError, match=message):
        backend.answers(asked, longest=4)


def test_likelihoods_that_a_server_does_not_give(stub, saved, tokenizer, decoding):
    for logprobs, message in ((False, "set backend.prompt_logprobs: true"), (True, "gave no log-probabilities")):
        with (
            opened(stub(prompt_logprobs=logprobs), saved, tokenizer, decoding) as backend,
            pytest.raises(ValueError, match=message),
        ):
            backend.likelihoods([((2, 6), (9,))])
