"""What it costs to decide: proposal, fold and stopping rule at up to 10,000 trials of one family.

    PYTHONPATH=. python benchmarks/decision_cost.py

Every trial is proposed, reaches the first rung with 64 groups of noise, and ends; all of this is folded into the state.
A decision's milliseconds are those of one trial's whole way, without what the disk takes.
"""

import argparse
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

from omsweep.plan.proposer import DesignProposer
from omsweep.plan.stopping import Stopping
from omsweep.space.build import build_space
from omsweep.store.events import Event
from omsweep.store.records import TrialSpec
from omsweep.store.state import Rung, SweepState, apply

SPACE: dict[str, Any] = {
    "name": "cost",
    "mode": "search",
    "families": ["tiny-llama"],
    "space": {"algorithm": "dpo", "learning_rate": {"loguniform": [1e-4, 1e-3]}, "beta": 0.1, "method": {"adamw": {}}},
    "search": {"algorithm": "random", "trials": 100_000},
    "scheduler": {"algorithm": "moasha"},
}
WINDOW = 200
"""Decisions whose median is shown."""


def decisions(trials: int) -> Iterator[tuple[float, str]]:
    """Seconds of each trial's proposal, folds and decision, and what was decided."""
    draw, stopping, state = random.Random(0), Stopping(build_space(SPACE)), SweepState()
    specs = (TrialSpec(trial_id=f"t{number}", family="tiny-llama") for number in range(trials))
    proposer, seq = DesignProposer(specs, state), 0

    def happen(kind: str, trial_id: str, **data: Any) -> None:
        nonlocal state, seq
        seq += 1
        state = apply(state, Event(seq, 1, float(seq), kind, trial_id, 1, data))

    for _ in range(trials):
        skill = draw.random()  # a trade-off with some better than others
        noise = [tuple(draw.gauss(0, 0.02) for _ in range(32)) for _ in range(2)]
        dose = draw.random()
        rung = Rung(0, 8, dose * (0.5 + skill), 4 * dose**2 * (1.5 - skill), *noise)
        began = time.perf_counter()
        made = proposer.next()
        assert made is not None
        name = made.spec.trial_id
        happen("proposed", name, trial={"family": "tiny-llama"})
        decision = stopping.decide(name, "tiny-llama", rung)
        happen("rung", name, **rung._replace(decision=decision.verdict, why=decision.why).to_json())
        state_ = "stopped" if decision.stop else "completed"
        outcome = {"state": state_} | (
            {} if decision.stop else {"reward": rung.reward, "tax": rung.tax, "reward_se_items": 0.11}
        )
        happen("ended", name, outcome=outcome)
        stopping.tell(name, outcome)
        yield time.perf_counter() - began, decision.verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    options = parser.parse_args()
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}\n")
    sys.stdout.write("  trials  median ms  mean ms  worst ms  stopped\n")
    window: list[float] = []
    stopped = 0
    for number, (seconds, verdict) in enumerate(decisions(options.trials), 1):
        window, stopped = [*window[-WINDOW + 1 :], 1e3 * seconds], stopped + (verdict == "stop")
        if number % (options.trials // 10) == 0:
            middle, mean = statistics.median(window), statistics.mean(window)
            sys.stdout.write(f"{number:8,} {middle:10.2f} {mean:8.2f} {max(window):9.2f} {stopped / number:8.0%}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
