"""The shape of a decoder-only model: what its parameter count and the memory of training it follow from. No torch."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field

Architecture = Literal["llama", "mistral", "qwen2", "qwen3", "olmo2"]
Size = Annotated[int, Field(ge=1)]


class Traits(NamedTuple):
    """Where an architecture differs from plain Llama.

    `projection_bias`: biases on queries, keys and values. `head_norms`: norms of queries and keys, of each head's size
    (`head`), of all heads together (`all`), or none. `norms`: of a layer, each of the hidden width.
    """

    projection_bias: bool = False
    head_norms: Literal["none", "head", "all"] = "none"
    norms: tuple[str, str] = ("input_layernorm", "post_attention_layernorm")


TRAITS: Mapping[str, Traits] = {
    "llama": Traits(),
    "mistral": Traits(),
    "qwen2": Traits(projection_bias=True),
    "qwen3": Traits(head_norms="head"),
    "olmo2": Traits(head_norms="all", norms=("post_attention_layernorm", "post_feedforward_layernorm")),
}

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


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
        inside, outside = (sum(map(math.prod, shapes.values())) for shapes in (self.in_layer(), self.outside_layers()))
        return self.layers * inside + outside

    def in_layer(self) -> dict[str, tuple[int, ...]]:
        """Shapes of one layer's parameters, by what transformers calls them behind `model.layers.N.`."""
        hidden, intermediate, queries, keys = self.hidden, self.intermediate, self.queries, self.keys
        traits = TRAITS[self.architecture]
        layer: dict[str, tuple[int, ...]] = {
            "self_attn.q_proj.weight": (queries, hidden),
            "self_attn.k_proj.weight": (keys, hidden),
            "self_attn.v_proj.weight": (keys, hidden),
            "self_attn.o_proj.weight": (hidden, queries),
            "mlp.gate_proj.weight": (intermediate, hidden),
            "mlp.up_proj.weight": (intermediate, hidden),
            "mlp.down_proj.weight": (hidden, intermediate),
            **{f"{name}.weight": (hidden,) for name in traits.norms},
        }
        if traits.projection_bias:
            layer |= {f"self_attn.{part}_proj.bias": layer[f"self_attn.{part}_proj.weight"][:1] for part in "qkv"}
        if traits.head_norms != "none":
            widths = (queries, keys) if traits.head_norms == "all" else (self._head_size, self._head_size)
            layer |= {f"self_attn.{part}_norm.weight": (width,) for part, width in zip("qk", widths, strict=True)}
        return layer

    def outside_layers(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the other parameters by name, tied ones once."""
        head = {} if self.tied else {HEAD: (self.vocabulary, self.hidden)}
        return {EMBEDDING: (self.vocabulary, self.hidden), "model.norm.weight": (self.hidden,), **head}


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
    except (KeyError, ValueError, TypeError):
        return None
