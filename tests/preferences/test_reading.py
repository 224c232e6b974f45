"""What is made of each shape of records, what is dropped and under which reason, and what is refused."""

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from omsweep.preferences import turns
from omsweep.preferences.reading import BOTH_LABELS, RATED_ALIKE, RATED_LESS, REPEATED_RECORDS, REVERSED_RECORDS
from omsweep.preferences.reading import read_records as read_named
from omsweep.preferences.summary import check_algorithms
from omsweep.preferences.turns import shared_words


def read_records(rows: list[dict[str, Any]], **options: Any) -> Any:
    return read_named(rows, source="preferences mine", **options)


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def bot(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def pair(prompt: Any, chosen: Any, rejected: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


TALK = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"
TURNS = [user("a"), bot("b"), user("c")]
WANTED = pair(TURNS, [bot("yes")], [bot("no")])
ASKED = pair([user("a")], [bot("yes")], [bot("no")])


@pytest.mark.parametrize(
    ("row", "rendering", "wanted", "notes"),
    [
        (pair("a", "yes", "no"), "chat", pair("a", "yes", "no"), []),
        (
            {"chosen": "sky blue yes", "rejected": "sky blue yet"},
            "chat",
            pair("sky blue", " yes", " yet"),
            [turns.SHARED_WORDS],
        ),
        ({"chosen": [*TURNS, bot("yes")], "rejected": [*TURNS, bot("no")]}, "chat", WANTED, [turns.SHARED_TURNS]),
        (pair(TURNS, [*TURNS, bot("yes")], [bot("no")]), "chat", WANTED, [turns.REPEATED]),
        (pair("c", [*TURNS, bot("yes")], [*TURNS, bot("no")]), "chat", WANTED, [turns.BESIDE, turns.SHARED_TURNS]),
        (pair("x", [*TURNS, bot("yes")], [*TURNS, bot("no")]), "chat", WANTED, [turns.CONTRARY, turns.SHARED_TURNS]),
        ({"chosen": f"{TALK} yes", "rejected": f"{TALK} no"}, "chat", WANTED, [turns.DIALOGUE, turns.SHARED_TURNS]),
        (pair(TALK, " yes", " no"), "chat", WANTED, [turns.DIALOGUE]),
        (pair(TALK, f"{TALK} yes", " no"), "chat", WANTED, [turns.DIALOGUE, turns.REPEATED]),
        (
            {"chosen": f"{TALK} yes", "rejected": f"{TALK} no"},
            "plain",
            pair(TALK, " yes", " no"),
            [turns.DIALOGUE, turns.SHARED_TURNS],
        ),
        (pair([user([{"type": "text", "text": "a"}])], [bot(["yes"])], [bot("no")]), "chat", ASKED, [turns.JOINED]),
        (
            pair([user("a") | {"name": "x"}], [bot("yes")], [bot("no")]),
            "chat",
            ASKED,
            ["other keys of a message than role and content were not read: name"],
        ),
        (
            pair([user("a")], [bot("x"), user("y"), bot("z")], [bot("no")]),
            "chat",
            pair([user("a")], [bot("x"), user("y"), bot("z")], [bot("no")]),
            [turns.SEVERAL],
        ),
        (
            {"messages": [*TURNS, bot("yes")], "label": True},
            "chat",
            {"prompt": TURNS, "completion": [bot("yes")], "label": True},
            [],
        ),
    ],
)
def test_every_shape_becomes_a_prompt_and_its_answers(
    row: dict[str, Any], rendering: str, wanted: dict[str, Any], notes: list[str]
) -> None:
    taken = read_records([row], rendering=rendering)
    [record] = taken.records
    assert {name: record[name] for name in wanted} == wanted
    assert set(taken.summary.notes) == set(notes)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (pair("a", "yes", None), turns.NULL),
        (pair([user("a")], [bot(None)], [bot("no")]), turns.NULL),
        (pair("a", "yes", " \n"), turns.BLANK),
        (pair([user("a")], [bot("")], [bot("no")]), turns.BLANK),
        (pair([user("a")], [], [bot("no")]), turns.BLANK),
        (pair("a", "yes", " yes "), turns.SAME),
        ({"chosen": "sky yes", "rejected": "sky yes"}, turns.SAME),
        (pair(" ", "yes", "no"), turns.EMPTY),
        (pair([], [bot("yes")], [bot("no")]), turns.EMPTY),
        (pair([user(" ")], [bot("yes")], [bot("no")]), turns.EMPTY),
        (pair([user("a"), bot("b")], [bot("yes")], [bot("no")]), turns.UNASKED),
        ({"chosen": "yes it is", "rejected": "yet"}, turns.UNSHARED),
        ({"chosen": [bot("yes")], "rejected": [bot("no")]}, turns.UNSHARED),
        ({"chosen": [user("a"), bot("yes")], "rejected": [user("b"), bot("no")]}, turns.UNSHARED),
        (pair([user("a")], [bot("yes"), user("more")], [bot("no")]), turns.UNANSWERED),
    ],
)
def test_what_teaches_nothing_is_dropped_under_its_reason(row: dict[str, Any], reason: str) -> None:
    summary = read_records([row]).summary
    assert (summary.taken, summary.dropped, summary.first) == (0, {reason: 1}, {reason: 0})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [pair([user("a")], "yes", "no")],
            "prompt is a list of messages and chosen is text .* write all of them as text",
        ),
        (
            [pair([{"from": "human", "value": "a"}], [bot("y")], [bot("n")])],
            r"prompt\[0\] has .*from, value \(ShareGPT\)",
        ),
        ([{"conversations": [], "kto_tag": True}], "got conversations, kto_tag; ShareGPT's conversations: write them"),
        ([{"question": "a", "chosen": "yes", "rejected": "no"}], "if question is the prompt, call it prompt"),
        (
            [pair([user([{"type": "image", "image": 1}])], [bot("y")], [bot("n")])],
            r"a part that is no text \('image'\)",
        ),
        ([pair([{"role": "human", "content": "a"}], [bot("y")], [bot("n")])], "must have a role among system.*'human'"),
        ([pair([user(5)], [bot("y")], [bot("n")])], r"the content of prompt\[0\] must be text, got 5"),
        ([pair([user("a")], [user("b")], [bot("n")])], "chosen must begin with an assistant's turn, or with all turns"),
        ([pair([user("a")], [bot("y") | {"tool_calls": [1]}], [bot("n")])], "tool calls, which are not rendered"),
        ([pair("a", "y", "n") | {"tools": ["x"]}], "tools is not rendered"),
        ([pair("<|im_start|>user\na", "y", "n")], "written in a chat template already"),
        ([pair('[{"role": "user"}]', "y", "n")], "prompt is a list of messages written as text"),
        ([pair("a", "\ud800", "n")], "half of a surrogate pair"),
        ([{"prompt": "a", "completion": "b", "label": 1}], "label must be true or false, got 1"),
        ([pair("a", "y", "n"), ASKED], "record 1: is a pair of messages with .*, and record 0 is a pair of text with"),
        (
            [pair("a", "y", "n"), {"prompt": "a", "completion": "b", "label": True}],
            "record 1: is a labelled completion",
        ),
        ([], "hold no records"),
    ],
)
def test_what_cannot_be_read_is_refused_with_record_and_remedy(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=f"^preferences mine:? .*{message}"):
        read_records(rows)


def test_ratings_are_kept_and_what_contradicts_is_counted() -> None:
    rows = [
        pair("a", "y", "n") | {"score_chosen": 3, "score_rejected": 1.5, "model": "m", "id": 7},
        pair("a", "n", "y") | {"score_chosen": 2, "score_rejected": 2.5, "model": "m"},
        pair("a", "y", "n") | {"score_chosen": None, "score_rejected": 1.0},
        pair("b", "y", "n") | {"score_chosen": 4, "score_rejected": 4.0},
    ]
    taken = read_records(rows)
    assert [(r["id"][:7], r["score_chosen"], r["score_rejected"]) for r in taken.records] == [
        ("7", 3, 1.5),
        ("prompt-", 2, 2.5),
        ("prompt-", None, 1.0),
        ("prompt-", 4, 4.0),
    ]
    assert taken.summary.notes == {REPEATED_RECORDS: 1, REVERSED_RECORDS: 3, RATED_LESS: 1, RATED_ALIKE: 1}
    assert taken.summary.unread == ("model",)


def test_labels_are_counted_and_both_must_occur() -> None:
    rows = [{"prompt": "a", "completion": "b", "label": label} for label in (True, True, False)]
    summary = read_records(rows).summary
    assert summary.labels == {"true": 2, "false": 1}
    assert summary.notes == {REPEATED_RECORDS: 1, BOTH_LABELS: 3}
    check_algorithms(summary, ["kto"])
    with pytest.raises(ValueError, match="got none whose label is false among 2 records"):
        check_algorithms(read_records(rows[:2]).summary, ["kto"])


def test_long_texts_share_their_beginning_at_once() -> None:
    begun, shared = time.perf_counter(), "all that is said before " * 200_000
    prompt, chosen, rejected = shared_words(f"{shared}x good", f"{shared}y bad")
    assert (prompt, chosen, rejected) == (shared.rstrip(), " x good", " y bad")
    assert shared_words("a b", "a b c") == ("a b", "", " c")
    assert time.perf_counter() - begun < 1.0


def test_what_is_taken_does_not_depend_on_the_seed_of_hashes() -> None:
    code = (
        "from omsweep.preferences.reading import read_records\n"
        "turn = lambda role, text: {'role': role, 'content': text, 'name': 'x', 'weight': 1}\n"
        "asked, blank, more = turn('user', 'a'), turn('assistant', ''), turn('assistant', 'b')\n"
        "row = {'prompt': [asked], 'chosen': [blank], 'rejected': [more, asked], 'z': [1], 'y': [1]}\n"
        "good = row | {'chosen': [more, asked, more], 'rejected': [more]}\n"
        "print(read_records([row, good, good], source='preferences mine'))"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "0123"
    ]
    assert len(set(outputs)) == 1
    assert turns.BLANK.encode() in outputs[0]
