import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tqdm import tqdm
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from omsweep.align.data import prepare_data
from omsweep.align.reference import score_reference
from omsweep.align.settings import TrainSettings
from omsweep.align.train import train
from omsweep.optim.settings import OnlineMerge
from omsweep.preferences.load import load_preferences
from omsweep.preferences.replay import load_replay
from omsweep.preferences.settings import PreferenceData, replay_from

SPECIALS = ["<pad>", "<s>", "</s>", "<unk>", "<user>", "<bot>"]
WORDS = [f"w{number}" for number in range(60)] + ["."]
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}<user> {{ message['content'] }} {% else %}"
    "<bot> {{ message['content'] }} {{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<bot> {% endif %}"
)
BATCH = 4


def word_tokenizer(template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate(SPECIALS + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=["<user>", "<bot>"],
        chat_template=template,
    )


def pairs(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Conversational pairs of random words; chosen ones are about `w1`, so that there is something to learn."""
    rng = random.Random(seed)

    def said(role: str, least: int, most: int, *extra: str) -> list[dict[str, str]]:
        words = rng.choices(WORDS, k=rng.randint(least, most))
        return [{"role": role, "content": " ".join([*extra, *words])}]

    return [
        {
            "prompt": said("user", 3, 8),
            "chosen": said("assistant", 2, 9, "w1"),
            "rejected": said("assistant", 2, 9, "w2"),
        }
        for _ in range(count)
    ]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return word_tokenizer()


@pytest.fixture(scope="session")
def sft_path(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> str:
    """A random two-layer model that stands for an SFT model, with its tokenizer."""
    folder = tmp_path_factory.mktemp("sft")
    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def policy(sft_path: str) -> LlamaForCausalLM:
    """A fresh copy of the SFT model."""
    return LlamaForCausalLM.from_pretrained(sft_path, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def tau(sft_path: str) -> dict[str, torch.Tensor]:
    model = LlamaForCausalLM.from_pretrained(sft_path)
    generator = torch.Generator().manual_seed(1)
    return {name: 0.1 * torch.randn(p.shape, generator=generator) for name, p in model.named_parameters()}


@pytest.fixture(scope="session")
def preferences(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Preference records -> the folder that `load_preferences` makes of them."""
    root = tmp_path_factory.mktemp("preferences")

    def folder(records: list[dict[str, Any]], **options: Any) -> Path:
        path = root / "records.jsonl"
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        spec = PreferenceData(path=str(path), **options)
        return load_preferences(spec, family_key="", generate=lambda *_: [], root=root)

    return folder


@pytest.fixture(scope="session")
def sft_examples(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Pairs -> the folder that `load_replay` makes of their prompts and chosen answers."""
    root = tmp_path_factory.mktemp("replay")

    def folder(records: list[dict[str, Any]]) -> Path:
        examples = [{"prompt": one["prompt"], "completion": one["chosen"]} for one in records]
        (root / "sft.jsonl").write_text("".join(json.dumps(example) + "\n" for example in examples))
        return load_replay(replay_from(str(root / "sft.jsonl")), sft_seed=0, root=root)

    return folder


@pytest.fixture(scope="session")
def prepared(
    tmp_path_factory: pytest.TempPathFactory,
    preferences: Callable[..., Path],
    sft_path: str,
    tokenizer: PreTrainedTokenizerFast,
) -> Callable[..., Path]:
    """Algorithm and options of `prepare_data` -> the prepared folder; 24 pairs unless `records` are given."""
    root = tmp_path_factory.mktemp("prepared")

    def folder(
        algorithm: str,
        *,
        records: list[dict[str, Any]] | None = None,
        source: Path | None = None,
        rendering: str = "chat",
        **options: Any,
    ) -> Path:
        arguments: dict[str, Any] = {
            "model_path": sft_path,
            "tokenizer": tokenizer,
            "batch_size": BATCH,
            "max_length": 32,
            "root": root,
        }
        source = source or preferences(pairs(24) if records is None else records, rendering=rendering)
        made = prepare_data(source, algorithm=algorithm, **(arguments | options))
        dtype = getattr(torch, options.get("dtype", "float32"))
        score_reference(
            made,
            None,
            model=lambda: LlamaForCausalLM.from_pretrained(sft_path, dtype=dtype).eval(),
            tokenizer=options.get("tokenizer", tokenizer),
            progress=tqdm,
        )
        return made

    return folder


@pytest.fixture(scope="session")
def settings() -> Callable[..., TrainSettings]:
    """`TrainSettings` with small defaults."""

    def made(**changes: Any) -> TrainSettings:
        defaults: dict[str, Any] = {
            "algorithm": "dpo",
            "learning_rate": 1e-3,
            "beta": 0.1,
            "steps": 4,
            "batch_size": BATCH,
            "seed": 3,
            "merge": OnlineMerge("adamw"),
            "max_length": 32,
        }
        return TrainSettings(**(defaults | changes))

    return made


@pytest.fixture
def run(prepared, tokenizer, sft_path, settings, tau, tmp_path):
    """Train a fresh copy of the SFT model; returns (outcome, model)."""

    def trained(*, data=None, model=None, dtype="float32", task_vector=tau, hooks=None, **changes):
        made = settings(dtype=dtype, **changes)
        model = model or LlamaForCausalLM.from_pretrained(sft_path, dtype=getattr(torch, dtype)).eval()
        passes = {"gradient_accumulation_steps": made.gradient_accumulation_steps}
        data = data or prepared(made.algorithm, dtype=dtype, batch_size=made.batch_size, workers=made.workers, **passes)
        outcome = train(
            made,
            model=model,
            tokenizer=tokenizer,
            data=data,
            task_vector=task_vector,
            output_dir=tmp_path / "out",
            **(hooks or {}),
        )
        return outcome, model

    return trained


@pytest.fixture(scope="session")
def make_pairs() -> Callable[..., list[dict[str, Any]]]:
    return pairs


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    return word_tokenizer
