"""A trial's policy as a model folder of its own: as it was kept, merged again, or part of the way to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omsweep.families.family import ModelFamily
from omsweep.merging.posthoc import PosthocPoint
from omsweep.store.records import Prepared, TrialRecord
from omsweep.strict_json import read_json, write_json
from omsweep.trial.merge import merged, recorded_point
from omsweep.trial.session import policy_folder

LINEAR = "linear"
"""The post-hoc method of a model between SFT model and policy."""


def kept_policy(trial: TrialRecord, folder: Path) -> Path | None:
    """Where a trial's policy lies, also in a sweep's folder that was moved; None where it was not kept."""
    places = [policy_folder(folder, trial.trial_id), *([Path(trial.policy_path)] if trial.policy_path else [])]
    return next((place for place in places if (place / "config.json").is_file()), None)


def write_policy(
    trial: TrialRecord, parent: TrialRecord | None, prepared: Prepared, output: Path, *, weight: float | None = None
) -> str:
    """Write weights, configuration, generation settings, tokenizer and chat template; returns the weights' hash.

    Args:
        trial: whose policy, with the place where it lies as `policy_path`; of a post-hoc trial that was not kept None.
        parent: of a post-hoc trial, the trained one, with the place of its policy.
        prepared: of its SFT model, whose folders are there.
        output: a new or empty folder.
        weight: w in SFT model + w (policy - SFT model); None for the policy itself.

    Raises:
        ValueError: weights that are not those of the record; the message has both hashes.
    """
    from omsweep.families.load import weights_hash
    from omsweep.merging.checkpoint import RECORD, write_checkpoint
    from omsweep.merging.sources import FolderTensors, pieces

    if weight is not None:
        _check_hash(trial, weights_hash(str(trial.policy_path)))
        with merged(PosthocPoint(method=LINEAR, weight=weight), prepared, trial, output, keep=True):
            pass
    elif trial.policy_path is None:
        assert parent is not None, "a trained trial has a policy"
        with merged(recorded_point(trial.params["posthoc"]), prepared, parent, output, keep=True):
            pass
    else:
        layout = FolderTensors(Path(trial.policy_path))
        write_checkpoint(
            output,
            lambda name: (entries for _, entries in pieces(layout[name])),
            layout=layout,
            carried=layout.path,
            record={},
        )
    (output / RECORD).unlink()
    _set_stop_tokens(output, prepared.decoding)
    written = weights_hash(str(output))
    if weight is None:
        _check_hash(trial, written)
    return written


def at_hand(prepared: Prepared, family: ModelFamily | None) -> Prepared:
    """What was made ready, with the folders of base and SFT model as they are now; they are made or fetched again
    where they are gone.

    Raises:
        ValueError: they cannot be, or are not the models that the sweep had.
    """
    from omsweep.families.load import prepare, weights_hash

    if all(Path(place).is_dir() for place in (prepared.base, prepared.sft)):
        there = prepared
    elif family is None:
        raise ValueError(f"{prepared.sft} is gone, and the sweep's search space cannot be read to make it again")
    else:
        folders = prepare(family.with_sft_seed(prepared.sft_seed))
        there = prepared.model_copy(update={"base": str(folders.base), "sft": str(folders.sft)})
    found = weights_hash(there.sft)
    if found != prepared.weights_hash:
        raise ValueError(
            f"the SFT model in {there.sft} is another one: its weights hash to {found}, the sweep's to"
            f" {prepared.weights_hash}"
        )
    return there


def _check_hash(trial: TrialRecord, found: str) -> None:
    if trial.weights_hash is not None and found != trial.weights_hash:
        raise ValueError(
            f"the policy of {trial.trial_id} is not the one that was scored: its weights hash to {found}, its record"
            f" says {trial.weights_hash}"
        )


def _set_stop_tokens(folder: Path, decoding: Mapping[str, Any]) -> None:
    """Have `generation_config.json` end answers where the sweep's scoring ended them."""
    file, ends = folder / "generation_config.json", sorted(set(decoding.get("stop_tokens", {}).values()))
    content = read_json(file) if file.is_file() else {}
    own = content.get("eos_token_id")
    if ends and set(ends) != set(own if isinstance(own, list) else [own]):
        write_json(file, {**content, "eos_token_id": ends if len(ends) > 1 else ends[0]})
