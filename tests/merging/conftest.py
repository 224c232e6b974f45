"""Checkpoints for tests: a folder of safetensors files with whatever texts beside them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import Tensor

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """`save(name, tensors, files=1, **texts)` writes a folder, with an index where there are several files."""

    def saved(name: str, tensors: Mapping[str, Tensor], *, files: int = 1, **texts: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        names = {f"model-{number}.safetensors": list(tensors)[number::files] for number in range(files)}
        for file, inside in names.items():
            save_file({each: tensors[each].contiguous() for each in inside}, folder / file, metadata={"format": "pt"})
        if files > 1:
            index = {"weight_map": {each: file for file, inside in names.items() for each in inside}}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        for stem, text in texts.items():
            (folder / f"{stem}.json").write_text(text)
        return folder

    return saved
