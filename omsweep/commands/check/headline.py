"""What `check` says about the headline: what it will compare, what it cannot show, how small an effect it will see."""

import math
from collections.abc import Sequence

from omsweep.results.comparison.measures import Limits
from omsweep.results.comparison.pilot import Planned, planned, read_pilot
from omsweep.results.comparison.question import Question, question_of
from omsweep.results.numbers import fixed, short
from omsweep.space.knobs import SpaceError
from omsweep.space.search_space import SearchSpace


def check_headline(space: SearchSpace) -> None:
    """Whether the headline can be asked of a space at all; raises SpaceError."""
    file, objectives, report = space.file, space.file.objectives, space.file.report
    if objectives.tax_limit is None:
        needs = "needs objectives.tax_limit, the t of reward at tax <= t"
        if report.study == "question":
            raise SpaceError("report.study", f"'question' {needs}")
        if report.pilot is not None:
            raise SpaceError("report.pilot", f"says how small an effect the headline can show, which {needs}")
        return
    if file.mode != "compare":
        raise SpaceError("objectives.tax_limit", "compares arms with equal draws: remove it or give mode: compare")
    if objectives.tax != "tax":
        raise SpaceError("objectives.tax", f"must be tax where tax_limit is given, got {objectives.tax!r}")
    point, limit = objectives.reference_point, objectives.tax_limit
    without = [name for name in space.family_names if isinstance(limit, dict) and name not in limit]
    if without:
        raise SpaceError(
            "objectives.tax_limit", f"must name every family of the sweep, is missing {', '.join(without)}"
        )
    try:
        for tax in limit.values() if isinstance(limit, dict) else [limit]:
            Limits(tax=tax, reference_tax=point.tax, reference_reward=point.reward)
    except ValueError as error:
        raise SpaceError("objectives.reference_point", str(error)) from None


def check_pilot(space: SearchSpace) -> None:
    """Whether the pilot that a file names can be read; raises SpaceError."""
    if space.file.report.pilot is not None:
        try:
            read_pilot(space.file.report.pilot)
        except ValueError as error:
            raise SpaceError("report.pilot", str(error)) from None


def headline_lines(space: SearchSpace) -> list[str]:
    """The comparisons to come, with the smallest effects they can be expected to show; nothing where none is asked."""
    question = question_of(space.resolved())
    if question is None:
        return []
    start = f"headline: reward at tax <= {question.limit_text(space.family_names)}"
    pairs = question.pairs(question.merged) if question.both_splits else []
    if not pairs:
        return [f"{start}: nothing to compare"]
    if space.file.report.pilot is None:
        effects = [f"{first.name} - {second.name}" for first, second in pairs]
        last = "smallest detectable effect: unknown: needs a pilot (report.pilot: the folder of a sweep of these arms)"
    else:
        pilot = read_pilot(space.file.report.pilot)
        found = planned(question, space.family_names, pilot)
        effects = [_effect(one) for one in found]
        origin = f"{pilot.get('sweep')} ({str(pilot.get('created'))[:10]})"
        last = (
            "smallest detectable effect: mean over the families, found with probability 0.8, scorer units; by the"
            f" variances of {origin}{_caution(space, question, found, pilot)}"
        )
    return [start, *(f"  {effect}" for effect in effects), last]


def headline_notes(space: SearchSpace) -> list[str]:
    """What the headline will not show, and why."""
    question = question_of(space.resolved())
    return [] if question is None else [f"headline: not shown: {reason}" for reason in question.missing]


def _effect(one: Planned) -> str:
    name = f"{one.arm} - {one.against}: smallest detectable effect"
    if one.effect is None:
        return f"{name} unknown: the pilot compared no such pair"
    return f"{name} {'none, nothing is repeated' if math.isinf(one.effect) else fixed(one.effect, 3)}"


def _caution(space: SearchSpace, question: Question, found: Sequence[Planned], pilot: dict) -> str:
    """What makes the pilot's variances other than this sweep's."""
    said = []
    if any(one.effect is not None and not one.sft_seeds_known for one in found):
        said.append("it had one SFT seed, whose variance counts as 0: at best")
    known = {row["family"] for row in pilot["variance"]}
    unknown = [family for family in space.family_names if family not in known]
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
