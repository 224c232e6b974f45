"""What `check` says about the comparison: what it asks, what it cannot show, how small an effect it will see."""

import math
from collections.abc import Iterator

from omsweep.results.comparison.pilot import Planned, planned, read_pilot
from omsweep.results.comparison.points import Arm
from omsweep.results.comparison.question import Question, arm_of, question_of
from omsweep.results.numbers import counted, fixed, short
from omsweep.space.knobs import Choice, SpaceError
from omsweep.space.search_space import SearchSpace

PATH = "comparison"


def check_comparison(space: SearchSpace) -> None:
    """Whether what the section `comparison` asks can be answered by this sweep; raises SpaceError."""
    file, asked, report = space.file, space.file.comparison, space.file.report
    if asked is None:
        if report.pilot is not None:
            raise SpaceError("report.pilot", "says how small an effect a comparison can show, and none is asked for")
        return
    if file.mode != "compare":
        raise SpaceError(PATH, "compares arms with equal draws: remove it or give mode: compare")
    if not space.design.ladder:
        raise SpaceError("design.ladder", "must give the doses at which every arm is trained, such as [0.5, 1, 2, 4]")
    if space.design.cross:
        raise SpaceError("design.cross", "turns a label into several recipes, which a comparison cannot tell apart")
    if file.evaluate.report_split != "all":
        raise SpaceError("evaluate.report_split", "must be all: arms are chosen on one split and read on the other")
    if file.objectives.tax != "tax":
        raise SpaceError("objectives.tax", f"must be tax for a comparison, got {file.objectives.tax!r}")
    limit = asked.tax_limit
    if isinstance(limit, dict) and set(limit) != set(space.family_names):
        raise SpaceError(
            f"{PATH}.tax_limit",
            f"must name the sweep's families, {', '.join(space.family_names)}, got {', '.join(limit)}",
        )
    for path, name in _named(space):
        try:
            arm = arm_of(name)
        except ValueError as error:
            raise SpaceError(path, str(error)) from None
        _check_arm(space, arm, path)
    seen: list[set[Arm]] = []
    for number, (first, second) in enumerate(asked.contrasts):
        pair = {arm_of(first), arm_of(second)}
        if len(pair) == 1:
            raise SpaceError(f"{PATH}.contrasts.{number}", f"compares {first!r} with itself")
        if pair in seen:
            raise SpaceError(f"{PATH}.contrasts.{number}", f"compares {first!r} with {second!r} again")
        seen.append(pair)
    if report.pilot is not None:
        try:
            read_pilot(report.pilot)
        except ValueError as error:
            raise SpaceError("report.pilot", str(error)) from None


def _named(space: SearchSpace) -> Iterator[tuple[str, str]]:
    asked = space.file.comparison
    assert asked is not None, "checked before"
    yield f"{PATH}.baseline", asked.baseline
    for number, pair in enumerate(asked.contrasts):
        for name in pair:
            yield f"{PATH}.contrasts.{number}", name


def _check_arm(space: SearchSpace, arm: Arm, path: str) -> None:
    branches = {branch.label: branch for branch in space.branches}
    if arm.label not in branches:
        raise SpaceError(path, f"unknown label {arm.label!r}; allowed: {', '.join(branches)}")
    kind = space.knobs_of(branches[arm.label]).get("task_vector")
    if isinstance(kind, Choice):
        raise SpaceError(path, f"{arm.label} draws its task vector: give each control a branch of its own")
    if not arm.grid:
        return
    grids = {grid.label: grid for grid in space.posthoc if arm.label in grid.of}
    if arm.grid not in grids:
        allowed = f"allowed: {', '.join(grids)}" if grids else "there is none"
        raise SpaceError(path, f"{arm.grid!r} is no entry of posthoc that {arm.label} gets; {allowed}")
    question = question_of(space.resolved())
    assert question is not None, "a comparison is asked for"
    if not question.grids[arm.grid].one_way:
        raise SpaceError(
            path, f"{arm.grid} must be one way back: weights in (0, 1) at one density and seed, or travel_of alone"
        )


def comparison_lines(space: SearchSpace) -> list[str]:
    """The contrasts to come, and how small a difference they can be expected to show; nothing where none is asked."""
    question = question_of(space.resolved())
    if question is None:
        return []
    limit, doses = question.limit_text(space.family_names), ", ".join(f"{dose:g}" for dose in question.ladder)
    start = (
        f"comparison: area up to tax {limit} over doses {doses}, as a share of {question.baseline.name}'s; verdicts "
        f"over {counted(len(question.contrasts), 'contrast')}, equivalent within {question.delta:g}"
    )
    contrasts = [f"  {first.name} - {second.name}" for first, second in question.contrasts]
    return [start, *contrasts, _expected(space, question)]


def _expected(space: SearchSpace, question: Question) -> str:
    if space.file.report.pilot is None:
        return "power: unknown: needs a pilot (report.pilot: the folder of a smaller sweep with other seeds)"
    pilot = read_pilot(space.file.report.pilot)
    found = planned(question, space.family_names, pilot)
    effect = "none, nothing is repeated" if math.isinf(found.effect) else fixed(found.effect, 3)
    origin = f"{pilot.get('sweep')} ({str(pilot.get('created'))[:10]})"
    return (
        f"power: a difference of {question.delta:g} is found with probability {fixed(found.power)}, and one of {effect}"
        f" with 0.80; simulated from the variances of {origin}, pooled over"
        f" {counted(found.contrasts, 'contrast')}{_caution(space, question, found, pilot)}"
    )


def comparison_notes(space: SearchSpace) -> list[str]:
    """What the comparison will not show, and why."""
    question = question_of(space.resolved())
    if question is None:
        return []
    own = [b.label for b in space.branches if b.label in question.labels and "learning_rate" in b.knobs]
    unequal = [f"comparison: learning rates of {', '.join(own)} are their own: not the same ladder"] if own else []
    return [*unequal, *(f"comparison: not shown: {reason}" for reason in question.missing)]


def _caution(space: SearchSpace, question: Question, found: Planned, pilot: dict) -> str:
    """What makes the pilot's variances other than this sweep's."""
    said = [] if found.sft_seeds_known else ["it had one SFT seed, whose variance counts as 0: at best"]
    unknown = [family for family in space.family_names if family not in pilot["blocks"]]
    if unknown:
        said.append(f"it did not have {', '.join(unknown)}, counted as the others")
    if pilot.get("tax_limit") != question.tax_limit:
        limit = pilot.get("tax_limit")
        said.append(f"its tax limit was {limit if isinstance(limit, dict) else short(limit)}")
    other = [
        name for name, value in space.resolved()["evaluate"].items() if (pilot.get("evaluate") or {}).get(name) != value
    ]
    if other:
        said.append(f"it differs in evaluate.{', evaluate.'.join(other)}")
    return "".join(f"; {one}" for one in said)
