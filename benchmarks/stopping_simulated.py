"""What stopping saves and costs: recorded trials of the tiny family, replayed on virtual time over many seeds.

    PYTHONPATH=. python benchmarks/stopping_simulated.py --page benchmarks/results/stopping_simulated_cpu_DATE.md

For each seed some of the recorded recipes are drawn and searched on two slots, in the same order under every rule. Of a
rule is told after which share of the seconds that the search takes without stopping its hypervolume is within the item
noise of what that finds in the end (1 where it never is), and how many members of that final front it stopped, of those
that the reference point does not rule out. Seconds include the scoring of rungs.

"Syne Tune's rule as shipped" is written down from its definition, and ranks wrongly on purpose: the trials at a rung
sorted best first, and what lies at the newest trial's own place in that list, the index of another trial, taken for its
rank. It knows no noise and stops anybody. It is here as a baseline; its order within a front is ours.
"""

import argparse
import gzip
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import optuna

from omsweep.pareto.dominance import front
from omsweep.pareto.volume import hypervolume, hypervolumes
from omsweep.plan.optuna import StudyProposer
from omsweep.plan.proposer import DesignProposer, Proposal, Proposer
from omsweep.plan.rungs import rank_correlation
from omsweep.plan.simulate import Ended, Recorded, recipe_of, simulate
from omsweep.plan.stopping import Decision, Stopping, items_at, rungs_of
from omsweep.space.build import build_space
from omsweep.space.search_space import SearchSpace
from omsweep.store.records import TrialSpec
from omsweep.store.state import Rung, SweepState

DATA = Path(__file__).with_name("data") / "recorded_curves.json.gz"
REFERENCE = (20.0, 0.0)
START_SECONDS = 0.5
"""Of a warm trial, from a free slot to the first step."""
Record = dict[str, Any]


class Recording:
    """The recorded curves, by recipe."""

    def __init__(self, path: Path) -> None:
        self.content = json.loads(gzip.decompress(path.read_bytes()))
        self.curves = self.content["curves"]
        self.grid = list(_proposed(StudyProposer(build_space(self.content["space"]))))
        self.specs = [spec for spec in self.grid if self.curve(spec)["recipe"] == recipe_of(spec)]
        timed = [curve["seconds"] for curve in self.content["curves"] if "score_16" in curve["seconds"]]
        self.scoring = {
            limit: float(np.median([one[f"score_{limit}"] for one in timed])) for limit in self.content["limits"]
        }

    def curve(self, spec: TrialSpec) -> Record:
        """The curve of a trial's recipe; of one that was not recorded the nearest recipe's."""
        asked = recipe_of(spec)

        def distance(curve: Record) -> float:
            there = curve["recipe"]
            others = sum(asked[name] != there[name] for name in ("label", "algorithm", "beta"))
            return others + abs(math.log2(asked["learning_rate"] / there["learning_rate"]))

        return min(self.curves, key=distance)

    def end(self, spec: TrialSpec) -> Record:
        """What a recipe scored at the end."""
        found: Record = self.curve(spec)["end"]
        return found

    def recorded(self, space: SearchSpace, spec: TrialSpec) -> Recorded:
        """A recipe's curve at the rungs of a space's rule; of `items` at most what was recorded."""
        curve, rule, most = self.curve(spec), space.file.scheduler, max(self.scoring)
        rungs = {}
        for level, step in rungs_of(rule, self.content["steps"]):
            items = items_at(rule, level, most)
            rungs[step] = (_rung(curve["rungs"][str(step)][str(items)], level, step), self.scoring[items or most])
        seconds = curve["seconds"]
        return Recorded(
            rungs=rungs,
            end={name: curve["end"][name] for name in ("reward", "tax")},
            step_seconds=seconds["train"] / self.content["steps"],
            score_seconds=seconds["score"],
        )


class AsShipped(Stopping):
    """Syne Tune's ranking: of the list of indices, best first, the newest trial's entry is taken for its rank."""

    def _decision(self, trial_id: str, family: str, level: int, index: int) -> Decision:
        arrivals = self._rungs[family, level]
        place = int(arrivals.order()[index])
        return Decision("go on" if place < len(arrivals.names) / self._rule.eta else "stop", f"entry {place}")


class Nsga2:
    """Optuna's NSGA-II over the recipes' own parameters, told what completes."""

    def __init__(self, specs: Sequence[TrialSpec], trials: int, seed: int) -> None:
        self._left, self._asked = trials, dict[str, optuna.Trial]()
        self._specs = specs
        recipes = [recipe_of(spec) for spec in specs]
        self._values = {name: sorted({one[name] for one in recipes if name in one}) for name in
                        ("label", "algorithm", "learning_rate", "beta")}  # fmt: skip
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.NSGAIISampler(population_size=12, seed=seed)
        self._study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)

    def next(self) -> Proposal | None:
        """The recipe that has the drawn values."""
        if not self._left:
            return None
        trial = self._study.ask()
        drawn = {name: trial.suggest_categorical(name, values) for name, values in self._values.items()}
        spec = next(one for one in self._specs if drawn.items() <= recipe_of(one).items())
        spec = spec.model_copy(update={"trial_id": f"{spec.trial_id}-{trial.number}"})
        self._left, self._asked[spec.trial_id] = self._left - 1, trial
        return Proposal(spec)

    def tell(self, trial_id: str, outcome: Mapping[str, Any] | None) -> None:
        """Both objectives of a completed trial; anything else failed."""
        done = outcome is not None and outcome["state"] == "completed"
        values = [outcome["reward"], outcome["tax"]] if done and outcome else None
        state = optuna.trial.TrialState.COMPLETE if done else optuna.trial.TrialState.FAIL
        self._study.tell(self._asked[trial_id], values, state=state)

    def left(self) -> Mapping[str, int]:
        """How many are still to come."""
        return {"tiny-llama": self._left}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A rule and who proposes; None stops nobody. `scheduler` are the keys that differ from the options'."""

    rule: type[Stopping] | None = None
    scheduler: Mapping[str, Any]
    search: str = "random order"


ARMS = {
    "no stopping": Arm(scheduler={}),
    "MO-ASHA, stop": Arm(rule=Stopping, scheduler={}),
    "MO-ASHA, promote": Arm(rule=Stopping, scheduler={"variant": "promote"}),
    "median rule": Arm(rule=Stopping, scheduler={"algorithm": "median"}),
    "MO-ASHA that knows no noise": Arm(rule=Stopping, scheduler={"noise": 0.0, "never_stop": 0.0}),
    "Syne Tune's rule as shipped": Arm(rule=AsShipped, scheduler={"never_stop": 0.0}),
    "TPE, no stopping": Arm(scheduler={}, search="tpe"),
    "TPE, MO-ASHA stop": Arm(rule=Stopping, scheduler={}, search="tpe"),
    "NSGA-II, no stopping": Arm(scheduler={}, search="nsga2"),
    "NSGA-II, MO-ASHA stop": Arm(rule=Stopping, scheduler={}, search="nsga2"),
}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one arm found under one seed.

    Attributes:
        reached: share of the seconds without stopping after which its hypervolume was within the interval.
        was_reached: whether it ever was.
        seconds: all of them, as a share.
        final: hypervolume in the end, as a share of that without stopping.
        stopped: share of trials.
        lost: stopped members of the final front, and members.
    """

    reached: float
    was_reached: bool
    seconds: float
    final: float
    stopped: float
    lost: tuple[int, int]


def searched(recording: Recording, options: argparse.Namespace, seed: int) -> dict[str, Found]:
    """All arms under one seed."""
    chosen = Random(seed).sample(recording.specs, min(options.trials, len(recording.specs)))
    ran = {name: run_arm(recording, arm, chosen, options, seed) for name, arm in ARMS.items()}
    plain = [one for one in ran["no stopping"] if one.state == "completed"]
    target, whole = within(recording, plain), plain[-1].seconds
    last = hypervolume_of(plain)
    losses = np.array([_losses(one.outcome) for one in plain])
    counts = front(losses) & (losses < REFERENCE).all(axis=1)
    members = {one.spec.trial_id for one, on in zip(plain, counts, strict=True) if on}
    found = {}
    for name, ends in ran.items():
        times = (one.seconds for number, one in enumerate(ends, 1) if hypervolume_of(ends[:number]) >= target)
        at = next(times, None)
        stopped = {one.spec.trial_id for one in ends if one.state == "stopped"}
        found[name] = Found(
            reached=1.0 if at is None else at / whole,
            was_reached=at is not None,
            seconds=ends[-1].seconds / whole,
            final=hypervolume_of(ends) / last,
            stopped=len(stopped) / len(ends),
            lost=(len(stopped & members), len(members)),
        )
    return found


def run_arm(
    recording: Recording, arm: Arm, chosen: Sequence[TrialSpec], options: argparse.Namespace, seed: int
) -> list[Ended]:
    """The ends of an arm's trials."""
    asked = {"algorithm": "moasha", "first_rung": options.first_rung, "eta": options.eta, "items": options.items}
    asked |= {"noise": options.noise, **arm.scheduler}
    search = {"algorithm": "tpe" if arm.search == "tpe" else "random", "trials": len(chosen), "seed": seed}
    space = build_space({**recording.content["space"], "search": search, "scheduler": asked})
    proposers: dict[str, Callable[[], Proposer]] = {
        "random order": lambda: DesignProposer(chosen, SweepState()),
        "tpe": lambda: StudyProposer(space),
        "nsga2": lambda: Nsga2(recording.grid, len(chosen), seed),
    }
    return simulate(
        proposers[arm.search](),
        partial(recording.recorded, space),
        scheduler=space.file.scheduler,
        rule=None if arm.rule is None else arm.rule(space),
        slots=options.slots,
        start_seconds=START_SECONDS,
    )


def within(recording: Recording, ends: Sequence[Ended]) -> float:
    """The lower end of a hypervolume's 95 % interval from item noise: items redrawn for all trials together."""
    own = [recording.end(one.spec) for one in ends]
    noise = np.array([[one["tax_noise"], [-n for n in one["reward_noise"]]] for one in own])
    weights = np.random.default_rng(0).standard_normal((1000, *noise.shape[1:]))
    redrawn = np.array([_losses(one) for one in own]) + np.einsum("tog,dog->dto", noise, weights)
    return hypervolume_of(ends) - 1.96 * float(hypervolumes(redrawn, REFERENCE).std())


def hypervolume_of(ends: Sequence[Ended]) -> float:
    """Of the trials that completed."""
    return hypervolume([_losses(one.outcome) for one in ends if one.state == "completed"], REFERENCE)


def page(found: Mapping[str, Sequence[Found]], recording: Recording, options: argparse.Namespace) -> str:
    """The table as a dated page."""
    rows = []
    for name, arm in ARMS.items():
        own = found[name]
        shares = [one.reached for one in own]
        lost, members = (sum(one.lost[i] for one in own) for i in (0, 1))
        rows.append([
            name, f"{np.mean(shares):.2f}", f"{upper(shares):.2f}", f"{sum(one.was_reached for one in own)}/{len(own)}",
            f"{np.mean([one.seconds for one in own]):.2f}", f"{np.mean([one.final for one in own]):.3f}",
            f"{np.mean([one.stopped for one in own]):.0%}",
            f"{lost / members:.1%}" if arm.search == "random order" else "-",
        ])  # fmt: skip
    heads = ("arm", "share of the seconds", "95 % upper bound", "reached", "all seconds", "final hypervolume",
             "trials stopped", "front members stopped")  # fmt: skip
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (heads, ["---"] * len(heads), *rows)]
    settings = f"first_rung {options.first_rung}, eta {options.eta}, items {options.items}, noise {options.noise:g}"
    return (
        f"# Stopping, simulated on recorded trials, {datetime.now(UTC).date().isoformat()}\n\n"
        f"{len(recording.curves)} recipes of tiny-llama, {recording.content['steps']} steps, recorded"
        f" {recording.content['date']} on {recording.content['machine']}; {options.seeds} seeds, {options.trials}"
        f" recipes each, {options.slots} slots; {settings}.\n\n"
        + "\n".join(lines)
        + f"\n\n{correlations(recording, options)}\n"
    )


def correlations(recording: Recording, options: argparse.Namespace) -> str:
    """How well the rule's order of all recipes after so many steps tells that at the end."""
    ends = [_rung(curve["end"], 0, 0) for curve in recording.curves]
    said = []
    for step in recording.curves[0]["rungs"]:
        here = [_rung(curve["rungs"][step][str(options.items)], 0, int(step)) for curve in recording.curves]
        said.append(f"{rank_correlation(here, ends, options.noise, REFERENCE):.2f} after {step} steps")
    return f"Rank correlation with the end over all recipes, {options.items} items: {', '.join(said)}."


def upper(shares: Sequence[float]) -> float:
    """Bootstrap 95 % upper bound of a mean."""
    draws = np.random.default_rng(0).choice(np.asarray(shares), (10_000, len(shares)))
    return float(np.quantile(draws.mean(axis=1), 0.95))


def _losses(scores: Mapping[str, Any]) -> tuple[float, float]:
    return scores["tax"], -scores["reward"]


def _rung(scores: Record, level: int, step: int) -> Rung:
    noise = {name: tuple(scores[name]) for name in ("reward_noise", "tax_noise")}
    return Rung(level=level, step=step, reward=scores["reward"], tax=scores["tax"], **noise)


def _proposed(proposer: Proposer) -> Iterator[TrialSpec]:
    while (made := proposer.next()) is not None:
        yield made.spec


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=28)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--first-rung", type=int, default=24)
    parser.add_argument("--eta", type=int, default=2)
    parser.add_argument("--items", type=int, default=16)
    parser.add_argument("--noise", type=float, default=1.0)
    parser.add_argument("--page", type=Path, help="also write the table to this file")
    return parser


def main() -> int:
    options = parser().parse_args()
    recording = Recording(options.data)
    began = time.monotonic()
    seeds = [searched(recording, options, seed) for seed in range(options.seeds)]
    text = page({name: [one[name] for one in seeds] for name in ARMS}, recording, options)
    sys.stdout.write(f"{text}\n{time.monotonic() - began:.0f} s\n")
    if options.page:
        options.page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
