import pytest

from omsweep.evaluation.judges.verdicts import FORMS, Reply, grade, letter, margin, token

HUGE = "x" * 100_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("because ... [[A]]", 0.0),
        ("[[B]]", 1.0),
        ("[[ C ]]", 0.5),
        ("I would not say [[A]], rather [[B]]", 1.0),
        ("A", None),
        ("[A]", None),
        ("[[D]]", None),
        ("", None),
        (HUGE, None),
        (f"{HUGE}[[B]]", 1.0),
    ],
)
def test_letters(text, value):
    assert letter(Reply(text=text)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[[A>>B]]", 0.0),
        ("[[A>B]]", pytest.approx(1 / 3)),
        ("[[A=B]]", 0.5),
        ("[[B=A]]", 0.5),
        ("[[B>A]]", pytest.approx(2 / 3)),
        ("[[B>>A]]", 1.0),
        ("[[A<<B]]", 1.0),
        ("[[B<A]]", pytest.approx(1 / 3)),
        ("[[A>A]]", None),
        ("first [[A>B]], no: [[B>A]]", None),
        ("[[A>B]], I repeat: [[A>B]]", pytest.approx(1 / 3)),
        ("A>B", None),
    ],
)
def test_margins(text, value):
    assert margin(Reply(text=text)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Rating: [[7]]", 7.0),
        ("[[7.5]]", 7.5),
        ("[[8/10]]", 8.0),
        ("Rating: [6]", 6.0),
        ("[[0]]", None),
        ("[[11]]", None),
        ("[[999]]", None),
        ("seven", None),
        ("[[5]] ... [[9]]", 5.0),
    ],
)
def test_grades(text, value):
    assert grade(Reply(text=text)) == value


def test_a_verdict_of_one_token_is_a_probability_where_these_are_told():
    told = {"M": 0.6, " M": 0.1, "m": 0.2, "The": 0.1}
    assert token(Reply(text="M", first_token=told)) == pytest.approx(0.7 / 0.9)
    assert token(Reply(text="m")) == 0.0
    assert token(Reply(text=" M\n")) == 1.0
    assert token(Reply(text="Model M")) is None
    assert token(Reply(text="M", first_token={"The": 1.0})) == 1.0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", ["", HUGE, "\udcff", "[[", "]]" * 1000, "[[" * 50_000])
def test_what_is_no_verdict_is_none(form, text):
    assert FORMS[form].read(Reply(text=text)) is None
