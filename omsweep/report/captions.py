"""Sentences that stand under plots and in the page, the same in both."""

from omsweep.results.front import EXPLORATORY
from omsweep.results.numbers import counted, fixed, short
from omsweep.results.view import SweepView

ERROR_BARS = "Error bars: ±1.96 item standard errors (prompts and questions scored), not the spread over seeds."


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
    """`hypervolume 19.57 · front: 7 of 9 trials (adamw 2, ondare 3, onties 2)`."""
    content = view.summary["families"][family]
    counts = {label: entry["members"] for label, entry in content["labels"].items()}
    by_label = ", ".join(f"{label} {counts[label]}" for label in view.labels if counts.get(label))
    return (
        f"hypervolume {fixed(content['hypervolume'])} · front: {len(content['members'])} of "
        f"{counted(content['scored'], 'scored trial')}" + (f" ({by_label})" if by_label else "")
    )
