"""The post-hoc trials of one parent in one process: merge, score, delete. Knows neither Ray nor the driver."""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from omsweep.merging.posthoc import PosthocPoint
from omsweep.space.posthoc import recorded_point
from omsweep.space.search_space import build_space
from omsweep.trial.gpu_memory import hold_gpu_memory
from omsweep.trial.prepare.family import placed, sft_model
from omsweep.trial.session import policy_folder, score_splits

SCRATCH = Path("merging")
"""Where, in a sweep's folder, models lie that are deleted once they are scored."""


class PointScorer:
    """Makes and scores the post-hoc points of one trained trial; what they share is loaded once.

    Args:
        job: plain data: `content` (resolved space), `prepared` (of the parent's SFT model), `folder` (the sweep's) and
            `parent`, its trial object.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._space = build_space(job["content"])
        self._prepared, self._folder, self._parent = job["prepared"], Path(job["folder"]), job["parent"]
        self._kept = {grid.label for grid in self._space.posthoc if grid.keep}

    @cached_property
    def _sft(self) -> Any:
        hold_gpu_memory(self._prepared["gpu_memory_gib"])
        return sft_model(self._prepared)

    @cached_property
    def _tokenizer(self) -> Any:
        from omsweep.families.load import load_tokenizer

        return load_tokenizer(self._parent["policy_path"], chat_template=self._prepared["chat_template"])

    def __call__(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Merge and score one sample of `plan_posthoc`; returns the fields of the trial object known here."""
        import torch

        from omsweep.families.load import load_model, weights_hash
        from omsweep.store.folder import SweepFolder

        started = time.time()
        trial_id, keep = sample["trial_id"], sample["label"].rpartition("+")[2] in self._kept
        output = policy_folder(self._folder, trial_id) if keep else _scratch(self._folder, trial_id)
        with merged(recorded_point(sample["posthoc"]), self._prepared, self._parent, output, keep=keep):
            model = placed(load_model(str(output), dtype=self._prepared["dtype"]))
            digest = weights_hash(str(output))
            merged_at = time.time()
            frame, fields = score_splits(self._space, self._prepared, model, self._tokenizer, self._sft)
        SweepFolder(self._folder.parent, self._folder.name).write_scores(trial_id, frame)
        return {
            **fields,
            "state": "completed",
            "policy_path": str(output) if keep else None,
            "weights_hash": digest,
            "accelerator": torch.cuda.get_device_name() if model.device.type == "cuda" else "cpu",
            "seconds": {"merge": merged_at - started, "evaluate": time.time() - merged_at},
        }


@contextmanager
def merged(
    point: PosthocPoint, prepared: Mapping[str, Any], parent: Mapping[str, Any], output: Path, *, keep: bool = False
) -> Iterator[None]:
    """`output` as the folder of a post-hoc model of a trained trial, streamed there and deleted after unless `keep`.

    Args:
        point: which model.
        prepared: of the parent's SFT model: where it and its base are.
        parent: the trained trial's object.
        output: a new folder.
        keep: leave the folder, unless something fails.
    """
    from omsweep.families.load import find
    from omsweep.merging.offline import merge_point

    inputs = {
        "policy": (parent["policy_path"], None, parent["weights_hash"]),
        "sft": (prepared["sft"], prepared["sft_revision"], prepared["weights_hash"]),
        "base": (prepared["base"], prepared["base_revision"], prepared["base_hash"]),
    }
    used = {
        model: dict(zip(("path", "revision", "weights_hash"), inputs[model], strict=True)) for model in point.row.models
    }
    folders = {model: find(said["path"], revision=said["revision"])[0] for model, said in used.items()}
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
def merged_again(job: Mapping[str, Any]) -> Iterator[str]:
    """The folder of a trial's policy: where it was saved, or for the time being where a post-hoc one is merged again.

    Args:
        job: plain data: `prepared`, `folder` (the sweep's), `trial` and, of a post-hoc one, `parent`: trial objects.
    """
    trial, folder = job["trial"], Path(job["folder"])
    if trial["policy_path"] is not None:
        yield trial["policy_path"]
        return
    output = _scratch(folder, trial["trial_id"])
    with merged(recorded_point(trial["params"]["posthoc"]), job["prepared"], job["parent"], output):
        yield str(output)


def _scratch(folder: Path, trial_id: str) -> Path:
    return folder / SCRATCH / trial_id
