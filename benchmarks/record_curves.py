"""Record what trials of the tiny family score at their rungs, for `benchmarks/stopping_simulated.py`.

Trains every recipe of a grid for 48 steps, one after another in this process and in random order, and scores the policy
on the way: after `SCORED_AT` steps on nested random subsets of the search split, at the end on a larger one. Of the
items is kept what the log keeps of a rung: both means, and what 32 groups of items add to their errors.

    PYTHONPATH=. python benchmarks/record_curves.py benchmarks/data/recorded_curves.json.gz

Every recipe is a line of OUTPUT.jsonl first; the same command goes on where it stopped. Seconds are this process's
processor time, one thread.
"""

import argparse
import gzip
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pandas as pd
from tqdm import tqdm

from omsweep.align.settings import train_settings_from
from omsweep.align.train import train
from omsweep.evaluation.clusters import limited
from omsweep.evaluation.score import score_policy
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.statistics import reward_and_tax, rung_noise
from omsweep.families.decoding import Decoding
from omsweep.optim.task_vector_file import open_task_vector
from omsweep.plan.optuna import StudyProposer
from omsweep.plan.simulate import recipe_of
from omsweep.provenance import versions
from omsweep.space.build import build_space
from omsweep.space.specs import preparation
from omsweep.store.records import Prepared, TrialSpec
from omsweep.trial.models import sft_model, sft_tokenizer
from omsweep.trial.prepare.family import prepare_family
from omsweep.trial.prepare.reference import score_references
from omsweep.trial.scoring import EVALUATION_SEED, reference_table

STEPS, SCORED_AT = 48, (4, 8, 16, 24, 32)
LIMITS, LAST_LIMIT = (16, 32), 128
"""Items per task, and prompts, that a rung may be scored on, and that the end is; they are nested."""
TIMED = 4
"""Recipes whose policy is scored at every limit, for the seconds."""
SPACE: dict[str, Any] = {
    "name": "recorded",
    "mode": "search",
    "families": ["tiny-llama"],
    "space": {
        "algorithm": {"choice": ["dpo", "ipo"]},
        "learning_rate": {"choice": [2e-4, 4e-4, 8e-4, 1.6e-3]},
        "beta": {"choice": [0.05, 0.2]},
        "method": {
            "adamw": {},
            "ondare": {"semantics": "equations", "tau_travel": 0.1, "density": 0.5},
            "onties": {"semantics": "equations", "alpha": 5e-4, "density": 0.5},
        },
    },
    "search": {"algorithm": "grid"},
    "train": {"steps": STEPS, "batch_size": 32, "backend": "inprocess"},
    "evaluate": {"limit": LAST_LIMIT},
}


class Named(NamedTuple):
    """An item as `limited` wants it."""

    item_id: str
    cluster: str


def grid() -> Iterator[TrialSpec]:
    """A trial for each recipe, shuffled, so that the first so many are a sample of all."""
    proposer, specs = StudyProposer(build_space(SPACE)), []
    while (made := proposer.next()) is not None:
        specs.append(made.spec)
    yield from Random(0).sample(specs, len(specs))


def subset(frame: pd.DataFrame, limit: int) -> pd.DataFrame:
    """The rows of the items that `evaluate.limit` chooses among a larger limit's."""
    kept = []
    for _, rows in frame.groupby(["kind", "task"], sort=False):
        items = list(dict.fromkeys(Named(*one) for one in zip(rows["item_id"], rows["cluster"], strict=True)))
        chosen = {one.item_id for one in limited(items, limit)}
        kept.append(rows[rows["item_id"].isin(chosen)])
    return pd.concat(kept)


def numbers(policy: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    """What is kept of a scored policy."""
    found = reward_and_tax(policy, reference)
    return {name: round(found[name], 5) for name in ("reward", "tax")} | rung_noise(policy, reference)


class Recorder:
    """Trains and scores recipes from one prepared SFT model."""

    def __init__(self, prepared: Prepared, evaluate: EvaluateSettings) -> None:
        self.prepared, self.evaluate = prepared, evaluate
        self.tokenizer = sft_tokenizer(prepared)
        self.reference = reference_table(evaluate, prepared, "search")

    def curve(self, spec: TrialSpec, timed: bool) -> dict[str, Any]:
        """Scores and seconds of one recipe."""
        model, rungs, scoring = sft_model(self.prepared), dict[int, Any](), [0.0]
        settings = train_settings_from(spec.train or {})

        def stepped(step: int, _metrics: dict[str, float]) -> None:
            if step in SCORED_AT or (timed and step == STEPS):
                began = time.process_time()
                policy = self.scored(model, max(LIMITS))
                rungs[step] = {limit: self.numbers(policy, limit) for limit in LIMITS}
                scoring[0] += time.process_time() - began

        began = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            outcome = train(
                settings,
                model=model,
                tokenizer=self.tokenizer,
                data=Path(self.prepared.data[spec.data][settings.algorithm]),
                task_vector=open_task_vector(self.prepared.task_vectors[spec.task_vector]),
                output_dir=Path(folder),
                on_step=stepped,
            )
        seconds = {"train": time.process_time() - began - scoring[0]}
        for limit in LIMITS if timed else ():
            began = time.process_time()
            policy = self.scored(model, limit)
            seconds[f"score_{limit}"] = time.process_time() - began
        if timed:  # what is scored on the way is what is scored after training
            assert self.numbers(policy, max(LIMITS)) == rungs.pop(STEPS)[max(LIMITS)]
        began = time.process_time()
        policy = self.scored(model, LAST_LIMIT)
        seconds["score"] = time.process_time() - began
        return {"recipe": recipe_of(spec), "state": outcome.state, "seconds": seconds, "rungs": rungs,
                "end": numbers(policy, self.reference)}  # fmt: skip

    def scored(self, model: Any, limit: int) -> pd.DataFrame:
        """The policy's table on the search split, without the KL to the SFT model."""
        settings = EvaluateSettings(limit=limit, samples=self.evaluate.samples)
        return score_policy(
            model,
            self.tokenizer,
            settings=settings,
            split="search",
            seed=EVALUATION_SEED,
            decoding=Decoding(**self.prepared.decoding),
        )

    def numbers(self, policy: pd.DataFrame, limit: int) -> dict[str, Any]:
        """`numbers` on the nested subset of a limit."""
        ids = set(policy["item_id"])
        ours = self.reference[self.reference["item_id"].isin(ids)]
        return numbers(subset(policy, limit), subset(ours, limit))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--recipes", type=int, help="the first so many only")
    options = parser.parse_args()
    space, specs = build_space(SPACE), list(islice(grid(), options.recipes))
    lines = options.output.with_suffix(".jsonl")
    done = len(lines.read_text().splitlines()) if lines.exists() else 0
    wanted = preparation(space, "tiny-llama", trials=list(grid()))
    prepared, _ = prepare_family(wanted, tqdm)
    score_references(wanted, prepared, tqdm)
    recorder = Recorder(prepared, space.evaluate)
    for number, spec in enumerate(specs[done:], start=done):
        curve = recorder.curve(spec, timed=number % (len(specs) // TIMED or 1) == 0)
        with lines.open("a") as file:
            file.write(json.dumps(curve) + "\n")
        sys.stdout.write(f"{number + 1}/{len(specs)} {spec.trial_id} {curve['seconds']}\n")
        sys.stdout.flush()
    made = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} shared cores, no accelerator",
        "versions": versions(),
        "space": SPACE,
        "steps": STEPS,
        "limits": LIMITS,
        "curves": [json.loads(line) for line in lines.read_text().splitlines()],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(gzip.compress(json.dumps(made).encode(), mtime=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
