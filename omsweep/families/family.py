"""What a model family is: a base model, the SFT model made from it, and how to load them. Plain data, no torch."""

from dataclasses import dataclass

DTYPES = ("float32", "bfloat16", "float16")


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
class ModelFamily:
    """A base model and its SFT model.

    Attributes:
        name: how trials and reports call it.
        base: folder or hub id of the pretrained model; empty for an embedded family (see `recipe`).
        sft: folder or hub id of the SFT model: start of training and reference.
        revision: revision of both hub ids; `id@revision` in `base` or `sft` overrides it.
        dtype: in which weights are loaded: `float32`, `bfloat16` or `float16`.
        chat_template: Jinja text that replaces the tokenizer's own template.
        recipe: for an embedded family, how it is trained; None for folders and hub ids.
        sft_seed: of an embedded family's SFT data; several seeds share one base model.
    """

    name: str
    base: str = ""
    sft: str = ""
    revision: str | None = None
    dtype: str = "float32"
    chat_template: str | None = None
    recipe: TinyRecipe | None = None
    sft_seed: int = 0

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a family needs a name")
        if self.recipe is None and not (self.base and self.sft):
            raise ValueError(f"family {self.name!r} needs base and sft: a folder or a hub id each")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
