"""A family's task vector and its controls in the cache: built once, mapped by every process that trains."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omsweep.cache import build_once, recipe_hash
from omsweep.console import say
from omsweep.families.load import FamilyFolders, empty_model, find, load_model, weights_hash
from omsweep.merging.names import canonical_name
from omsweep.merging.safetensors_file import Track
from omsweep.merging.sources import FolderTensors, HeldTensors, Weights
from omsweep.merging.tokens import token_ids
from omsweep.merging.vocabulary import fit_vocabulary, fitted
from omsweep.optim.task_vector import CONTROLS, check_task_vector
from omsweep.optim.task_vector_file import FORMAT_VERSION, write_control, write_task_vector
from omsweep.store.records import Prepared

KIND = "task_vectors"
FILE = "task_vector.safetensors"


def task_vector_files(
    kinds: Sequence[str], models: Prepared, *, other: Prepared | None, dtype: str, progress: Any
) -> dict[str, Path]:
    """The file of each kind of task vector, written first where the cache has none; of the real one with any other.

    Args:
        kinds: of `TASK_VECTORS`.
        models: as for `task_vector_file`.
        other: the same with the SFT model of another seed; needed for `other_seed`.
        dtype: as for `task_vector_file`.
        progress: as for `task_vector_file`.

    Raises:
        ValueError: models that do not have the same parameter names and shapes.
    """
    if not kinds:
        return {}
    files = {"real": task_vector_file(models, dtype=dtype, progress=progress)}  # every trial's `travel` is along it
    if "other_seed" in kinds:
        assert other is not None, "other_seed needs another SFT model"
        files["other_seed"] = task_vector_file(other, dtype=dtype, progress=progress)
    for kind in CONTROLS.keys() & set(kinds):
        files[kind] = control_file(files["real"], kind, progress=progress)
    return files


def task_vector_file(models: Prepared, *, dtype: str, progress: Any) -> Path:
    """The file of tau = theta_r - theta_b, written first if the cache has none.

    Streams a folder where its keys are the parameters' names. Where they are not (transformers renames some on
    loading) the model is loaded.

    Args:
        models: base and SFT model, folders or hub ids.
        dtype: `float32` or `bfloat16`, how tau is stored.
        progress: a tqdm-like class for a progress bar, `progress(total=, desc=)`.

    Raises:
        ValueError: the two models do not have the same parameter names and shapes, but for rows of the vocabulary.
    """
    base, sft = (models.base, models.base_revision), (models.sft, models.sft_revision)
    base_shapes, sft_shapes = (_parameters(empty_model(path, revision=revision)) for path, revision in (base, sft))
    tokens = [token_ids(find(path, revision=revision)[0]) for path, revision in (base, sft)]
    held = HeldTensors(base_shapes)
    fit = fit_vocabulary(held, HeldTensors(sft_shapes), base_tokens=tokens[0], sft_tokens=tokens[1])
    check_task_vector(fitted(held, fit), sft_shapes, what="base model")
    names = list(sft_shapes)
    recipe = {
        "base": weights_hash(*base),
        "sft": models.weights_hash,
        "names": recipe_hash({"names": names}),
        "dtype": dtype,
        "format": FORMAT_VERSION,
        **({"rows": recipe_hash({"runs": fit.runs})} if fit else {}),
    }

    def build(folder: Path) -> None:
        base_weights, sft_weights = _weights(base, names), _weights(sft, names)
        track = _tracked(progress, f"task vector of {models.sft}")
        write_task_vector(
            base_weights, sft_weights, folder / FILE, names=names, dtype=getattr(torch, dtype), fit=fit, track=track
        )

    return build_once(KIND, recipe, build) / FILE


def control_file(task_vector: Path, control: str, *, progress: Any) -> Path:
    """The file of a control in `CONTROLS`, made of the real task vector's file in the cache."""
    recipe = {"task_vector": task_vector.parent.name, "control": control, "format": FORMAT_VERSION}

    def build(folder: Path) -> None:
        track = _tracked(progress, f"{control} task vector")
        write_control(task_vector, folder / FILE, CONTROLS[control], track=track)

    return build_once(KIND, recipe, build) / FILE


def say_vocabulary(family: str, folders: FamilyFolders) -> None:
    """One line on the rows in which the vocabularies of base and SFT model differ; nothing where they do not."""
    fit = fit_vocabulary(FolderTensors(Path(folders.base)), FolderTensors(Path(folders.sft)))
    if fit is not None:
        say(f"{family}: {fit}")


def _parameters(model: torch.nn.Module) -> dict[str, Tensor]:
    return {canonical_name(name): parameter for name, parameter in model.named_parameters()}


def _weights(model: tuple[str, str | None], names: Sequence[str]) -> Weights:
    """A model's folder where its checkpoint has a tensor under each of `names`, else its parameters, loaded."""
    path, revision = model
    folder, _ = find(path, revision=revision)
    held = FolderTensors(Path(folder))
    if all(name in held for name in names):
        return folder
    return _parameters(load_model(path, revision=revision))


def _tracked(progress: Any, description: str) -> Track:
    def track(names: Sequence[str]) -> Iterator[str]:
        bar = progress(total=len(names), desc=description)
        try:
            for name in names:
                yield name
                bar.update(1)
        finally:
            bar.close()

    return track
