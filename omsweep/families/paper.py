"""The three models of arXiv:2405.17931, as far as they are public.

The paper's SFT models of Qwen1.5 were never published: their rows have no SFT model, whoever has made one uses them
with `{name: mine, like: qwen1.5-1.8b, sft: ...}`. The rows ending in `-chat` take the nearest public model instead,
which is aligned already. The paper's reference for LLaMA-3-8B is Meta's Instruct model, aligned too.
"""

from dataclasses import replace

from omsweep.families.family import ModelFamily, Resources
from omsweep.families.shape import Shape

_ONE_80GB_GPU = Resources(gpus=1, gpu_memory_gib=79)

_QWEN_1_8B = ModelFamily(
    name="qwen1.5-1.8b",
    base="Qwen/Qwen1.5-1.8B@7846de7ed421727b318d6605a0bfab659da2c067",
    sft_kind="sft",
    dtype="bfloat16",
    licence="tongyi-qianwen-research",
    gated=False,
    provenance="arXiv:2405.17931; its SFT model was never published, give your own",
    parameters=1_836_828_672,
    shape=Shape(
        architecture="qwen2",
        layers=24,
        hidden=2048,
        intermediate=5504,
        heads=16,
        kv_heads=16,
        vocabulary=151936,
    ),
    resources=_ONE_80GB_GPU,
)

_QWEN_7B = ModelFamily(
    name="qwen1.5-7b",
    base="Qwen/Qwen1.5-7B@831096e3a59a0789a541415da25ef195ceb802fe",
    sft_kind="sft",
    dtype="bfloat16",
    licence="tongyi-qianwen",
    gated=False,
    provenance="arXiv:2405.17931; its SFT model was never published, give your own",
    parameters=7_721_324_544,
    shape=Shape(
        architecture="qwen2",
        layers=32,
        hidden=4096,
        intermediate=11008,
        heads=32,
        kv_heads=32,
        vocabulary=151936,
    ),
    resources=_ONE_80GB_GPU,
)

_CHAT = "the public chat model (SFT, then preferences) in place of the paper's SFT model, which was never published"

PAPER = (
    _QWEN_1_8B,
    replace(
        _QWEN_1_8B,
        name="qwen1.5-1.8b-chat",
        sft="Qwen/Qwen1.5-1.8B-Chat@e482ee3f73c375a627a16fdf66fd0c8279743ca6",
        sft_kind="aligned",
        provenance=_CHAT,
    ),
    _QWEN_7B,
    replace(
        _QWEN_7B,
        name="qwen1.5-7b-chat",
        sft="Qwen/Qwen1.5-7B-Chat@5f4f5e69ac7f1d508f8369e977de208b4803444b",
        sft_kind="aligned",
        provenance=_CHAT,
    ),
    ModelFamily(
        name="llama-3-8b",
        base="meta-llama/Meta-Llama-3-8B@8cde5ca8380496c9a6cc7ef3a8b46a0372a1d920",
        sft="meta-llama/Meta-Llama-3-8B-Instruct@8afb486c1db24fe5011ec46dfbe5b5dccdb575c2",
        sft_kind="aligned",
        dtype="bfloat16",
        licence="llama3",
        gated=True,
        provenance="arXiv:2405.17931 starts from Meta's Instruct model, which is aligned already",
        parameters=8_030_261_248,
        shape=Shape(
            architecture="llama",
            layers=32,
            hidden=4096,
            intermediate=14336,
            heads=32,
            kv_heads=8,
            vocabulary=128256,
        ),
        resources=_ONE_80GB_GPU,
    ),
)
