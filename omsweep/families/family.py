"""What a model family is: a base model, the SFT model made from it, and how to load them. Plain data, no torch."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from omsweep.families.decoding import PLAIN, DecodingSettings
from omsweep.families.shape import Shape

DTYPES = ("float32", "bfloat16", "float16")
GIB = 1 << 30
UNKNOWN = "unknown"
"""What a row says where nobody could check: better than a guess."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One training stage of an embedded family: `steps` batches of `batch_size` rows, peak `learning_rate`, `seed`."""

    steps: int
    batch_size: int
    learning_rate: float
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class TinyRecipe:
    """How an embedded family is trained from scratch; the seed of `sft` is the family's `sft_seed`."""

    architecture: str
    pretraining: Stage
    sft: Stage
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class PackagedRecipe:
    """How a family is made of a model that a Python package carries as a GGUF file: that is the base, `sft` trains on.

    Attributes:
        distribution: name of the package where packages come from.
        module: its import name; it is never imported.
        file: the GGUF file in its folder.
        sft: the fine-tuning on everyday instructions; its seed is the family's `sft_seed`.
    """

    distribution: str
    module: str
    file: str
    sft: Stage

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules that must be installed to load it."""
        return (self.module, "gguf")


class Resources(BaseModel):
    """What one training worker occupies; a key left open is the family's, else: one CPU, no GPU, no limit.

    Attributes:
        cpus: CPUs; open: one, or a share of one where a trial's workers do not fit otherwise.
        gpus: GPUs, or a share of one.
        memory_gib: host memory, reserved in Ray; open: what training without a GPU is known to need.
        gpu_memory_gib: GPU memory as torch reports it (an "80 GB" card has 79); the worker's process is held to it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpus: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    gpus: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    memory_gib: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    gpu_memory_gib: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


NOTHING_DECLARED = Resources()


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True)
class ModelFamily:
    """A base model and its SFT model.

    Attributes:
        name: how trials and reports call it.
        base: folder or hub id of the pretrained model; empty for an embedded family (see `recipe`).
        sft: folder or hub id of the SFT model: start of training and reference. Empty in a row of the table whose SFT
            model was never published: whoever uses the row gives one.
        other_sft: folders or hub ids of SFT models trained from `base` like `sft`, with other seeds.
        revision: revision of both hub ids; `id@revision` in `base` or `sft` overrides it.
        sft_kind: `sft` for supervised fine-tuning alone, `aligned` where preferences were trained in already, so that
            tax and reward are measured against an aligned model.
        dtype: in which weights are loaded: `float32`, `bfloat16` or `float16`.
        chat_template: Jinja text that replaces the tokenizer's own template; None keeps that.
        decoding: how its models answer, see `DecodingSettings`.
        licence: as the hub's cards name it, or `unknown`.
        gated: whether one of the two asks for an accepted licence and a login; None: not known.
        provenance: who made the SFT model from what, and where that is said.
        preferences: hub id of the preference data of the same public chain, for `preferences: {hub: ...}`.
        aligned: hub id of the chain's own policy trained from the SFT model, to compare with.
        parameters: number of parameters of the SFT model; None: that of `shape`, or not known.
        shape: its sizes; None: not known, and `check` can then not estimate activations.
        base_vocabulary: rows of the base's embedding where they differ from the SFT model's; `check` says so.
        resources: per worker, used where the search space leaves them open.
        recipe: for an embedded or packaged family, how it is made here; None for folders and hub ids.
        sft_seed: of such a family's SFT data; several seeds share one base model. Else 0 for `sft`, and its place
            for one of `other_sft`, counted from 1.
    """

    name: str
    base: str = ""
    sft: str = ""
    other_sft: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    revision: str | None = None
    sft_kind: Literal["sft", "aligned"] = "sft"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    chat_template: str | None = None
    decoding: DecodingSettings = PLAIN
    licence: str = UNKNOWN
    gated: bool | None = None
    provenance: str = UNKNOWN
    preferences: str | None = None
    aligned: str | None = None
    parameters: Annotated[int, Field(ge=1)] | None = None
    shape: Shape | None = None
    base_vocabulary: Annotated[int, Field(ge=1)] | None = None
    resources: Resources = NOTHING_DECLARED
    recipe: TinyRecipe | PackagedRecipe | None = None
    sft_seed: int = 0

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a family needs a name")
        if self.recipe is None and not self.base:
            raise ValueError(f"family {self.name!r} needs base and sft: a folder or a hub id each")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")

    @property
    def sft_models(self) -> int | None:
        """How many SFT models it has; None for one with a recipe, which trains one for any seed."""
        return None if self.recipe is not None else 1 + len(self.other_sft)

    def with_sft_seed(self, seed: int) -> "ModelFamily":
        """The family whose SFT model is that of another seed; IndexError where it has no such model."""
        if self.recipe is not None:
            return replace(self, sft_seed=seed)
        models = (self.sft, *self.other_sft)
        return replace(self, sft=models[seed], other_sft=models[:seed] + models[seed + 1 :], sft_seed=seed)

    @property
    def size(self) -> int | None:
        """Number of parameters: as stated, else that of the shape, else None."""
        return self.parameters or (self.shape.parameters if self.shape else None)
