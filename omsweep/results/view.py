"""Everything a report shows of one sweep, read from its folder once."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from omsweep.results.front import front_summary, is_scored, label_of, parent_label
from omsweep.results.objectives import Objectives
from omsweep.results.progress import Driver, Progress, progress_of
from omsweep.space.schema import Bound
from omsweep.store.folder import SweepFolder, describe, reference_of
from omsweep.store.records import TrialRecord
from omsweep.store.state import SweepState
from omsweep.strict_json import flatten

if TYPE_CHECKING:
    from omsweep.results.answers.whole import Answers
    from omsweep.results.comparison.findings import Findings
    from omsweep.results.course import Course
    from omsweep.results.samples import Sample

SHOWN_APART = ("trial_id", "family", "algorithm", "label", "method", "block", "seed", "baseline")


@dataclass(frozen=True, kw_only=True)
class SweepView:
    """One sweep as its report shows it; `description` is `sweep.json`, `summary` the content of `front.json`.

    `findings` is the comparison, where one was asked for; it, `course` (what happened when), `answers` (what to take),
    `losses` (of every step) and `samples` (answers), both by trial id, are there where this is the view of a whole
    report.
    """

    description: Mapping[str, Any]
    trials: Sequence[TrialRecord]
    summary: Mapping[str, Any]
    references: Mapping[str, Mapping[str, Any]]
    objectives: Objectives
    progress: Progress
    findings: "Findings | None" = None
    course: "Course | None" = None
    answers: "Answers | None" = None
    losses: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    samples: Mapping[str, Sequence["Sample"]] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """The sweep's name."""
        return str(self.description["name"])

    @cached_property
    def resolved(self) -> Mapping[str, Any]:
        """The resolved search space."""
        resolved: Mapping[str, Any] = self.description["resolved"]
        return resolved

    @cached_property
    def families(self) -> list[str]:
        """Families in the space's order, then any other that has trials."""
        asked = [f if isinstance(f, str) else f.get("name") for f in self.resolved.get("families") or []]
        ran = [trial.family for trial in self.trials]
        return list(dict.fromkeys([name for name in asked if name in ran] + ran))

    @cached_property
    def branches(self) -> list[str]:
        """Labels of the space's branches, in order."""
        methods = (self.resolved.get("space") or {}).get("method")
        return list(methods) if isinstance(methods, Mapping) else []

    @cached_property
    def crossed(self) -> list[str]:
        """Knobs of which every level runs in every block."""
        return list((self.resolved.get("design") or {}).get("cross") or [])

    @cached_property
    def labels(self) -> list[str]:
        """Labels that have trials, by their branches' order in the space, controls and merges after a branch's own."""
        place = {label: i for i, label in enumerate(self.branches)}
        ran = dict.fromkeys(label_of(trial) for trial in self.trials)

        def order(label: str) -> tuple[int, bool, bool]:
            trained = parent_label(label)
            return place.get(trained.partition("/")[0], len(place)), "/" in label, label != trained

        return sorted(ran, key=order)

    @cached_property
    def constraints(self) -> dict[str, Bound]:
        """Bounds that a search keeps numbers of its trials in."""
        return _constraints(self.resolved)

    @cached_property
    def trained_labels(self) -> list[str]:
        """Those of `labels` that were trained, not merged after training."""
        return [label for label in self.labels if label == parent_label(label)]

    @cached_property
    def algorithms(self) -> list[str]:
        """Algorithms that ran, in alphabetical order."""
        return sorted({trial.algorithm or "none" for trial in self.trials})

    @cached_property
    def members(self) -> dict[str, Mapping[str, Any]]:
        """By id what `summary` says of the trials on their family's front."""
        return {member["trial_id"]: member for member in self.summary["members"]}

    @cached_property
    def member_ids(self) -> set[str]:
        """Trials on their family's front."""
        return set(self.members)

    def scored(self, family: str) -> list[TrialRecord]:
        """Trials of a family that ended with both objectives."""
        return [t for t in self.trials if t.family == family and is_scored(t, self.objectives)]

    def reference_scores(self, family: str) -> dict[int | None, Mapping[str, float]]:
        """By SFT seed of a family's scored trials, what that SFT model scored; nothing for one that was not kept."""
        seeds = sorted({t.sft_seed for t in self.scored(family)}, key=lambda seed: -1 if seed is None else seed)
        kept = {seed: reference_of(self.references, family, seed) for seed in seeds}
        return {seed: reference["scores"] for seed, reference in kept.items() if reference and reference.get("scores")}

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Per trial id its flattened settings, without what is shown in columns of its own."""
        return {
            trial.trial_id: {k: v for k, v in flatten(trial.params).items() if k not in SHOWN_APART}
            for trial in self.trials
        }


def read_view(folder: SweepFolder) -> SweepView:
    """Read a sweep's folder and summarise its fronts; raises FileNotFoundError where there is no sweep."""
    return view_of(folder, folder.state())


def view_of(folder: SweepFolder, state: SweepState) -> SweepView:
    """A sweep as its report shows it; of the folder only who holds it, and what stopped its driver."""
    stopped = f"tracebacks/driver-{state.epoch}.txt"
    there = stopped if (folder.path / stopped).is_file() else None
    trials, resolved = state.records(), state.resolved
    objectives = Objectives.from_settings(resolved.get("objectives") or {})
    summary = front_summary(
        trials,
        objectives,
        mode=resolved.get("mode", "search"),
        report_scores=state.report_scores(),
        constraints=_constraints(resolved),
    )
    return SweepView(
        description=describe(state),
        trials=trials,
        summary=summary,
        references=state.references(),
        objectives=objectives,
        progress=progress_of(state, Driver.of(folder.files), traceback=there, now=time.time()),
    )


def _constraints(resolved: Mapping[str, Any]) -> dict[str, Bound]:
    constraints = (resolved.get("search") or {}).get("constraints") or {}
    return {name: Bound(**bound) for name, bound in constraints.items()}
