"""Sentences that stand under plots and in the page, the same in both."""

from omsweep.plan.budget import describe
from omsweep.results.front import EXPLORATORY
from omsweep.results.numbers import counted, duration, fixed, short
from omsweep.results.progress import Progress
from omsweep.results.view import SweepView

ERROR_BARS = "Error bars: ±1.96 item standard errors (prompts and questions scored), not the spread over seeds."

GOES_ON = "the same command goes on"


def standing(progress: Progress) -> str:
    """What state a sweep is in: `running, by process 7 on a`, `interrupted; the same command goes on`."""
    who = None if progress.driver is None else progress.driver.name
    match progress.state:
        case "running":
            return f"running, by {who}"
        case "abandoned":
            return f"its driver{f', {who}, is silent' if who else ' is gone'}; {GOES_ON}"
        case "interrupted":
            return f"interrupted{f', {who} holds it' if who else ''}; {GOES_ON}"
        case "failed" if progress.traceback:
            return f"failed, see {progress.traceback}; {GOES_ON}"
        case "failed" if progress.unfinished:
            return f"failed; {GOES_ON}"
        case "failed":
            return "failed: no trial completed; `omsweep retry` tries failed ones again"
        case "former":
            return "from before omsweep kept a log: it can be reported, not gone on with"
    return f"completed; {found}" if (found := used_up(progress)) else "completed"


def missing(progress: Progress) -> str | None:
    """`interrupted: 12 of 96 trials have ended`; None of a sweep of which nothing is known to be missing."""
    if not progress.unfinished:
        return used_up(progress)
    state = {
        "running": "running when this was written",
        "abandoned": "its driver is silent" if progress.driver else "its driver is gone",
        "former": "unfinished",
        "completed": "unfinished",
    }.get(progress.state, progress.state)
    merged = merges(progress) if progress.ended_count == progress.planned else None
    return f"{state}: {ended(progress)}" + ("" if merged is None else f", {merged}")


def used_up(progress: Progress) -> str | None:
    """Which limits of the budget are used up, and what was not started; None while none is, or nothing is left out."""
    return describe(progress.budget, progress.not_started) if progress.not_started else None


def budget(progress: Progress) -> str | None:
    """`budget: 3 of 10 trials, 1.25 of 2 GPU hours`; None where no limit is set."""
    return f"budget: {', '.join(map(str, progress.budget))} used" if progress.budget else None


def ended(progress: Progress) -> str:
    """`12 of 96 trials have ended`."""
    count = progress.ended_count
    if progress.planned is None:
        return f"{counted(count, 'trial')} {'has' if count == 1 else 'have'} ended"
    return f"{count} of {counted(progress.planned, 'trial')} have ended"


def merges(progress: Progress) -> str | None:
    """`8 of 24 merged points`; None where there are none."""
    if not progress.merges_planned and not progress.merged:
        return None
    of = "" if progress.merges_planned is None else f"of {progress.merges_planned} "
    return f"{sum(progress.merged.values())} {of}merged points"


def lost(progress: Progress) -> str | None:
    """`3 attempts were lost (2 process lost, 1 hung)`; None where none was."""
    if not progress.lost:
        return None
    count = sum(progress.lost.values())
    reasons = ", ".join(f"{number} {reason}" for reason, number in progress.lost.items())
    return f"{counted(count, 'attempt')} {'was' if count == 1 else 'were'} lost ({reasons})"


def saved(progress: Progress) -> str | None:
    """`stopping 5 trials saved 125 of 900 steps (14 %), about 3 min of training`; None where none was stopped."""
    found = progress.savings
    if found is None:
        return None
    share = f" ({100 * found.steps / found.steps_planned:.0f} %)"
    took = "" if found.seconds is None else f", about {duration(found.seconds)} of training"
    return f"stopping {counted(found.trials, 'trial')} saved {found.steps} of {found.steps_planned} steps{share}{took}"


def ranking(view: SweepView) -> str:
    """Whether methods may be ranked: never with one seed."""
    seeds = view.summary["seeds"]
    if not view.summary["scored"]:
        return "No trial has both objectives yet."
    if view.summary["exploratory"]:
        labels = (label for family in view.summary["families"].values() for label in family["labels"].values())
        some = any(label["reward_sd_seeds"] is not None for label in labels)
        return f"{'Some settings have one seed only' if some else 'One seed per setting'}: {EXPLORATORY}."
    return f"{counted(seeds, 'seed')} per setting."


def reference(view: SweepView) -> str:
    """Where the hypervolume's reference point lies."""
    point, unit = view.summary["reference_point"], view.objectives.tax.unit
    return f"reward {short(point['reward'])}, {view.objectives.tax.name} {short(point['tax'])} {unit}"


def family_line(view: SweepView, family: str) -> str:
    """`hypervolume 19.57 · front: 7 of 9 trials (adamw 2, ondare 3, onties 2)`, and where nothing was found, that."""
    content = view.summary["families"][family]
    counts = {label: entry["members"] for label, entry in content["labels"].items()}
    by_label = ", ".join(f"{label} {counts[label]}" for label in view.labels if counts.get(label))
    outside = sum(bool(member["outside"]) for member in view.summary["members"] if member["family"] == family)
    return (
        f"hypervolume {fixed(content['hypervolume'])} · front: {len(content['members'])} of "
        f"{counted(content['scored'], 'scored trial')}"
        + (f" ({by_label})" if by_label else "")
        + (f", {outside} outside of a constraint" if outside else "")
        + (f" · {content['note']}" if content["note"] else "")
    )
