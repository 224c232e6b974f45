"""What a trial costs beside training and scoring, in five ways of running the same trials two at a time.

plain      a new process for each trial: TRL trains with our optimizer, lm-eval scores, no Ray
trainer    one stock TorchTrainer for each trial, on a Ray that is up
cold       a sweep with `backend: train` and `reuse_workers: false`
warm       a sweep with `backend: train`
inprocess  a sweep with `backend: inprocess`

All read the same prepared models and data. Lost seconds a trial = (wall x slots - train - evaluate) / trials; wall is
from the first start of a trial to the end of the last, the start of the first workers included. *Later* is the same
without the first trial of each slot: what one more trial costs. The ways take turns, `--rounds` times; ratios within
one run mean something, single seconds on a shared machine do not.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from rich.console import Console
from tqdm import tqdm

from omsweep.cluster.connect import connect
from omsweep.engine.run import run_sweep
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.space.specs import preparation
from omsweep.store.folder import SweepFolder
from omsweep.store.records import Outcome, Prepared, TrialSpec
from omsweep.trial.prepare.family import prepare_family
from omsweep.trial.prepare.reference import score_references
from omsweep.trial.session import run_session

SLOTS = 2
CHILD = "--child"


class Result(NamedTuple):
    """The trials of one way by trial id: when each started and ended (Unix time), and its outcome."""

    spans: Mapping[str, tuple[float, float]]
    outcomes: Mapping[str, Any]

    @property
    def wall(self) -> float:
        """Seconds from the first start to the last end."""
        return self._last - min(start for start, _ in self.spans.values())

    @property
    def lost(self) -> float:
        """Seconds of a slot that a trial cost beside training and scoring."""
        return (self.wall * SLOTS - self._worked(self.spans)) / len(self.spans)

    @property
    def later(self) -> float:
        """The same without the first trial of each slot."""
        order = sorted(self.spans, key=lambda name: self.spans[name])
        first, rest = order[:SLOTS], order[SLOTS:]
        return (sum(self._last - self.spans[name][1] for name in first) - self._worked(rest)) / len(rest)

    @property
    def _last(self) -> float:
        return max(end for _, end in self.spans.values())

    def _worked(self, names: Iterable[str]) -> float:
        of = [self.outcomes[name].seconds for name in names]
        return sum(seconds[phase] or 0.0 for seconds in of for phase in ("train", "evaluate"))

    @property
    def an_hour(self) -> float:
        """Trials per hour."""
        return 3600 * len(self.outcomes) / self.wall


def space(blocks: int, steps: int, limit: int | None = None, **train: Any) -> dict[str, Any]:
    """A design of three trials a block on the embedded LLaMA family; `limit` items of each task are scored."""
    return {
        "name": "throughput",
        "mode": "compare",
        "families": ["tiny-llama"],
        "space": {
            "algorithm": "dpo",
            "learning_rate": {"loguniform": [3e-4, 8e-4]},
            "beta": 0.1,
            "method": {
                "adamw": {},
                "ondare": {"semantics": "equations", "tau_travel": 0.05, "density": 0.5},
                "onties": {"semantics": "equations", "alpha": 1e-3, "density": 0.5},
            },
        },
        "design": {"blocks": blocks, "match": "none"},
        "train": {"steps": steps, "batch_size": 32, "concurrent_trials": SLOTS, **train},
        "evaluate": {} if limit is None else {"limit": limit},
        "keep": {"policies": "none"},
    }


def trial(job: Mapping[str, Any]) -> dict[str, Any]:
    """One trial where it is called; the fields of its outcome."""
    outcome = run_session(
        TrialSpec(**job["spec"]), Prepared(**job["prepared"]), Path(job["folder"]), started=time.time()
    )
    assert outcome is not None, "there is one rank"
    return outcome.model_dump()


def two_at_a_time(run: Callable[[Mapping[str, Any]], Mapping[str, Any]], jobs: Sequence[Mapping[str, Any]]) -> Result:
    """Run every job, `SLOTS` at a time."""

    def timed(job: Mapping[str, Any]) -> tuple[tuple[float, float], Outcome]:
        began = time.time()
        outcome = Outcome(**run(job))
        return (began, time.time()), outcome

    with ThreadPoolExecutor(SLOTS) as pool:
        spans, outcomes = zip(*pool.map(timed, jobs), strict=True)
    names = [job["spec"]["trial_id"] for job in jobs]
    return Result(dict(zip(names, spans, strict=True)), dict(zip(names, outcomes, strict=True)))


def in_a_process(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """A trial in a new Python process."""
    command = [sys.executable, __file__, CHILD]
    run = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


@ray.remote(num_cpus=0)
def in_a_trainer(job: Mapping[str, Any]) -> Mapping[str, Any]:
    """A trial in a Ray Train run of its own, as Ray's own examples start one."""
    run = RunConfig(name=job["spec"]["trial_id"], storage_path=f"{job['folder']}/trainer")
    trainer = TorchTrainer(
        trial, train_loop_config=dict(job), scaling_config=ScalingConfig(num_workers=1), run_config=run
    )
    found: dict[str, Any] = trainer.fit().return_value
    return found


def with_trainers(jobs: Sequence[Mapping[str, Any]]) -> Result:
    """All trials, each in a Ray Train run of its own."""
    with connect(Console(quiet=True)):
        return two_at_a_time(lambda job: ray.get(in_a_trainer.remote(dict(job))), jobs)


def in_a_sweep(content: Mapping[str, Any], storage: Path) -> Result:
    """All trials in a sweep."""
    run_sweep(build_space(content), "s", storage)
    folder = SweepFolder(storage, "s")
    times: dict[str, dict[str, float]] = {"started": {}, "ended": {}}
    for line in folder.events_jsonl.read_text().splitlines():
        event = json.loads(line)
        if event["kind"] in times:
            times[event["kind"]][event["trial_id"]] = event["time"]
    spans = {name: (start, times["ended"][name]) for name, start in times["started"].items()}
    return Result(spans, {one.trial_id: one for one in folder.trials()})


def main() -> int:
    """Run all ways in turn and print what each lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=6, help="of three trials each")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--limit", type=int, help="items of each task, and prompts, that are scored (default: all)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ways", nargs="+", default=["plain", "trainer", "cold", "warm", "inprocess"])
    parser.add_argument(CHILD, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        sys.stdout.write("\n" + json.dumps(trial(json.load(sys.stdin))) + "\n")
        return 0
    made = partial(space, options.blocks, options.steps, options.limit)
    checked = build_space(made(backend="inprocess"))
    wanted = preparation(checked, "tiny-llama")
    prepared, _ = prepare_family(wanted, tqdm)
    score_references(wanted, prepared, tqdm)
    found: dict[str, list[Result]] = {way: [] for way in options.ways}
    for _ in range(options.rounds):
        for way in options.ways:
            with tempfile.TemporaryDirectory() as storage:
                given = {"prepared": prepared.model_dump(), "folder": storage}
                jobs = [{"spec": spec.model_dump(), **given} for spec in draw(checked)]
                ways: dict[str, Callable[[], Result]] = {
                    "plain": lambda: two_at_a_time(in_a_process, jobs),  # noqa: B023
                    "trainer": lambda: with_trainers(jobs),  # noqa: B023
                    "cold": lambda: in_a_sweep(made(backend="train", reuse_workers=False), Path(storage)),
                    "warm": lambda: in_a_sweep(made(backend="train"), Path(storage)),
                    "inprocess": lambda: in_a_sweep(made(backend="inprocess"), Path(storage)),
                }
                found[way].append(ways[way]())
                sys.stdout.write(f"{way}: {found[way][-1].wall:.0f} s, lost {found[way][-1].lost:.2f} s a trial\n")
    report(found, options)
    return 0


def report(found: Mapping[str, Sequence[Result]], options: argparse.Namespace) -> None:
    """Print the table, and whether all ways gave the same weights and scores."""
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    say = sys.stdout.write
    say(
        f"{datetime.now(UTC).date()}  {where}  {3 * options.blocks} trials of {options.steps} steps,"
        f" {'all' if options.limit is None else options.limit} items scored\n"
    )
    say("way         lost s/trial   later   train s   evaluate s   trials/hour   (medians; of rounds, of trials)\n")
    for way, results in found.items():
        outcomes = [one for result in results for one in result.outcomes.values()]
        train, evaluate = (statistics.median(one.seconds[name] for one in outcomes) for name in ("train", "evaluate"))
        lost, later, an_hour = (
            statistics.median(getattr(one, name) for one in results) for name in ("lost", "later", "an_hour")
        )
        say(f"{way:<10}  {lost:12.2f}  {later:6.2f}  {train:8.2f}  {evaluate:11.2f}  {an_hour:12.0f}\n")
    numbers = {
        (
            way,
            tuple((key, one.weights_hash, one.reward, one.tax, one.kl) for key, one in sorted(result.outcomes.items())),
        )
        for way, results in found.items()
        for result in results
    }
    say(f"weights and scores equal in all ways: {len({told for _, told in numbers}) == 1}\n")


if __name__ == "__main__":
    sys.exit(main())
