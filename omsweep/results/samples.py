"""Answers before and after: what the SFT model and a policy said to the same prompts, where they differ most."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from omsweep.evaluation.prompts import all_reward_prompts
from omsweep.evaluation.settings import prompts_path, reward_from
from omsweep.results.view import SweepView
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TrialRecord

if TYPE_CHECKING:
    from pandas import DataFrame

EACH = 3
"""Samples of a kind that are shown of a trial."""
LONGEST = 700
"""Characters of a text; a longer one is cut."""
MOST_TRIALS = 40
ITEM = ("kind", "task", "category", "item_id")
COLUMNS = (*ITEM, "split", "decoder", "score", "completion")
Kind = Literal["gain", "loss", "regression"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One prompt, or one question of the tax suite, and both answers with their scores.

    Attributes:
        kind: a large gain or a bad loss of reward, or a question that the policy answers worse than the SFT model.
        item_id, category: of the prompt or question.
        prompt: its text; None where it is not known here (questions of a tax suite).
        before, after: the SFT model's answer and the policy's, both greedy.
        score_before, score_after: the scorer's, or of a question 1 for right and 0 for wrong.
    """

    kind: Kind
    item_id: str
    category: str
    prompt: str | None
    before: str
    after: str
    score_before: float
    score_after: float


def read_samples(folder: SweepFolder, view: SweepView) -> dict[str, list[Sample]]:
    """Samples of the front's members and the baselines, by trial id, `MOST_TRIALS` at most.

    A trial whose table of scores, or whose SFT model's, is not there or broken has none.
    """
    prompts, references = _prompts(view.resolved), {}
    found: dict[str, list[Sample]] = {}
    for trial in _shown(view):
        whose = (trial.family, trial.sft_seed)
        try:
            if whose not in references:
                references[whose] = _answers(folder.reference_scores(*whose))
            found[trial.trial_id] = samples(
                references[whose], _answers(folder.scores(trial.trial_id, COLUMNS)), prompts
            )
        except (OSError, ValueError, KeyError):  # a table from before answers were kept has no column for them
            continue
    return found


def samples(before: "DataFrame", after: "DataFrame", prompts: Mapping[str, str]) -> list[Sample]:
    """The largest gains and worst losses of reward, and regressions in as many categories as there are.

    Args:
        before: greedy answers of the SFT model, columns `COLUMNS`.
        after: the policy's.
        prompts: text of reward prompts by item id.
    """
    both = before.merge(after, on=list(ITEM), suffixes=("_before", "_after"))
    both["change"] = both["score_after"] - both["score_before"]
    both = both.dropna(subset=["change"]).sort_values(["change", "item_id"])
    reward, tax = (both[both["kind"] == kind] for kind in ("reward", "tax"))
    worse = tax[tax["change"] < 0]
    kinds: list[tuple[Kind, DataFrame]] = [
        ("gain", reward[reward["change"] > 0].iloc[::-1].head(EACH)),
        ("loss", reward[reward["change"] < 0].head(EACH)),
        ("regression", worse.loc[worse.groupby("category").cumcount().sort_values(kind="stable").index].head(EACH)),
    ]
    return [_sample(kind, row, prompts) for kind, rows in kinds for row in rows.to_dict("records")]


def _sample(kind: Kind, row: Mapping[str, Any], prompts: Mapping[str, str]) -> Sample:
    return Sample(
        kind=kind,
        item_id=str(row["item_id"]),
        category=str(row["category"]),
        prompt=_cut(prompts.get(str(row["item_id"]))) if kind != "regression" else None,
        before=_cut(row["completion_before"]) or "",
        after=_cut(row["completion_after"]) or "",
        score_before=float(row["score_before"]),
        score_after=float(row["score_after"]),
    )


def _shown(view: SweepView) -> Iterable[TrialRecord]:
    """Members of a front first, then baselines."""
    members = [one for one in view.trials if one.trial_id in view.member_ids]
    others = [one for one in view.trials if one.baseline and one.state == "completed"]
    return list({one.trial_id: one for one in [*members, *others]}.values())[:MOST_TRIALS]


def _answers(table: "DataFrame") -> "DataFrame":
    chosen = table[(table["split"] == "search") & (table["decoder"] == "greedy")]
    return chosen[[*ITEM, "score", "completion"]]


def _prompts(resolved: Mapping[str, Any]) -> dict[str, str]:
    """Texts of the sweep's reward prompts by id; nothing where the file is gone or broken."""
    try:
        asked = reward_from((resolved.get("evaluate") or {}).get("reward", "tiny"))
        found = all_reward_prompts(prompts_path(asked.prompts))
    except (OSError, ValueError):
        return {}
    return {one.item_id: _said(one.messages) for one in found}


def _said(messages: Sequence[Mapping[str, str]]) -> str:
    """A chat as text: one turn alone as it is, several with who said each."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in messages)


def _cut(text: Any) -> str | None:
    if not isinstance(text, str):
        return None
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " ..."
