"""Records that a template cannot render are named by their number, in every shape that records have."""

from typing import Any

import pytest

from omsweep.align.template import check_renderable, of_each_kind
from omsweep.families.chat_template import template_of


def said(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": f"w{number}"} for number, role in enumerate(roles)]


GOOD = {"prompt": said("user"), "chosen": said("assistant"), "rejected": said("assistant")}
SYSTEM = GOOD | {"prompt": said("system", "user")}
REFUSING = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}<user> {{ message['content'] }} "
    "{% elif message['role'] == 'assistant' %}<bot> {{ message['content'] }} {{ eos_token }}"
    "{% else %}{{ raise_exception('no ' + message['role']) }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<bot> {% endif %}"
)


@pytest.fixture
def check(make_tokenizer: Any) -> Any:
    def run(*records: Any, template: str = REFUSING, **options: Any) -> list[str]:
        return check_renderable(records, template_of(make_tokenizer(template)), source="data", family="mine", **options)

    return run


def test_records_of_every_shape_pass(check: Any) -> None:
    whole = {"chosen": said("user", "assistant"), "rejected": said("user", "assistant")}
    plain = {"prompt": "w1", "completion": "w2", "label": True}
    assert check(GOOD, whole, plain) == []


@pytest.mark.parametrize(
    ("record", "number"),
    [
        (SYSTEM, 1),
        (SYSTEM | {"record": 40}, 40),
        ({"chosen": said("system", "user", "assistant"), "rejected": said("user", "assistant")}, 1),
        ({"prompt": said("system", "user"), "completion": said("assistant"), "label": True}, 1),
    ],
)
def test_the_record_and_its_turn_are_named(check: Any, record: Any, number: int) -> None:
    with pytest.raises(
        ValueError, match=rf"^data: record {number}, \w+: the chat template of mine renders no system turn"
    ):
        check(GOOD, record)


def test_an_endless_template_is_refused_where_it_is_used(check: Any) -> None:
    endless = REFUSING.replace(" {{ eos_token }}", "")
    with pytest.raises(ValueError, match="the chat template of mine writes no end token"):
        check(GOOD, template=endless)
    plain = {"prompt": "w1", "chosen": "w2", "rejected": "w3"}
    assert check(plain, template=endless, rendering="plain") == []


def test_added_text_is_said_once_with_its_count(check: Any) -> None:
    adding = REFUSING.replace("<bot> {{ message", "<bot> <pad>{{ message")
    (note,) = check(GOOD, GOOD, template=adding)
    assert note.startswith("data: the chat template of mine writes '<pad>' in front of 4 answers (first: record 0)")


def test_one_record_of_each_kind_is_looked_at_in_passing() -> None:
    thought = GOOD | {"chosen": [{"role": "assistant", "content": "<think></think>w1"}]}
    kinds = list(of_each_kind([GOOD, GOOD, SYSTEM, GOOD, thought, SYSTEM]))
    assert [record["record"] for record in kinds] == [0, 2, 4]
