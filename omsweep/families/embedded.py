"""The embedded families: trained here from scratch on the tiny world, no hub needed."""

from omsweep.families.family import ModelFamily, Stage, TinyRecipe
from omsweep.families.shape import Architecture, Shape

_PRETRAINING = Stage(steps=400, batch_size=16, learning_rate=5e-3)
_SFT = Stage(steps=750, batch_size=16, learning_rate=4e-3)
_VOCABULARY = 526  # the tiny world's words and the tokenizer's special tokens


def _embedded(name: str, architecture: Architecture, *, kv_heads: int, tied: bool) -> ModelFamily:
    return ModelFamily(
        name=name,
        recipe=TinyRecipe(architecture=architecture, pretraining=_PRETRAINING, sft=_SFT),
        licence="Apache-2.0",
        gated=False,
        provenance="omsweep's own, trained on the tiny world when first asked for",
        shape=Shape(
            architecture=architecture,
            layers=2,
            hidden=128,
            intermediate=256,
            heads=4,
            kv_heads=kv_heads,
            vocabulary=_VOCABULARY,
            tied=tied,
        ),
    )


EMBEDDED = (
    _embedded("tiny-llama", "llama", kv_heads=4, tied=False),
    _embedded("tiny-qwen2", "qwen2", kv_heads=2, tied=True),
)
