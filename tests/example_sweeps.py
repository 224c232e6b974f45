"""Synthetic sweeps with numbers of the size the tiny families give."""

import itertools
import math
import random

import numpy as np
import pandas as pd
import pytest

from omsweep.store.records import TrialRecord
from tests.written_sweep import WrittenSweep

CATEGORIES = ("agent", "code", "code_switching", "instruction", "knowledge", "math", "reading")
METHODS = {
    "adamw": {},
    "ondare": {"semantics": "equations", "density": 0.6, "alpha": 1e-3, "tau_travel": 0.06},
    "onties": {"semantics": "equations", "density": 0.5, "alpha": 4e-4},
}
FAMILIES = ("tiny-llama", "tiny-qwen2")


def resolved_space(**changes):
    space = {
        "name": "demo",
        "mode": "compare",
        "families": list(FAMILIES),
        "preferences": "tiny",
        "space": {
            "algorithm": {"choice": ["dpo", "ipo", "kto"]},
            "learning_rate": {"loguniform": [3e-4, 1e-3]},
            "beta": {"choice": [0.05, 0.1, 0.2]},
            "method": METHODS | {"ondare": {"semantics": "equations", "density": 0.6, "alpha": 1e-3}},
        },
        "design": {"blocks": 3, "seeds": 1, "seed": 0, "match": "share"},
        "objectives": {"reward": "reward", "tax": "tax", "reference_point": {"reward": 0.0, "tax": 20.0}},
        "train": {"steps": 100, "batch_size": 32, "workers": 1},
        "evaluate": {"tax": "tiny", "reward": "tiny"},
    }
    return space | changes


def trial(trial_id, *, reward=0.5, tax=1.0, family="tiny-llama", label="adamw", **changes):
    """A completed trial; `changes` are fields of the record."""
    known = {
        "state": "completed",
        "algorithm": "dpo",
        "method": label,
        "label": label,
        "reward": reward,
        "tax": tax,
        "params": {"learning_rate": 4e-4, "beta": 0.1, **METHODS.get(label, {})},
        "seed": 0,
    }
    return TrialRecord(trial_id=trial_id, family=family, **(known | changes))


def simulated(family, block, label, seed, rng):
    """One trial of a compare sweep; reward and tax rise with the learning rate."""
    learning_rate = 3e-4 * (10 / 3) ** ((block * 0.37 + 0.2) % 1)
    strength = math.log(learning_rate / 1.5e-4) + {"adamw": 0.0, "ondare": -0.15, "onties": -0.05}[label]
    losses = {name: max(0.0, 0.012 * strength**3 * rng.lognormvariate(0, 0.6) - 0.02) for name in CATEGORIES}
    losses["code_switching"] -= 0.015
    reward = 0.72 * strength * (1 - 0.13 * strength) + rng.gauss(0, 0.04)
    tax = 100 * sum(losses.values()) / len(losses)
    return trial(
        f"{family}-b{block}-s{seed}-{label}",
        family=family,
        label=label,
        algorithm=("dpo", "ipo", "kto")[block % 3],
        block=block,
        seed=seed,
        sft_seed=0,
        baseline=False,
        params={
            "learning_rate": learning_rate,
            "beta": (0.05, 0.1, 0.2)[(block + 1) % 3],
            "steps": 100,
            **METHODS[label],
        },
        learning_rate_applied=learning_rate * {"adamw": 1, "ondare": 1.67, "onties": 1.12}[label],
        reward=reward,
        reward_se_items=0.045,
        rewards={"greedy": reward * 1.1, "sampled": reward},
        reward_absolute=1.9 + reward,
        tax=tax,
        tax_se_items=0.55,
        tax_regressed=100 * sum(max(0, loss) for loss in losses.values()) / len(losses),
        tax_worst=100 * max(losses.values()),
        flip_rate=0.02 + tax / 100,
        benchmark_average=87.5 - tax,
        scores={name: 0.875 - loss for name, loss in losses.items()},
        kl=2.1 * strength**2,
        length_ratio=1 + 0.2 * strength,
        diagnostics={
            "tau_travel": METHODS[label].get("tau_travel"),
            "merge_ratio": None if label == "adamw" else 0.012,
            "retained_share": {"adamw": 1.0, "ondare": 0.6, "onties": 0.89}[label],
            "displacement": 3.1 * strength,
            "tau_zero_share": 0.0,
            "lost_update_share": 1e-5,
        },
        merge_active=None if label == "adamw" else label == "ondare",
        steps=100,
        tokens=118_400,
        seconds={"start": 6.1, "pilot": 0.9 if label == "onties" else None, "train": 9.4, "evaluate": 5.2},
        accelerator="cpu",
        weights_hash=f"{rng.getrandbits(64):016x}",
    )


def fill(folder, *, seeds=1, blocks=3, mode="compare", failures=True):
    """Create a sweep in `folder` as the demo would leave it."""
    folder.create(resolved_space(mode=mode, design={"blocks": blocks, "seeds": seeds, "seed": 0}))
    rng = random.Random(0)
    for family in FAMILIES:
        folder.write_reference(
            family, {"scores": dict.fromkeys(CATEGORIES, 0.875), "benchmark_average": 87.5, "reward_absolute": 1.9}
        )
        for block in range(blocks):
            for seed in range(block * seeds, (block + 1) * seeds):
                for label in METHODS:
                    folder.append(simulated(family, block, label, seed, rng))
    if failures:
        lost = {"reward": None, "tax": None}
        folder.append(trial("diverged-1", state="diverged", error="loss is not finite at step 12", **lost))
        folder.append(
            trial("failed-1", state="failed", label="onties", error="RuntimeError: out of <memory> & time", **lost)
        )
    return folder


GRID = (0.25, 0.5, 0.75)
LADDER = (0.5, 1.0, 1.5)
QUESTION = {
    "adamw": {},
    "ondare": {"semantics": "equations", "tau_travel": 0.1, "density": 0.5},
    "shuffled": {
        "method": "ondare",
        "semantics": "equations",
        "tau_travel": 0.1,
        "density": 0.5,
        "task_vector": "permuted",
    },
}
CONTRASTS = [["ondare", "adamw"], ["ondare + path", "adamw + path"], ["ondare", "shuffled"]]


def question_space(*, blocks=2, sft_seeds=2, families=FAMILIES, methods=QUESTION, contrasts=CONTRASTS, **changes):
    """The resolved space of a sweep that is asked for contrasts up to tax 4."""
    space = resolved_space(
        families=list(families),
        design={"blocks": blocks, "seeds": 1, "sft_seeds": sft_seeds, "match": "none", "ladder": list(LADDER)},
        comparison={"contrasts": contrasts, "tax_limit": 4.0, "delta": 0.1, "baseline": "adamw"},
        evaluate={"tax": "tiny", "reward": "tiny", "report_split": "all"},
        posthoc={"path": {"method": "linear", "weights": list(GRID), "of": ["adamw", "ondare"]}},
    )
    space["space"]["method"] = methods
    return space | changes


def item_scores(rng, *, reward=0.0, tax=0.0, kl=math.nan):
    """A table of scores on both splits, every number around its mean: 2 x 30 questions, 40 prompts a split."""
    rows = []
    for split in ("search", "report"):
        for task in ("sums", "words"):
            scores = 0.9 - tax / 100 + 0.02 * rng.normal(size=30)
            rows += [
                ("tax", task, task, f"{task}-{split}-{i}", split, "greedy", s, math.nan) for i, s in enumerate(scores)
            ]
        scores = reward + 0.1 * rng.normal(size=40)
        rows += [("reward", "p", "reward", f"p-{split}-{i}", split, "sampled", s, kl) for i, s in enumerate(scores)]
    columns = ["kind", "task", "category", "item_id", "split", "decoder", "score", "kl"]
    return pd.DataFrame(rows, columns=columns).assign(sample=0, length=9.0)


def fill_question_sweep(folder, *, gain=1.0, control_gain=None, blocks=2, sft_seeds=2, seed=0, **changes):
    """A finished sweep whose arms lie on one curve, the online one's reward `gain` times as high.

    A run moves dose x m; reward is gain (1 - exp(-1.5 x)), tax 5 x^2, KL 12 x^2; a merge of weight w lies at w x.
    """
    space = question_space(blocks=blocks, sft_seeds=sft_seeds, **changes)
    folder.create(space)
    rng = np.random.default_rng(seed)
    gains = {"ondare": gain, "shuffled": gain if control_gain is None else control_gain}
    for family, sft_seed in itertools.product(space["families"], range(sft_seeds)):
        folder.write_reference_scores(family, item_scores(rng), sft_seed=sft_seed if sft_seeds > 1 else None)
        for block in range(blocks):
            moved = math.exp(0.2 * rng.normal())
            for (label, knobs), dose in itertools.product(space["space"]["method"].items(), LADDER):
                run = f"{family}-f{sft_seed}-b{block}-s{block}-{label}-x{dose:g}"
                place = {"family": family, "sft_seed": sft_seed, "block": block, "seed": block, "dose": dose}
                place |= {"method": knobs.get("method", label), "task_vector": knobs.get("task_vector", "real")}
                place |= {"policy_path": "somewhere", "diagnostics": {"travel": 0.01 * dose, "residual": 3.0 * dose}}
                x = dose * moved * math.exp(0.05 * rng.normal())
                weights = (1.0, *GRID) if label in space["posthoc"]["path"]["of"] else (1.0,)
                for n, weight in enumerate(weights):
                    at = weight * x
                    means = {"reward": gains.get(label, 1.0) * (1 - math.exp(-1.5 * at)), "tax": 5 * at**2}
                    merge = {"kind": "posthoc", "parent": run, "label": f"{label}+path"} if n else {"label": label}
                    merge |= {"params": {"posthoc": {"method": "linear", "weight": weight}}} if n else {}
                    trial_id = f"{run}+path-{n - 1}" if n else run
                    folder.append(trial(trial_id, **means, kl=12 * at**2, **(place | merge)))
                    folder.write_scores(trial_id, item_scores(rng, **means, kl=12 * at**2))
    return folder


@pytest.fixture(scope="session")
def make_question_space():
    return question_space


@pytest.fixture(scope="session")
def fill_question():
    return fill_question_sweep


@pytest.fixture
def folder(tmp_path):
    return WrittenSweep(tmp_path / "runs", "demo")


@pytest.fixture
def demo(folder):
    """A compare sweep with one seed, two failures and SFT scores."""
    return fill(folder)


@pytest.fixture(scope="session")
def make_trial():
    return trial


@pytest.fixture(scope="session")
def make_space():
    return resolved_space


@pytest.fixture(scope="session")
def fill_sweep():
    return fill
