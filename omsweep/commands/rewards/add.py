"""`omsweep evaluate --add-reward`: one more reward for the finished trials of a sweep, from their saved answers.

Each trial's numbers are one event `rewarded` in the sweep's log, written as soon as they are known, so that a command
that was stopped goes on where it was. No objective changes, and nothing is trained.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from omsweep.cluster.storage import storage_path
from omsweep.commands import DEFAULT_STORAGE, DONE
from omsweep.console import say
from omsweep.evaluation.settings import (
    IMPLICIT,
    TAKEN,
    EvaluateSettings,
    RewardSettings,
    asked_alike,
    reward_from,
    rewards_from,
)
from omsweep.results.numbers import counted, with_error
from omsweep.secrets import guard, take
from omsweep.space.build import build_space
from omsweep.space.search_space import SearchSpace
from omsweep.store.folder import SweepFolder
from omsweep.store.log import SweepLog
from omsweep.store.records import Prepared, TrialRecord
from omsweep.store.state import SweepState, family_key, prepared_of
from omsweep.strict_json import plain

if TYPE_CHECKING:
    from pandas import DataFrame


def execute(options: argparse.Namespace) -> int:
    """Score every finished trial that does not have the reward yet, and say what each gained."""
    folder = SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.sweep)
    state = folder.state()
    space = build_space(dict(state.resolved))
    reward = asked_alike(read_reward(options.add_reward), space.evaluate.reward)
    _check(reward, options, state, space)
    guard()
    take(space.file.secrets, "omsweep evaluate")
    todo = [
        one for one in state.records() if one.state == "completed" and reward.called not in state.added(one.trial_id)
    ]
    if not todo:
        say(f"all completed trials of {folder.name} have the reward {reward.called}")
        return DONE
    _prepare(reward)
    log = SweepLog.open(folder.files)  # raises LeaseHeld while a driver runs the sweep
    try:
        _score(log, folder, state, space, reward, todo)
    finally:
        log.close()
    folder.write_derived(folder.state())
    return DONE


def read_reward(given: str) -> RewardSettings:
    """A reward from `--add-reward`: YAML in a file, or on the command line, `{name, scorer, prompts, ...}`.

    Raises:
        ValueError: it is no such mapping; its name is missing or taken.
    """
    file = Path(given).expanduser()
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8") if file.is_file() else given)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--add-reward: no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, Mapping) or not isinstance(content.get("scorer"), str):
        raise ValueError(f"--add-reward must be a file or {{name: ..., scorer: ..., prompts: ...}}, got {given!r:.80}")
    reward = reward_from(content)
    if not reward.name or reward.name in TAKEN:
        raise ValueError(f"--add-reward needs a name other than {', '.join(TAKEN)}, got {reward.name!r}")
    return reward


def _check(reward: RewardSettings, options: argparse.Namespace, state: SweepState, space: SearchSpace) -> None:
    rewards_from({reward.name: reward}, space.evaluate.reward)
    if reward.scorer == IMPLICIT:
        raise ValueError(
            f"--add-reward takes scorers of answers, got {IMPLICIT}: name it in evaluate.rewards of a sweep"
        )
    if reward.name in space.evaluate.rewards:
        raise ValueError(f"--add-reward: the sweep has a reward {reward.name} of its own")
    if reward.is_code and not options.allow_scorer_code:
        raise ValueError(f"--allow-scorer-code must be given for scorer {reward.scorer}, which runs Python")
    before = state.rewards_added.get(reward.name)
    if before is not None and before != plain(asdict(reward)):
        raise ValueError(f"--add-reward: this sweep has another reward {reward.name} already: choose another name")


def _prepare(reward: RewardSettings) -> None:
    from omsweep.trial.prepare.family import Milestones
    from omsweep.trial.prepare.reward_model import build_reward_model

    build_reward_model(reward, progress=Milestones)


def _score(
    log: SweepLog,
    folder: SweepFolder,
    state: SweepState,
    space: SearchSpace,
    reward: RewardSettings,
    todo: list[TrialRecord],
) -> None:
    from omsweep.evaluation.statistics import rewards_beside

    references: dict[str, Any] = {}
    without = []
    for trial in todo:
        key = family_key(trial.family, trial.sft_seed)
        key = key if key in state.prepared else trial.family
        if key not in references:
            references[key] = _of_sft_model(folder, space, reward, state.prepared[key])
        ours = _of_trial(folder, space, reward, trial, prepared_of(state.prepared[key]), references[key])
        if ours is None:
            without.append(trial.trial_id)
            continue
        numbers = plain(rewards_beside(ours, references[key]))
        log.append("rewarded", trial_id=trial.trial_id, reward=plain(asdict(reward)), numbers=numbers)
        gained = with_error(numbers[reward.name], numbers[f"{reward.name}_se_items"])
        say(f"{trial.trial_id}  {reward.name} {gained} {reward.unit}")
    if without:
        say(
            f"omsweep: note: {counted(len(without), 'trial')} could not be scored, neither the answers to"
            f" {reward.prompts} nor the policy is there: {', '.join(without[:5])}",
            error=True,
        )


def _of_sft_model(
    folder: SweepFolder, space: SearchSpace, reward: RewardSettings, data: Mapping[str, Any]
) -> "DataFrame":
    """The SFT model's rows, from its saved answers where these are to the reward's prompts."""
    table = folder.reference_scores(data["family"], data.get("sft_seed"))
    rows = _saved(table, space.evaluate, reward)
    if rows is not None:
        return _rescored(rows, reward, None)
    prepared = prepared_of(data)
    return _answered(space, reward, prepared, prepared.sft, None)


def _of_trial(
    folder: SweepFolder,
    space: SearchSpace,
    reward: RewardSettings,
    trial: TrialRecord,
    prepared: Prepared,
    baseline: "DataFrame",
) -> "DataFrame | None":
    """A policy's rows; None where neither its answers nor its weights are there."""
    from omsweep.trial.export import kept_policy

    try:
        rows = _saved(folder.scores(trial.trial_id), space.evaluate, reward)
    except FileNotFoundError:
        rows = None
    if rows is not None:
        return _rescored(rows, reward, baseline)
    place = kept_policy(trial, folder.path)
    return None if place is None else _answered(space, reward, prepared, str(place), baseline)


def _saved(table: "DataFrame", evaluate: EvaluateSettings, reward: RewardSettings) -> "DataFrame | None":
    """Rows with answers to the reward's prompts, of whichever of the sweep's rewards has the same."""
    from omsweep.evaluation.rewards.answers import BESIDE
    from omsweep.evaluation.settings import prompts_path

    for one in evaluate.all_rewards:
        kind = "reward" if one is evaluate.reward else BESIDE
        rows = table[(table["kind"] == kind) & (table["split"] == "search")]
        rows = rows if kind == "reward" else rows[rows["task"] == one.name]
        known = "completion" in rows and rows["completion"].notna().all()
        if len(rows) and known and prompts_path(one.prompts) == prompts_path(reward.prompts):
            return rows.reset_index(drop=True)
    return None


def _rescored(rows: "DataFrame", reward: RewardSettings, baseline: Any) -> "DataFrame":
    from omsweep.evaluation.rewards.answers import BESIDE, scored

    return scored(rows.assign(kind=BESIDE), reward, baseline=baseline)


def _answered(space: SearchSpace, reward: RewardSettings, prepared: Prepared, place: str, baseline: Any) -> "DataFrame":
    """Rows of a model that answers the reward's prompts now."""
    from omsweep.evaluation.reward import score_reward
    from omsweep.evaluation.rewards.answers import BESIDE
    from omsweep.families.decoding import Decoding
    from omsweep.families.load import load_model, load_tokenizer
    from omsweep.trial.models import placed
    from omsweep.trial.scoring import EVALUATION_SEED

    evaluate = space.evaluate
    return score_reward(
        placed(load_model(place, dtype=prepared.dtype)),
        load_tokenizer(place, chat_template=prepared.chat_template),
        scorer=reward,
        split="search",
        samples=evaluate.samples,
        temperature=evaluate.temperature,
        max_new_tokens=evaluate.max_new_tokens,
        seed=EVALUATION_SEED,
        batch_size=evaluate.batch_size,
        limit=evaluate.limit,
        decoding=Decoding(**prepared.decoding),
        baseline=baseline,
        kind=BESIDE,
    )
