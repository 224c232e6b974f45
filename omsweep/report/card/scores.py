"""The numbers of an exported policy: as a table, as the hub's results, and what they do not show."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from omsweep.evaluation.settings import SPLITS
from omsweep.report.card.made import Exported
from omsweep.report.card.sources import Evaluation
from omsweep.results.numbers import Z95, counted, fixed, is_number, with_error
from omsweep.results.view import SweepView
from omsweep.store.records import SHOWN, TWINS, TrialRecord, on_report_split
from omsweep.store.state import SweepState

NUMBERS = ("reward", "tax", "tax_regressed", "tax_worst", "flip_rate", "kl", "length_ratio")


class Row(NamedTuple):
    """A number on each split, as text."""

    title: str
    unit: str
    texts: list[str]


def numbers_of(trial: TrialRecord, state: SweepState) -> dict[str, Any]:
    """A trial's numbers on both splits, also those that were measured after its end."""
    found = trial.to_json()
    rescored = state.report_scores().get(trial.trial_id)
    return found if rescored is None or found["reward_report"] is not None else found | on_report_split(rescored)


def splits_of(numbers: Mapping[str, Any]) -> list[str]:
    """The splits on which there are numbers."""
    return [split for split in SPLITS if numbers[_on("reward", split)] is not None]


def rows(numbers: Mapping[str, Any]) -> list[Row]:
    """The table of scores, a text for each of `splits_of`."""
    return [
        Row(
            SHOWN[name].title or name.replace("_", " "),
            SHOWN[name].unit,
            [_text(numbers, name, _on(name, split)) for split in splits_of(numbers)],
        )
        for name in NUMBERS
    ]


def categories(scored: TrialRecord, reference: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """By category of the tax suite the SFT model's and the policy's score on the search split, in points."""
    before = reference.get("scores") or {}
    return [(name, _points(before.get(name)), _points(score)) for name, score in scored.scores.items()]


def results(
    made: Exported, numbers: Mapping[str, Any], evaluate: Evaluation, reference: Mapping[str, Any]
) -> list[Any]:
    """What the hub shows beside the card (`huggingface_hub.EvalResult`): reward and tax by split, categories."""
    from huggingface_hub import EvalResult

    def result(name: str, data: str, split: str, value: float, **more: Any) -> Any:
        metric = more.pop("metric", name)
        task: dict[str, Any] = {"task_type": "text-generation", "task_name": "Text generation"}
        place: dict[str, Any] = {
            "dataset_type": data,
            "dataset_name": f"{data} ({split} split)",
            "dataset_split": split,
        }
        return EvalResult(**task, **place, metric_type=metric, metric_name=name, metric_value=value, **more)

    found = []
    for split in splits_of(numbers):
        for name, data in (("reward", evaluate.prompts), ("tax", evaluate.suite)):
            own = _on(name, split)
            value, error = numbers[own], numbers.get(f"{own}_se_items")
            args: dict[str, Any] = {"against": "SFT model", "unit": SHOWN[name].unit}
            args |= {"scorer": evaluate.scorer} if name == "reward" else {}
            if is_number(value) and is_number(error):
                args |= {"standard_error": error, "interval_95": [value - Z95 * error, value + Z95 * error]}
            if is_number(value):
                found.append(result(SHOWN[name].title, data, split, value, metric=name, metric_args=args))
    before = reference.get("scores") or {}
    for name, value in (made.scored.scores if made.scored else {}).items():
        if is_number(value):
            args = {"SFT model": before.get(name)}
            found.append(
                result(name, evaluate.suite, "search", value, metric="score", dataset_config=name, metric_args=args)
            )
    return found


def limits(made: Exported, view: SweepView, numbers: Mapping[str, Any] | None, scorer: str) -> list[str]:
    """What the scores do not show."""
    family = [one for one in view.trials if one.family == made.trial.family]
    lines = [
        "The intervals come from prompts and questions. Another seed could move the scores further."
        + (" Every setting was run with one seed." if view.summary["exploratory"] else ""),
        f"It was chosen among {counted(len(family), 'trial')} by numbers of the search split, which are therefore"
        " somewhat too good; those of the report split, where there are any, took no part in the choice.",
        f"Reward is what the scorer `{scorer}` says, not what people prefer; tax is measured on the named suite alone."
        " Other languages, longer answers and other tasks were not looked at.",
        "Nothing here was tested for safety, bias or truthfulness beyond what the suite holds.",
    ]
    if numbers is not None and is_number(numbers["length_ratio"]) and numbers["length_ratio"] > 1.5:
        lines.append(
            f"Its answers are {fixed(numbers['length_ratio'], 1)} times as long as the SFT model's: some of the reward"
            " may have been bought by length."
        )
    if made.family is not None and made.family.recipe is not None:
        lines.append("Its base is a small model that omsweep trains itself, to try recipes on; it is of no other use.")
    return lines


def report_note(splits: Sequence[str]) -> str:
    """What the report split is for this policy."""
    if "report" in splits:
        return "Those of the report split were not looked at before it was chosen."
    return "It was not scored on the report split."


def _on(name: str, split: str) -> str:
    """The field of a number on a split; the search split's own name where only that has it."""
    return name if split == "search" else TWINS.get(name, "")


def _text(numbers: Mapping[str, Any], name: str, own: str) -> str:
    value, digits = numbers.get(own), max(2, SHOWN[name].digits)
    return with_error(value, numbers.get(f"{own}_se_items"), digits) if SHOWN[name].objective else fixed(value, digits)


def _points(share: float | None) -> str:
    return fixed(None if share is None else 100.0 * share, 1)
