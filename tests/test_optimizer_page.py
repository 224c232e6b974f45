"""The two examples of docs/optimizer.md run as they stand."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

PAGE = Path(__file__).parent.parent / "docs" / "optimizer.md"


def example(section: str) -> str:
    """The first Python block of a section of the page."""
    text = PAGE.read_text().split(f"## {section}\n", 1)[1]
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None, section
    return found.group(1)


def test_the_plain_loop() -> None:
    torch.manual_seed(0)
    base, model = nn.Linear(4, 3), nn.Linear(4, 3)
    start = {name: value.detach().clone() for name, value in model.named_parameters()}

    def loss_of(model: nn.Module, batch: Tensor) -> Tensor:
        loss: Tensor = model(batch).square().mean()
        return loss

    code = example("In a plain torch loop")
    assert len(code.strip().splitlines()) <= 20
    exec(code, {"base_model": base, "model": model, "batches": torch.randn(30, 8, 4), "loss_of": loss_of})
    assert all(not torch.equal(value, start[name]) for name, value in model.named_parameters())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # TRL's and transformers' own, attributed to the example
def test_the_trl_trainer(tmp_path: Path) -> None:
    from datasets import Dataset

    from omsweep.families.tiny.architecture import build_model
    from omsweep.families.tiny.tokenizer import build_tokenizer

    tokenizer = build_tokenizer()
    base, model = (build_model("llama", tokenizer, seed=seed) for seed in (0, 1))
    start = {name: value.detach().clone() for name, value in model.named_parameters()}
    words = ["please", "thanks"]
    pairs = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": words[i % 2]}],
                "chosen": [{"role": "assistant", "content": words[1]}],
                "rejected": [{"role": "assistant", "content": words[0]}],
            }
            for i in range(16)
        ]
    )
    names: dict[str, Any] = {
        "base_model": base,
        "model": model,
        "tokenizer": tokenizer,
        "pairs": pairs,
        "output_dir": str(tmp_path),
        "hardware": {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "save_strategy": "no"},
    }
    exec(example("In a TRL trainer"), names)
    assert names["trainer"].state.global_step == 3
    assert names["optimizer"].diagnostics()["displacement"] > 0
    assert any(not torch.equal(value, start[name]) for name, value in model.named_parameters())
