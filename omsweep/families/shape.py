"""The shape of a decoder-only model: what its parameter count and the memory of training it follow from. No torch."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field

Architecture = Literal["llama", "mistral", "qwen2", "qwen3", "olmo2"]
Size = Annotated[int, Field(ge=1)]


class Traits(NamedTuple):
    """Where an architecture differs from plain Llama.

    `projection_bias`: biases on queries, keys and values. `head_norms`: norms of queries and keys, of each head's size
    (`head`), of all heads together (`all`), or none.
    """

    projection_bias: bool = False
    head_norms: Literal["none", "head", "all"] = "none"


TRAITS: Mapping[str, Traits] = {
    "llama": Traits(),
    "mistral": Traits(),
    "qwen2": Traits(projection_bias=True),
    "qwen3": Traits(head_norms="head"),
    "olmo2": Traits(head_norms="all"),
}


class Shape(BaseModel):
    """A model's sizes, checked on construction.

    Attributes:
        architecture: transformers' `model_type`.
        layers: decoder layers.
        hidden: width of the residual stream.
        intermediate: width inside the gated MLP.
        heads: query heads.
        kv_heads: key and value heads.
        head_size: width of a head; None: `hidden / heads`.
        vocabulary: rows of the embedding, padding rows included.
        tied: whether the output head is the embedding.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Architecture
    layers: Size
    hidden: Size
    intermediate: Size
    heads: Size
    kv_heads: Size
    vocabulary: Size
    head_size: Size | None = None
    tied: bool = False

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.heads * self._head_size

    @property
    def keys(self) -> int:
        """Width of all key heads together, which is also that of the values."""
        return self.kv_heads * self._head_size

    @property
    def _head_size(self) -> int:
        return self.head_size or self.hidden // self.heads

    @property
    def parameters(self) -> int:
        """Number of parameters, tied ones once."""
        traits = TRAITS[self.architecture]
        attention = self.hidden * (2 * self.queries + 2 * self.keys)
        biases = self.queries + 2 * self.keys if traits.projection_bias else 0
        head_norms = {"none": 0, "head": 2 * self._head_size, "all": self.queries + self.keys}[traits.head_norms]
        layer = attention + biases + head_norms + 3 * self.hidden * self.intermediate + 2 * self.hidden
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return self.layers * layer + self.hidden + embeddings


def shape_of_config(config: Mapping[str, Any]) -> Shape | None:
    """The shape in a transformers configuration, None where the architecture or a number of it is not known here."""
    if config.get("model_type") not in get_args(Architecture):
        return None
    if config.get("attention_bias") or config.get("mlp_bias"):
        return None  # biases that the count does not have
    try:
        return Shape(
            architecture=config["model_type"],
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            intermediate=config["intermediate_size"],
            heads=config["num_attention_heads"],
            kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
            head_size=config.get("head_dim"),
            vocabulary=config["vocab_size"],
            tied=config.get("tie_word_embeddings", False),
        )
    except (KeyError, ValueError):
        return None
