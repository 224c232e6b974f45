"""Preference records that something is wrong with: good ones of every shape, and ways in which people break them.

A generator of broken inputs is `broken(seed)`, a pure function that returns what to feed and the names of what was done
to it. Another kind of input (YAML, suites, model folders) gets a file of its own beside this one.
"""

import copy
import gzip
import json
import random
from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]


def said(role: str, text: Any) -> dict[str, Any]:
    return {"role": role, "content": text}


def _rows(one: Callable[[int], dict[str, Any]]) -> Rows:
    return [one(number) for number in range(6)]


GOOD: dict[str, Rows] = {
    "text": _rows(lambda n: {"prompt": f"ask {n}", "chosen": f"good {n}", "rejected": f"bad {n}"}),
    "text, implicit": _rows(lambda n: {"chosen": f"ask {n}? a good one", "rejected": f"ask {n}? the bad one"}),
    "messages": _rows(
        lambda n: {
            "prompt": [said("system", "be brief"), said("user", f"ask {n}")],
            "chosen": [said("assistant", f"good {n}")],
            "rejected": [said("assistant", f"bad {n}")],
            "margin": n / 2,
        }
    ),
    "messages, implicit": _rows(
        lambda n: {
            "chosen": [said("user", f"ask {n}"), said("assistant", f"good {n}")],
            "rejected": [said("user", f"ask {n}"), said("assistant", f"bad {n}")],
        }
    ),
    "ultrafeedback": _rows(
        lambda n: {
            "prompt": f"ask {n}",
            "prompt_id": f"{n:x}",
            "chosen": [said("user", f"ask {n}"), said("assistant", f"good {n}")],
            "rejected": [said("user", f"ask {n}"), said("assistant", f"bad {n}")],
            "messages": [said("user", f"ask {n}"), said("assistant", f"good {n}")],
            "score_chosen": 8.0 + n,
            "score_rejected": 5,
        }
    ),
    "dialogue": _rows(
        lambda n: {
            "chosen": f"\n\nHuman: ask {n}\n\nAssistant: what?\n\nHuman: that\n\nAssistant: good {n}",
            "rejected": f"\n\nHuman: ask {n}\n\nAssistant: what?\n\nHuman: that\n\nAssistant: bad {n}",
        }
    ),
    "dialogue, explicit": _rows(
        lambda n: {
            "prompt": f"\n\nHuman: ask {n}\n\nAssistant:",
            "chosen": f" good {n}",
            "rejected": f" bad {n}",
        }
    ),
    "parts": _rows(
        lambda n: {
            "prompt": [said("user", [{"type": "text", "text": f"ask {n}"}, {"type": "text", "text": "now"}])],
            "chosen": [said("assistant", [{"type": "text", "text": f"good {n}"}])],
            "rejected": [said("assistant", [{"type": "text", "text": f"bad {n}"}])],
        }
    ),
    "labelled text": _rows(lambda n: {"id": n, "prompt": f"ask {n}", "completion": f"said {n}", "label": n % 2 == 0}),
    "labelled messages": _rows(
        lambda n: {
            "prompt": [said("user", f"ask {n}")],
            "completion": [said("assistant", f"said {n}")],
            "label": n % 2 == 0,
        }
    ),
    "labelled conversations": _rows(
        lambda n: {"messages": [said("user", f"ask {n}"), said("assistant", f"said {n}")], "label": n % 2 == 0}
    ),
}
"""Six good records of every shape that is read."""

JUNK: tuple[Any, ...] = (
    *(None, "", "  \n", 0, -1.5, True, float("nan"), 10**30, [], {}, [None], [[]], {"a": {"b": 1}}, "\ud800", "\x00"),
    *("<|im_start|>user\nhi", '[{"role": "user", "content": "hi"}]', "\n\nHuman: hi", "\n\nHuman: a\n\nAssistant:"),
    *(
        [said("user", "hi")],
        [said("assistant", "")],
        [said("tool", "4")],
        [said("assistant", None)],
        said("user", "hi"),
    ),
    *([{"from": "human", "value": "hi"}], [{"role": "user"}], [{"type": "image_url", "image_url": {"url": "x"}}]),
    *([{"type": "text"}], [{"type": "text", "text": "part"}], ["part", "part"], "天空是蓝色的", "a\u2028b"),
)
NAMES = ("prompt", "chosen", "rejected", "completion", "label", "messages", "conversations", "tools", "id", "record")
NAMES += ("question", "score_chosen", "role", "content", "from", "tool_calls", "images")

Mutation = Callable[[random.Random, Rows], None]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a value."""
    pairs = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [(value, key) for key, _ in pairs] + [place for _, inner in pairs for place in _places(inner)]


def _replace(rng: random.Random, rows: Rows) -> None:
    container, key = rng.choice(_places(rng.choice(rows)))
    container[key] = copy.deepcopy(rng.choice(JUNK))


def _replace_everywhere(rng: random.Random, rows: Rows) -> None:
    key, value = rng.choice([*rows[0]]), rng.choice(JUNK)
    for row in rows:
        row[key] = copy.deepcopy(value)


def _delete(rng: random.Random, rows: Rows) -> None:
    container, key = rng.choice(_places(rng.choice(rows)))
    del container[key]


def _rename(rng: random.Random, rows: Rows) -> None:
    container, key = rng.choice(_places(rng.choice(rows)))
    if isinstance(container, dict):
        container[rng.choice(NAMES)] = container.pop(key)


def _add(rng: random.Random, rows: Rows) -> None:
    dicts = [container for container, _ in _places(rng.choice(rows)) if isinstance(container, dict)]
    rng.choice(dicts)[rng.choice(NAMES)] = copy.deepcopy(rng.choice(JUNK))


def _repeat(rng: random.Random, rows: Rows) -> None:
    rows.append(copy.deepcopy(rng.choice(rows)))


def _exchange(rng: random.Random, rows: Rows) -> None:
    row = copy.deepcopy(rng.choice(rows))
    row["chosen"], row["rejected"] = row.get("rejected"), row.get("chosen")
    rows.append(row)


def _copy_answer(rng: random.Random, rows: Rows) -> None:
    row = rng.choice(rows)
    row["rejected"] = copy.deepcopy(row.get("chosen"))


def _mix(rng: random.Random, rows: Rows) -> None:
    rows.insert(rng.randrange(len(rows) + 1), copy.deepcopy(rng.choice(GOOD[rng.choice([*GOOD])])))


def _as_json_text(rng: random.Random, rows: Rows) -> None:
    row = rng.choice(rows)
    key = rng.choice([*row])
    row[key] = json.dumps(row[key])


MUTATIONS: dict[str, Mutation] = {
    function.__name__.strip("_"): function
    for function in (
        *(_replace, _replace_everywhere, _delete, _rename, _add),
        *(_repeat, _exchange, _copy_answer, _mix, _as_json_text),
    )
}


def broken(seed: int) -> tuple[Rows, list[str]]:
    """Records of one shape after one to three mutations, and the names of shape and mutations; seed 0..10: none."""
    rng = random.Random(seed)
    shape = [*GOOD][seed % len(GOOD)]
    rows, done = copy.deepcopy(GOOD[shape]), [shape]
    for _ in range(0 if seed < len(GOOD) else rng.randint(1, 3)):
        name = rng.choice([*MUTATIONS])
        rows = [row for row in rows if row] or copy.deepcopy(GOOD[shape])
        MUTATIONS[name](rng, rows)
        done.append(name)
    return rows, done


def broken_file(seed: int) -> tuple[bytes, str, str]:
    """A file of good records with broken bytes: its content, the end of its name, and what was done to it."""
    rng = random.Random(seed)
    text = "\n".join(map(json.dumps, GOOD[[*GOOD][seed % len(GOOD)]]))
    content, suffix = text.encode(), rng.choice([".jsonl", ".json", ".jsonl.gz", ".parquet"])
    content = gzip.compress(content) if suffix.endswith(".gz") else content
    done = rng.choice(["cut", "flipped", "marked", "utf-16", "dropped", "nothing", "list"])
    place = rng.randrange(len(content))
    return (
        {
            "cut": content[:place],
            "flipped": content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :],
            "marked": b"\xef\xbb\xbf" + content,
            "utf-16": text.encode("utf-16"),
            "dropped": content[:place] + content[place + rng.randint(1, 9) :],
            "nothing": b"",
            "list": f"[{text.replace(chr(10), ', ')}]".encode(),
        }[done],
        suffix,
        done,
    )
