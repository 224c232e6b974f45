"""Numbers in answers, by hand, against lm-eval's own extraction, and against a second reading that scans characters."""
# ruff: noqa: RUF001 - texts in other scripts

import re
from fractions import Fraction

import pytest

from omsweep.evaluation.answers.numbers import last_number, math23k, math401, solution

SAID = {
    "The answer is 42.": 42,
    "so 7 + 8 = 15": 15,
    "= -18": -18,
    "10-4=6": 6,
    "10 - 4 leaves 6, not -6": -6,
    "1,234,567 people": 1234567,
    "about 3.1429": "3.1429",
    "\\frac{3}{4}": "3/4",
    "$1\\frac{1}{2}$": "3/2",
    "it is 3/4": "3/4",
    "2又1/4千米": "9/4",
    "占5分之3": "3/5",
    "25%": "1/4",
    "百分之25": "1/4",
    "25％": "1/4",
    "共１２个": 12,
    "value −5": -5,
    "(3)-1": 1,
    "6.02e3": 6020,
    ".5": "1/2",
    "none": None,
    "": None,
    "1/0": None,
}


@pytest.mark.parametrize(("text", "number"), SAID.items(), ids=list(SAID))
def test_the_last_number_of_a_text(text: str, number: int | str | None) -> None:
    assert last_number(text) == (None if number is None else Fraction(number))


VALUES = ["7", "-18", "1,250", "3.75", "-0.0288", "573504865975", "1000", "0.5", "64", "-1,034"]
FRAMES = [
    "The answer is {}.",
    "First 12 and then 5, so {}",
    "{} is what we get",
    "We have 3 x 4 = 12.\n\nFinal answer: {}",
    "**{}**",
    "The total comes to ${} in the end!",
]
ANSWERS = [frame.format(value) for frame in FRAMES for value in VALUES]


def lm_evals(text: str) -> Fraction:
    """The pattern of lm-eval's gsm8k, `flexible-extract`, and what its metric takes out of the match."""
    found = re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", text)[-1]
    match = next(one for one in found if one)
    return Fraction(re.sub(r",|\$|\.$", "", match).rstrip("."))


def test_plain_numbers_are_those_that_lm_eval_extracts() -> None:
    assert len(ANSWERS) == 60
    assert [answer for answer in ANSWERS if last_number(answer) != lm_evals(answer)] == []


def scanned(text: str) -> Fraction | None:
    """A second reading: from the end back over the characters of one number, then what stands before and behind it."""
    digits = "0123456789"
    end = max((n for n, c in enumerate(text) if c in digits), default=None)
    if end is None:
        return None
    start = end
    while start and text[start - 1] in digits + ".,":
        start -= 1
    number = text[start : end + 1].strip(",").lstrip(".").replace(",", "")
    value = Fraction(number)
    before = text[:start]
    if before.endswith("/"):
        above = scanned(before)
        assert above is not None
        return above / value
    if before.endswith("分之"):
        if before.endswith("百分之"):
            return value / 100
        below = scanned(before)
        assert below is not None
        return value / below
    if before.endswith("又"):
        raise AssertionError
    if text[end + 1 : end + 2] == "%":
        value /= 100
    signed = before.endswith("-") and not (before[:-1].rstrip() + " ")[-2 if before[:-1].rstrip() else -1].isdigit()
    return -value if signed else value


CHINESE = ["答案：{}", "所以一共有{}个。", "{}米", "先算12，再算5，答：{}。", "答案是：{}（千米）", "一共走了{}千米"]
PUBLISHED = ["57", "3/4", "25%", "2.5", "1/3", "百分之40", "5分之2", "1,200", "0.75", "100%"]


def test_chinese_answers_read_twice_give_the_same() -> None:
    answers = [frame.format(value) for frame in CHINESE for value in PUBLISHED]
    assert len(answers) == 60
    assert [answer for answer in answers if last_number(answer) != scanned(answer)] == []


BRACKETS = ["{} (about {})", "The result is {} (rounded from {})", "{} [see (step {})]", "= {} (not {})", "({}) {}"]


def test_math401_leaves_out_what_is_in_brackets() -> None:
    """Against a second reading that counts how deep it is in brackets."""
    others = 0
    for frame in BRACKETS:
        for value in VALUES:
            answer = frame.format(*((value, "99.5") if frame[0] != "(" else ("99.5", value)))
            depth, kept = 0, ""
            for character in answer:
                depth += {"(": 1, ")": -1}.get(character, 0)
                kept += character if depth == 0 and character != ")" else " "
            right = math401({"response": value.replace(",", "")}, [answer])["acc"]
            others += right != 1 or scanned(kept) != Fraction(value.replace(",", ""))
    assert (len(BRACKETS) * len(VALUES), others) == (50, 0)


def test_math401_allows_less_than_a_thousandth() -> None:
    assert [
        math401({"response": "3.1429"}, [said])["acc"] for said in ("3.142857", "3.1439", "22/7", "", "(3.1429)")
    ] == [*(1, 0, 1, 0, 1)]


@pytest.mark.parametrize(
    ("published", "number"),
    [
        *(("12", "12"), ("3.5", "3.5"), ("20%", "1/5"), ("3/4", "3/4"), ("13/5", "13/5"), ("(3)/(4)", "3/4")),
        *(("((7)/(12))", "7/12"), ("1(1/2)", "3/2"), ("35((1)/(2))", "35.5"), ("(1/3)", "1/3"), ("12.5%", "1/8")),
    ],
)
def test_answers_of_math23k_as_they_are_published(published: str, number: str) -> None:
    assert solution({"ans": published}) == Fraction(number)


def test_another_shape_of_answer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^ans must be a number such as 12, .*, got 'x=3'"):
        solution({"ans": "x=3"})


def test_math23k_reads_behind_the_last_answer_word() -> None:
    doc = {"ans": "25%"}
    said = ["10/40=0.25\n答案：25%", "答案：0.25，共50棵树的一部分", "答案：25", "结果是1/4", "答案：无"]
    assert [math23k(doc, [one])["acc"] for one in said] == [1, 0, 0, 1, 0]
