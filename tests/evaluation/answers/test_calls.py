"""Function calls in answers: the rule by hand, and a second reading as XML, as Nous' evaluator reads them."""

import itertools
import json
from typing import Any
from xml.etree import ElementTree

import pytest

from omsweep.evaluation.answers.calls import calls, function_calls

WEATHER = {"name": "get_weather", "arguments": {"city": "Oslo", "days": 3}}


def tagged(*found: Any) -> str:
    return "\n".join(f"<tool_call>\n{json.dumps(one)}\n</tool_call>" for one in found)


def as_xml(answer: str, wanted: dict[str, Any]) -> bool:
    """One expected call: sections up to each closing tag are read as XML, the first call of the name counts."""
    found = []
    for section in answer.split("</tool_call>"):
        try:
            root = ElementTree.fromstring(f"<root>{section}{'</tool_call>' if '<tool_call>' in section else ''}</root>")
        except ElementTree.ParseError:
            continue
        for element in root.iter("tool_call"):
            try:
                found.append(json.loads(element.text or ""))
            except ValueError:
                continue
    for call in found:
        if call.get("name") == wanted["name"]:
            return all(call["arguments"].get(key) == value for key, value in wanted["arguments"].items())
    return False


def changed(**arguments: Any) -> dict[str, Any]:
    return {"name": "get_weather", "arguments": {**WEATHER["arguments"], **arguments}}  # type: ignore[dict-item]


SAID = [WEATHER, changed(city="Rome"), changed(days="3"), changed(unit="celsius"), {"name": "other", "arguments": {}}]
FRAMES = ["{}", "Here you are:\n{}", "{}\nDone.", "{}\n{}", "no call at all", "<tool_call>nothing</tool_call>{}"]
ANSWERS = [
    frame.format(*(tagged(one) for one in said))
    for frame in FRAMES
    for said in itertools.product(SAID, repeat=max(1, frame.count("{}")))
]
ANSWERS += [tagged(one).removesuffix("</tool_call>") for one in SAID]


def test_answers_read_twice_give_the_same() -> None:
    doc = {"completion": json.dumps(WEATHER)}
    found = [function_calls(doc, [answer])["acc"] for answer in ANSWERS]
    assert len(ANSWERS) >= 50
    assert 0 < sum(found) < len(found)
    assert found == [float(as_xml(answer, WEATHER)) for answer in ANSWERS]


def test_what_is_no_xml_is_read_here() -> None:
    """Nous' evaluator loses calls whose text holds `&` or `<`."""
    tea = {"name": "mail", "arguments": {"subject": "Tea & cake"}}
    assert function_calls({"completion": json.dumps(tea)}, [tagged(tea)]) == {"acc": 1.0}
    assert not as_xml(tagged(tea), tea)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("<tool_call>{'name': 'a', 'arguments': {}}</tool_call>", 1),
        ('<tool_call>{"name": "a", "arguments": "{\\"x\\": 1}"}</tool_call>', 1),
        ('<tool_call>{"name": "a"}</tool_call>', 1),
        ('<tool_call>{"name": 3}</tool_call>', 0),
        ('<tool_call>["a"]</tool_call>', 0),
        ('<tool_call>{"name": "a", "arguments": "x"}</tool_call>', 0),
        ("<tool_call>" + "(" * 500 + "</tool_call>", 0),
        ('{"name": "a", "arguments": {}}', 0),
    ],
)
def test_what_counts_as_a_call(text: str, count: int) -> None:
    assert len(calls(text)) == count


def test_several_expected_calls_take_one_each() -> None:
    both = {"completion": json.dumps([changed(city="Lima"), changed(city="Quito")])}
    assert function_calls(both, [tagged(changed(city="Lima"), changed(city="Quito"))]) == {"acc": 1.0}
    assert function_calls(both, [tagged(changed(city="Lima"), changed(city="Lima"))]) == {"acc": 0.0}
    assert function_calls(both, [tagged(changed(city="Lima"))]) == {"acc": 0.0}


def test_an_item_without_a_call_is_refused() -> None:
    with pytest.raises(ValueError, match="completion must be JSON of a call with name and arguments"):
        function_calls({"completion": "call the weather"}, [""])
