"""`omsweep merge`: real model folders in, one that loads out; mistakes in one line and exit code 2."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from omsweep.cli import main
from omsweep.families.load import load_model, load_tokenizer, weights_hash
from omsweep.families.tiny.architecture import random_family

SMALL = {"hidden_size": 32, "intermediate_size": 32}


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    """Folders of three unrelated models by option."""
    names = ("base", "sft", "policy")
    return {f"--{name}": str(random_family(tmp_path / name, seed=seed, **SMALL)) for seed, name in enumerate(names)}


def arguments(options: dict[str, str], *more: str) -> list[str]:
    return ["merge", *(word for pair in options.items() for word in pair), *more]


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("linear", ["--weight", "0.5"]),
        ("task_arithmetic", ["--weight", "0.5"]),
        ("dare", ["--weight", "0.5", "--density", "0.5", "--seed", "3"]),
        ("ties", ["--weight", "0.5", "--density", "0.5"]),
        ("ties_sum", ["--weight", "0.5", "--density", "0.5"]),
        ("layerwise", ["--weight", "input=0.2", "--weight", "*.mlp.*=0.5", "--weight", "*=0.8"]),
        ("expo", ["--weight", "0.3"]),
        ("tau_shift", ["--weight", "-0.1"]),
    ],
)
def test_a_model_that_loads_and_answers(tmp_path: Path, models: dict[str, str], method: str, more: list[str]) -> None:
    out = tmp_path / "out"
    assert main(arguments(models, "--method", method, *more, "--output", str(out))) == 0
    model, tokenizer = load_model(str(out)), load_tokenizer(str(out))
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "x"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    assert torch.isfinite(model(prompt["input_ids"]).logits).all()
    assert (out / "generation_config.json").read_text() == Path(
        models["--policy"], "generation_config.json"
    ).read_text()


def test_closed_form_and_record(tmp_path: Path, models: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(arguments(models, "--method", "tau_shift", "--weight=-1e-1", "--output", str(out))) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{out}: policy + w (sft - base), weight -0.1; ")
    assert said.err == ""
    base, sft, policy = (load_file(Path(folder) / "model.safetensors") for folder in models.values())
    for name, tensor in load_file(out / "model.safetensors").items():
        torch.testing.assert_close(tensor, policy[name] - 0.1 * (sft[name] - base[name]))
    record = json.loads((out / "merge.json").read_text())
    assert record["weight"] == -0.1
    assert record["inputs"]["base"] == {
        "path": models["--base"],
        "revision": None,
        "weights_hash": weights_hash(models["--base"]),
    }


def test_a_model_without_use_is_noted(
    tmp_path: Path, models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(models, "--method", "linear", "--weight", "1", "--output", str(tmp_path / "out"))) == 0
    assert capsys.readouterr().err == "omsweep: note: method linear has no use for --base\n"
    assert weights_hash(str(tmp_path / "out")) == weights_hash(models["--policy"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--method", "slerp", "--weight", "1"],
            "method must be one of linear, task_arithmetic, dare, ties, ties_sum",
        ),
        (["--method", "linear", "--weight", "two"], "--weight must be a number, got 'two'"),
        (["--method", "linear", "--weight", "2"], "weight of linear must be in [0, 1], got 2.0"),
        (["--method", "linear", "--weight", "1", "--weight", "0"], "--weight of linear must be one number, got '1 0'"),
        (["--method", "linear", "--weight", "input=1"], "--weight of linear must be one number, got 'input=1'"),
        (["--method", "layerwise", "--weight", "1"], "--weight of layerwise must be PART=NUMBER, got '1'"),
        (["--method", "layerwise", "--weight", "input=1"], "weight must have a key for every tensor, got none for"),
        (["--method", "dare", "--weight", "1", "--density", "0"], "density must be in (0, 1], got 0.0"),
        (
            ["--method", "expo", "--weight", "1", "--density", ".5"],
            "method expo does not take density (dare, ties, ties_sum do)",
        ),
        (["--method", "dare", "--weight", "1", "--seed", "x"], "--seed must be a whole number >= 0, got 'x'"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_2(
    tmp_path: Path, models: dict[str, str], capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(arguments(models, *more, "--output", str(tmp_path / "out"))) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"omsweep: {message}")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folders_are_checked(tmp_path: Path, models: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    out, other = ["--output", str(tmp_path / "out")], random_family(tmp_path / "other", hidden_size=64)
    half = ["--method", "tau_shift", "--weight", "0.5"]
    for changed, message in [
        ({"--policy": str(other)}, "base must have the policy's shapes, others at lm_head.weight"),
        ({"--sft": str(tmp_path / "missing")}, "is neither a folder that exists nor a hub id"),
        ({"--output": models["--policy"]}, "output must be a new or empty folder"),
    ]:
        assert main(arguments({**models, **dict([out]), **changed}, *half)) == 2
        said = capsys.readouterr().err
        assert message in said
        assert said.count("\n") == 1
    without = {option: folder for option, folder in models.items() if option != "--base"}
    assert main(arguments(without, *half, *out)) == 2
    assert capsys.readouterr().err == ("omsweep: method tau_shift needs --base, --sft, --policy; missing --base\n")
