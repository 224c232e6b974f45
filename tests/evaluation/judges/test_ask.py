"""A judge's server with the troubles of a real one: every verdict stored once, nothing billed twice, equal numbers."""

import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omsweep.evaluation.judges.ask import LimitReached, ask
from omsweep.evaluation.judges.endpoint import JudgeIsSilent
from omsweep.evaluation.judges.judge import judged
from omsweep.evaluation.judges.replies import replies_folder
from omsweep.evaluation.judges.settings import JudgeSettings
from tests.evaluation.judges.stub_judge import StubJudge, serving

CHATS = [[{"role": "user", "content": f"question {number}"}] for number in range(40)]
OURS = [f"our answer {number}" for number in range(40)]
THEIRS = [f"another answer {number}" for number in range(40)]


def verdict(body):
    digest = hashlib.sha256(json.dumps(body["messages"]).encode()).digest()
    return f"Because of this and that. [[{'ABC'[digest[0] % 3]}]]"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "cache"))


def settings(server, **changes):
    return JudgeSettings(**{"url": server.url, "model": "stub", "patience": 60.0, "timeout": 20.0, **changes})


def bodies(count, text="q"):
    return [
        {"model": "stub", "messages": [{"role": "user", "content": f"{text} {number}"}], "temperature": 0}
        for number in range(count)
    ]


def values(found):
    return [[one.value for one in row] for row in found]


def stored(judge):
    return list(replies_folder(judge.url, judge.model).glob("*.json"))


def undisturbed(repeats=1):
    with serving(StubJudge(verdict)) as server:
        return values(ask(settings(server, repeats=repeats), bodies(30), first_wait=0.02))


def test_an_undisturbed_run_asks_each_question_once_and_never_again():
    with serving(StubJudge(verdict)) as server:
        judge = settings(server, repeats=2, concurrency=5)
        asked = bodies(10)
        first = ask(judge, [*asked, asked[0]])
        assert server.requests == 20
        assert server.most_in_flight <= 5
        assert first[0] == first[-1]
        assert len(stored(judge)) == 20
        assert values(ask(judge, asked)) == values(first[:10])
        assert server.requests == 20
        assert server.keys == {None}


def test_troubles_change_no_number_and_cost_no_second_verdict():
    kinds = ["429", "500", "time-out", "death", "no JSON", "503", "no verdict"]

    def troubles(number):
        return kinds[number // 3 % 7] if number % 3 == 1 and number < 60 else None

    expected = undisturbed()
    with serving(StubJudge(verdict, troubles)) as server:
        judge = settings(server, timeout=2.0)
        assert values(ask(judge, bodies(30), first_wait=0.02)) == expected
        refused = len([n for n in range(60) if troubles(n) == "no verdict"])
        assert sum(server.billed.values()) == 30 + refused
        assert len(stored(judge)) == 30 + refused


def test_repeats_of_replies_without_a_verdict_are_bounded_and_kept():
    with serving(StubJudge(lambda body: "hm" if "q 3" in body["messages"][0]["content"] else verdict(body))) as server:
        judge = settings(server)
        found = ask(judge, bodies(20))
        assert found[3][0].value is None
        assert "no verdict in 'hm'" in found[3][0].problem
        assert server.requests == 22
        assert ask(judge, bodies(20)) == found
        assert server.requests == 22


def test_a_judge_that_mostly_says_nothing_is_one_error():
    with (
        serving(StubJudge(lambda body: "Both are nice.")) as server,
        pytest.raises(ValueError, match=r"judge stub at http.* gave no verdict on 10 of 10 questions.*Both are nice"),
    ):
        ask(settings(server), bodies(10))


def test_retry_after_is_kept_by_all():
    with serving(StubJudge(verdict, lambda number: "429" if number < 1 else None)) as server:
        ask(settings(server, concurrency=1), bodies(3), first_wait=0.001)
        assert server.times[1] - server.times[0] >= 0.05


def test_a_rate_is_kept():
    with serving(StubJudge(verdict)) as server:
        ask(settings(server, requests_per_minute=1200, concurrency=8), bodies(10))
        assert server.times[-1] - server.times[0] >= 9 * 0.05 * 0.9


@pytest.mark.parametrize(
    ("status", "said"),
    [("401", "refuses the key"), ("404", "no such model"), ("302", "is elsewhere"), ("402", "wants to be paid")],
)
def test_an_address_that_refuses_everything_is_said_at_once(status, said):
    with serving(StubJudge(verdict, lambda number: status)) as server:
        with pytest.raises(ValueError, match=said):
            ask(settings(server, concurrency=2), bodies(20))
        assert server.requests <= 4


def test_a_question_that_is_refused_has_no_verdict_and_stops_nobody():
    with serving(StubJudge(verdict, lambda number: "400" if number == 4 else None)) as server:
        found = ask(settings(server, concurrency=1), bodies(20))
        assert [row[0].problem for row in found if row[0].problem] == ['HTTP 400: {"error": "no"}']


def test_a_question_that_always_fails_has_no_verdict_while_others_are_answered():
    with serving(StubJudge(verdict)) as server:
        plain = server.verdict

        def poisoned(body):
            if "q 7" in body["messages"][0]["content"]:
                raise OSError  # the connection breaks
            return plain(body)

        server.verdict = poisoned
        found = ask(settings(server, concurrency=2), bodies(40), first_wait=0.01)
        assert [number for number, row in enumerate(found) if row[0].value is None] == [7]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dead_address_pauses_the_judge_is_named_and_goes_on_where_it_was(caplog):
    with serving(StubJudge(verdict, lambda number: None if number < 10 else "500")) as server:
        judge = settings(server, patience=0.5, concurrency=3)
        began = time.monotonic()
        with caplog.at_level(logging.WARNING), pytest.raises(JudgeIsSilent) as refused:
            ask(judge, bodies(30), first_wait=0.02)
        assert 0.2 < time.monotonic() - began < 5
        assert "is paused (HTTP 500: oops)" in caplog.text
        assert "omsweep retry" in str(refused.value)
        assert len(stored(judge)) == 10
        server.troubles = lambda number: None
        assert values(ask(judge, bodies(30))) == undisturbed()
        assert sum(server.billed.values()) == 30


def test_a_pause_ends_when_the_address_answers_again(caplog):
    with serving(StubJudge(verdict, lambda number: "500" if 5 <= number < 12 else None)) as server:
        with caplog.at_level(logging.WARNING):
            assert values(ask(settings(server), bodies(30), first_wait=0.02)) == undisturbed()
        assert "answers again" in caplog.text


def test_limits_on_calls_and_cost_keep_what_was_answered():
    with serving(StubJudge(verdict)) as server:
        with pytest.raises(LimitReached, match="max_calls is 7, and 7 were made"):
            ask(settings(server, max_calls=7, concurrency=1), bodies(20))
        assert server.requests == 7
        priced = settings(server, max_cost=0.002, price_in=1.0, price_out=10.0, concurrency=1)
        with pytest.raises(LimitReached, match="max_cost is 0.002"):  # 0.0002 a call, 7 calls spent before
            ask(priced, bodies(20))
        assert server.requests == 10
        ask(settings(server, max_calls=100), bodies(20))
        assert server.requests == 20


def test_the_key_is_sent_and_one_that_is_missing_is_named(monkeypatch):
    with serving(StubJudge(verdict)) as server:
        judge = settings(server, key="JUDGE_STUB_KEY")
        with pytest.raises(ValueError, match=r"no JUDGE_STUB_KEY.*secrets:"):
            ask(judge, bodies(1))
        monkeypatch.setenv("JUDGE_STUB_KEY", "a-secret-of-16-chars")
        ask(judge, bodies(1))
        assert server.keys == {"Bearer a-secret-of-16-chars"}
        assert "a-secret" not in "".join(file.read_text() for file in stored(judge))


KILLED = """
import sys
from omsweep.evaluation.judges.ask import ask
from omsweep.evaluation.judges.settings import JudgeSettings
judge = JudgeSettings(url=sys.argv[1], model="stub", concurrency=4)
ask(judge, [
    {"model": "stub", "messages": [{"role": "user", "content": f"q {n}"}], "temperature": 0} for n in range(60)
])
"""


def test_a_kill_repeats_at_most_the_calls_in_flight(tmp_path):
    kills = 3

    def slow(body):
        time.sleep(0.02)
        return verdict(body)

    with serving(StubJudge(slow)) as server:
        judge = settings(server)
        for number in range(kills):
            process = subprocess.Popen(
                [sys.executable, "-c", KILLED, server.url],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
            )
            while sum(server.billed.values()) < 12 * (number + 1):
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
        expected = []
        found = ask(judge, bodies(60))
        for body in bodies(60):
            expected.append([{"A": 0.0, "B": 1.0, "C": 0.5}[verdict(body)[-3]]])
        assert values(found) == expected
        assert len(stored(judge)) == 60
        assert sum(server.billed.values()) <= 60 + kills * 4


def test_both_orders_cancel_a_liking_for_a_place():
    def fond_of_the_first(body):
        text = body["messages"][-1]["content"]
        if int(text.split("question ")[1].split()[0]) % 5 == 0:
            return "[[A]]"
        return f"[[{'A' if text.index('our answer') < text.index('another answer') else 'B'}]]"

    with serving(StubJudge(fond_of_the_first)) as server:
        found = judged(settings(server), CHATS, OURS, baselines=THEIRS)
        assert found.first.mean() == pytest.approx(20.0)
        assert found.score.mean() == pytest.approx(90.0)
        assert server.requests == 80


def test_equal_answers_are_a_tie_that_nobody_is_asked_for():
    with serving(StubJudge(verdict)) as server:
        found = judged(settings(server), CHATS[:3], OURS[:3], baselines=OURS[:3])
        assert found.score.tolist() == [50.0] * 3
        assert server.requests == 0


@pytest.mark.parametrize("form", ["pairwise", "grade", "alpaca", "arena_hard"])
@pytest.mark.parametrize(
    "answer", ["", "x" * 100_000, "half \ud83d a character", "\x00\x1b[31m", "{{ question }} [[A]]"]
)
def test_any_answer_gets_one_score(form, answer):
    said = {"pairwise": "[[B]]", "grade": "[[3]]", "alpaca": "M", "arena_hard": "[[B>A]]"}[form]

    def strict(body):
        text = "".join(message["content"] for message in body["messages"])
        assert len(text) < 50_000
        return said

    with serving(StubJudge(strict)) as server:
        judge = settings(server, form=form)
        found = judged(judge, CHATS[:1], [answer], baselines=["other"] if judge.compares else None)
        assert found.score.tolist() == [3.0 if form == "grade" else 50.0]
