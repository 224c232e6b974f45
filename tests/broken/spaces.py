"""Search space files that are broken in one place."""

from collections.abc import Iterator
from random import Random
from typing import Any

import yaml

from tests.broken.mutations import ODD_VALUES, as_json, mutated, torn

GOOD: dict[str, Any] = {
    "name": "good",
    "mode": "compare",
    "families": ["tiny-llama", {"name": "mine", "base": "a/b", "sft": "a/c", "parameters": 1000}],
    "preferences": {"path": "pairs.jsonl"},
    "space": {
        "algorithm": {"choice": ["dpo", "ipo"]},
        "learning_rate": {"loguniform": [1e-5, 1e-3]},
        "beta": 0.1,
        "method": {
            "adamw": {},
            "half": {
                "method": "ondare",
                "semantics": "equations",
                "tau_travel": {"uniform": [0.1, 0.3]},
                "density": 0.5,
            },
            "onties": {
                "semantics": "released",
                "alpha": {"choice": [1e-4, 1e-3]},
                "preferences": {"path": "pairs.jsonl"},
            },
        },
    },
    "design": {"blocks": 2, "seeds": 2, "ladder": [0.5, 1, 2], "cross": []},
    "posthoc": {"grid": {"method": "linear", "weights": [0.25, 0.5], "of": ["adamw"]}},
    "comparison": {"contrasts": [["half", "adamw"]], "tax_limit": {"tiny-llama": 5.0, "mine": 4}, "baseline": "adamw"},
    "objectives": {"tax": "tax", "reference_point": {"tax": 20.0}},
    "train": {
        "steps": 20,
        "batch_size": 8,
        "warmup_steps": 2,
        "lr_scheduler": "cosine",
        "resources_per_worker": {"cpus": 1},
    },
    "evaluate": {"tax": "suite", "reward": {"scorer": "tiny", "prompts": "tiny"}, "samples": 1, "report_split": "all"},
    "report": {"study": None},
    "keep": {"policies": "front"},
}
SETTINGS = [
    "train.steps",
    "space.beta",
    "families[0]",
    'space.method["half"].density',
    "posthoc.grid.weights[1]",
    "name",
]


def broken_spaces(count: int, seed: int) -> Iterator[tuple[str, list[str]]]:
    """Texts of search spaces beside which `pairs.jsonl` and `suite` lie, each with what is given with `--set`."""
    random = Random(seed)
    for _ in range(count):
        kind = random.choice(["data", "data", "data", "data twice", "text", "set"])
        content = mutated(GOOD, random) if kind.startswith("data") else GOOD
        if kind == "data twice" and isinstance(content, dict):
            content = mutated(content, random)
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
        settings = []
        if kind == "set":
            value = as_json(random.choice(ODD_VALUES))
            settings = [
                torn(f"{random.choice(SETTINGS)}={value}", random) if random.random() < 0.5 else f"name={value}"
            ]
        yield torn(text, random) if kind == "text" else text, settings
