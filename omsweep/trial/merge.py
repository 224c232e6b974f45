"""The post-hoc trials of one parent in one process: merge, score, delete. Knows neither Ray nor the driver."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.spread import Models
from omsweep.merging.posthoc import POSTHOC_METHODS, PosthocPoint
from omsweep.store.folder import SweepFolder
from omsweep.store.records import Outcome, Prepared, TrialRecord, TrialSpec
from omsweep.trial.checkpoint import score_checkpoint
from omsweep.trial.gpu_memory import hold_gpu_memory
from omsweep.trial.models import accelerator, placed, sft_model
from omsweep.trial.scoring import score_splits
from omsweep.trial.session import policy_folder
from omsweep.trial.split import split_of

SCRATCH = Path("merging")
"""Where, in a sweep's folder, models lie that are deleted once they are scored."""


class PointScorer:
    """Makes and scores the post-hoc points of one trained trial; what they share is loaded once.

    Args:
        parent: the trained trial.
        prepared: of its SFT model.
        folder: the sweep's.
    """

    def __init__(self, parent: TrialRecord, prepared: Prepared, folder: Path) -> None:
        self._parent, self._prepared, self._folder = parent, prepared, folder

    @cached_property
    def _sft(self) -> Any:
        hold_gpu_memory(self._prepared.gpu_memory_gib)
        return sft_model(self._prepared)

    @cached_property
    def _tokenizer(self) -> Any:
        from omsweep.families.load import load_tokenizer

        return load_tokenizer(str(self._parent.policy_path), chat_template=self._prepared.chat_template)

    def __call__(self, spec: TrialSpec) -> Outcome:
        """Merge and score one post-hoc trial of the parent."""
        from omsweep.families.load import load_model, weights_hash

        assert spec.point is not None, "a trained trial is not merged"
        started = time.time()
        output = policy_folder(self._folder, spec.trial_id) if spec.keep else _scratch(self._folder, spec.trial_id)
        with merged(PosthocPoint(**spec.point), self._prepared, self._parent, output, keep=spec.keep):
            model = placed(load_model(str(output), dtype=self._prepared.dtype))
            digest = weights_hash(str(output))
            split = split_of(model, self._sft, self._prepared)
            merged_at = time.time()
            evaluate = EvaluateSettings(**spec.evaluate)
            models = Models(model, self._tokenizer, self._sft, folder=str(output))
            frame, fields = score_splits(evaluate, self._prepared, models, spec.splits)
        SweepFolder(self._folder.parent, self._folder.name).write_scores(spec.trial_id, frame)
        return Outcome(
            **fields,
            state="completed",
            diagnostics=split,
            policy_path=str(output) if spec.keep else None,
            weights_hash=digest,
            accelerator=accelerator(),
            seconds={"merge": merged_at - started, "evaluate": time.time() - merged_at},
        )


def rescore(
    trial: TrialRecord,
    parent: TrialRecord | None,
    prepared: Prepared,
    folder: Path,
    evaluate: Mapping[str, Any],
    split: str,
) -> dict[str, Any]:
    """Score a finished trial's policy on a split; returns the numbers of `Scores`, named as on the search split.

    Args:
        trial: whose policy; one that was not kept is merged again.
        parent: of a post-hoc trial, the trained one.
        prepared: of its SFT model.
        folder: the sweep's.
        evaluate: the fields of `EvaluateSettings`.
        split: `search` or `report`.
    """
    with merged_again(trial, parent, prepared, folder) as policy_path:
        hold_gpu_memory(prepared.gpu_memory_gib)
        return score_checkpoint(EvaluateSettings(**evaluate), prepared, policy_path, split)[1]


@contextmanager
def merged(
    point: PosthocPoint, prepared: Prepared, parent: TrialRecord, output: Path, *, keep: bool = False
) -> Iterator[None]:
    """`output` as the folder of a post-hoc model of a trained trial, streamed there and deleted after unless `keep`.

    Args:
        point: which model.
        prepared: of the parent's SFT model: where it and its base are.
        parent: the trained trial.
        output: a new folder.
        keep: leave the folder, unless something fails.
    """
    from omsweep.families.load import find
    from omsweep.merging.offline import merge_point

    inputs: dict[str, tuple[str, str | None, str | None]] = {
        "policy": (str(parent.policy_path), None, parent.weights_hash),
        "sft": (prepared.sft, prepared.sft_revision, prepared.weights_hash),
        "base": (prepared.base, prepared.base_revision, prepared.base_hash),
    }
    used = {
        model: dict(zip(("path", "revision", "weights_hash"), inputs[model], strict=True)) for model in point.row.models
    }
    folders = {model: find(inputs[model][0], revision=inputs[model][1])[0] for model in used}
    shutil.rmtree(output, ignore_errors=True)  # of an attempt that was killed
    try:
        merge_point(point, folders, output=output, inputs=used)
        yield
    except BaseException:
        keep = False
        raise
    finally:
        if not keep:
            shutil.rmtree(output, ignore_errors=True)


@contextmanager
def merged_again(trial: TrialRecord, parent: TrialRecord | None, prepared: Prepared, folder: Path) -> Iterator[str]:
    """The folder of a trial's policy: where it was saved, or for the time being where a post-hoc one is merged again.

    Args:
        trial: whose policy.
        parent: of a post-hoc trial, the trained one.
        prepared: of its SFT model.
        folder: the sweep's.
    """
    if trial.policy_path is not None:
        yield trial.policy_path
        return
    assert parent is not None, "a trained trial has a policy"
    output = _scratch(folder, trial.trial_id)
    with merged(recorded_point(trial.params["posthoc"]), prepared, parent, output):
        yield str(output)


def recorded_point(settings: Mapping[str, Any]) -> PosthocPoint:
    """The point that `params.posthoc` of a trial object describes."""
    return PosthocPoint(**{name: value for name, value in settings.items() if name != "travel_of"})


def check_models(users: Sequence[str], family: str, base: str, sft: str) -> None:
    """Refuse folders of base and SFT model that points of both cannot be made of; ValueError naming family and tensors.

    Reads the headers of their files, and nothing where no point is made of the base.

    Args:
        users: key paths of what is made of the base too.
        family: its name.
        base: the base's folder.
        sft: the SFT model's.
    """
    from omsweep.merging.offline import check_same_tensors

    if not users:
        return
    try:
        check_same_tensors({"base": base, "SFT model": sft}, "SFT model")
    except ValueError as error:
        raise ValueError(
            f"{', '.join(users)} cannot be made of {family}'s models: {error}; methods without base:"
            f" {', '.join(methods_without_base())}"
        ) from None


def check_parts(points: Sequence[tuple[str, PosthocPoint]], sft: str) -> None:
    """Refuse weights by part that do not cover the tensors of an SFT model's folder; ValueError naming the key path.

    Args:
        points: with the key path of the weights of each, those that go by part.
        sft: the SFT model's folder.
    """
    from omsweep.merging.names import weights_by_name
    from omsweep.merging.sources import FolderTensors

    names = list(FolderTensors(Path(sft))) if points else []
    for path, point in points:
        try:
            weights_by_name(point.named_weights, names)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def methods_without_base() -> list[str]:
    """Post-hoc methods that need no base."""
    return [name for name, row in POSTHOC_METHODS.items() if "base" not in row.models]


def _scratch(folder: Path, trial_id: str) -> Path:
    return folder / SCRATCH / trial_id
