"""A family's task vector: built once, the same however the checkpoint is spelt, only where tau is used."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from omsweep.cli import main
from omsweep.families.load import FamilyFolders, load_model, weights_hash
from omsweep.families.tiny.architecture import ARCHITECTURES, build_model, random_family, write_folder
from omsweep.families.tiny.tokenizer import build_tokenizer
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.task_vector import task_vector
from omsweep.optim.task_vector_file import open_task_vector
from omsweep.space.build import build_space
from omsweep.space.samples import task_vectors_of
from omsweep.store.records import Prepared
from omsweep.trial.prepare import task_vectors as task_vector_cache
from omsweep.trial.prepare.task_vectors import control_file, say_vocabulary, task_vector_file, task_vector_files


class Bar:
    """Counts what it is told."""

    made: list["Bar"]

    def __init__(self, *, total: int, desc: str) -> None:
        self.total, self.desc, self.done, self.closed = total, desc, 0, False
        Bar.made.append(self)

    def update(self, n: int = 1) -> None:
        self.done += n

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "cache"))
    Bar.made = []


@pytest.fixture(params=sorted(ARCHITECTURES))
def models(request: pytest.FixtureRequest, tmp_path: Path) -> Prepared:
    base, sft = (
        random_family(tmp_path / which, request.param, seed=seed) for seed, which in enumerate(("base", "sft"))
    )
    return Prepared(base=str(base), sft=str(sft), weights_hash=weights_hash(str(sft)), dtype="float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_that_of_the_loaded_models_and_built_once(models: Prepared, dtype: str) -> None:
    file = task_vector_file(models, dtype=dtype, progress=Bar)
    expected = task_vector(load_model(models.base), load_model(models.sft))
    opened = open_task_vector(file)
    assert set(opened) == set(expected)
    assert all(torch.equal(opened[name], tau.to(getattr(torch, dtype))) for name, tau in expected.items())
    (bar,) = Bar.made
    assert (bar.total, bar.done, bar.closed) == (len(expected), len(expected), True)
    assert models.sft in bar.desc
    assert task_vector_file(models, dtype=dtype, progress=Bar) == file
    assert len(Bar.made) == 1


def test_other_weights_and_other_dtypes_are_other_files(models: Prepared) -> None:
    files = {task_vector_file(models, dtype=dtype, progress=Bar) for dtype in ("float32", "bfloat16")}
    swapped = models.model_copy(
        update={"base": models.sft, "sft": models.base, "weights_hash": weights_hash(models.base)}
    )
    files.add(task_vector_file(swapped, dtype="float32", progress=Bar))
    assert len(files) == 3


@pytest.mark.parametrize("which", ["base", "sft"])
def test_where_keys_are_no_parameter_names_the_model_is_loaded(
    models: Prepared, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[str] = []
    monkeypatch.setattr(
        task_vector_cache,
        "load_model",
        lambda path, revision: loads.append(path) or load_model(path, revision=revision),
    )
    expected = open_task_vector(task_vector_file(models, dtype="float32", progress=Bar))
    assert loads == []
    weights = Path(getattr(models, which)) / "model.safetensors"
    renamed = {name.removeprefix("model."): tensor.clone() for name, tensor in load_file(weights).items()}
    save_file(renamed, weights, metadata={"format": "pt"})
    changed = models.model_copy(update={"weights_hash": weights_hash(models.sft)})
    opened = open_task_vector(task_vector_file(changed, dtype="float32", progress=Bar))
    assert loads == [getattr(models, which)]
    assert set(opened) == set(expected)
    assert all(torch.equal(opened[name], tau) for name, tau in expected.items())


def test_models_that_do_not_fit_are_refused(models: Prepared, tmp_path: Path) -> None:
    wide = random_family(tmp_path / "wide", "llama", hidden_size=64)
    with pytest.raises(
        ValueError, match=r"the base model's names must be the model's parameter names: .*of another sha"
    ):
        task_vector_file(models.model_copy(update={"base": str(wide)}), dtype="float32", progress=Bar)
    assert not (tmp_path / "cache" / "task_vectors").exists()


def with_tokens(folder: Path, architecture: str, *tokens: str, seed: int, padding: int = 0) -> Path:
    """A random model whose tokenizer knows more tokens, and its embedding that many rows and some of padding."""
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(list(tokens))
    rows = len(tokenizer) + padding
    write_folder(build_model(architecture, tokenizer, seed=seed, vocab_size=rows, hidden_size=32), tokenizer, folder)
    return folder


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_an_sft_model_with_more_rows_is_trained_along_a_task_vector_that_has_them(
    tmp_path: Path, architecture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Llama-3.1-Tulu-3-8B-SFT, whose embedding has eight rows more than Llama-3.1-8B's, one of them a token's."""
    base = with_tokens(tmp_path / "base", architecture, seed=0)
    sft = with_tokens(tmp_path / "sft", architecture, "<pad!>", seed=1, padding=7)
    models = Prepared(base=str(base), sft=str(sft), weights_hash=weights_hash(str(sft)), dtype="float32")
    before, policy = (dict(load_model(path).named_parameters()) for path in (models.base, models.sft))
    rows = len(before["model.embed_tokens.weight"])
    tau = open_task_vector(task_vector_file(models, dtype="float32", progress=Bar))
    for name, weights in policy.items():
        shared = len(before[name])
        assert torch.equal(tau[name][:shared], weights[:shared] - before[name])
        assert torch.equal(tau[name][shared:], weights[shared:])
    expected = {name: weights.detach() + 0.1 * tau[name] for name, weights in policy.items()}
    optimizer = OnlineMergeAdamW(policy.items(), OnlineMerge("linear", alpha=0.1), tau, lr=1e-6)
    sum(weights.sum() for weights in policy.values()).backward()
    optimizer.step()
    assert len(policy["model.embed_tokens.weight"]) == rows + 8
    assert all(torch.allclose(weights, expected[name], atol=1e-5) for name, weights in policy.items())

    said = (
        f"{rows} rows in the base, {rows + 8} in the SFT model; 8 that only the SFT model has (tau is the row itself)"
    )
    say_vocabulary("mine", FamilyFolders(base=models.base, sft=models.sft))
    assert f"{said}\n" in capsys.readouterr().out
    assert main(["tau", "inspect", models.base, models.sft]) == 0
    out = capsys.readouterr().out
    assert said in out
    assert "match: the same names and shapes, but for the vocabulary\n" in out
    assert main(["tau", "inspect", models.base, models.sft, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["vocabulary"]
    assert (found["base_rows"], found["sft_rows"], found["only_in_sft"]) == (rows, rows + 8, 8)


def test_rows_whose_tokens_moved_are_matched_by_token(tmp_path: Path) -> None:
    base = with_tokens(tmp_path / "base", "llama", "<one>", "<two>", seed=0)
    sft = with_tokens(tmp_path / "sft", "llama", "<new>", "<two>", "<one>", seed=0)
    models = Prepared(base=str(base), sft=str(sft), weights_hash=weights_hash(str(sft)), dtype="float32")
    tau = open_task_vector(task_vector_file(models, dtype="float32", progress=Bar))
    ours, theirs = (load_model(path).get_input_embeddings().weight for path in (models.base, models.sft))
    known = len(ours) - 2
    expected = torch.cat([ours[:known], torch.zeros(1, 32), ours[[known + 1, known]]])
    assert torch.equal(tau["model.embed_tokens.weight"], theirs - expected)


@pytest.mark.parametrize(
    ("method", "needed"),
    [
        ({"adamw": {}}, False),
        ({"anchor": {"alpha": 0.1}}, False),
        ({"childtuning": {"density": 0.5}}, False),
        ({"linear": {"alpha": 0.0}}, False),
        ({"adamw": {}, "linear": {"alpha": {"choice": [0.0, 1e-3]}}}, True),
        ({"ondare": {"semantics": "equations", "tau_travel": 0.1}}, True),
        ({"onties": {"semantics": {"choice": ["equations", "released"]}, "alpha": 0.0}}, True),
    ],
)
def test_it_is_needed_where_some_branch_can_use_tau(compare: dict[str, Any], method: Any, needed: bool) -> None:
    compare["space"]["method"] = method
    assert task_vectors_of(build_space(compare)) == (["real"] if needed else [])


def test_kinds_are_those_that_branches_using_tau_can_draw(compare: dict[str, Any]) -> None:
    alpha = {"choice": [0.0, 1e-3]}
    compare["space"]["method"] = {
        "adamw": {},
        "idle": {"method": "linear", "alpha": 0.0, "task_vector": "other_seed"},
        "drawn": {"method": "linear", "alpha": alpha, "task_vector": {"choice": ["permuted", "real"]}},
        "away": {"method": "linear", "alpha": alpha, "task_vector": "flipped"},
    }
    assert task_vectors_of(build_space(compare)) == ["real", "permuted", "flipped"]


def made(models: Prepared, *kinds: str, dtype: str = "float32", **other: Any) -> dict[str, Path]:
    other_models = models.model_copy(update=other) if other else None
    return task_vector_files(kinds, models, other=other_models, dtype=dtype, progress=Bar)


def spectrum(tau: torch.Tensor) -> torch.Tensor:
    """Singular values; a vector's is its length."""
    return torch.linalg.svdvals(tau.float().view(len(tau), -1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_controls_are_made_of_the_real_one_once(models: Prepared, dtype: str) -> None:
    kinds = ("real", "permuted", "rotated", "flipped")
    files = made(models, *kinds, dtype=dtype)
    assert len(set(files.values())) == 4
    assert len(Bar.made) == 4
    assert all((bar.done, bar.closed) == (bar.total, True) for bar in Bar.made)
    assert made(models, *kinds, dtype=dtype) == files
    assert made(models, dtype=dtype) == {}
    assert made(models, "permuted", dtype=dtype) == {kind: files[kind] for kind in ("real", "permuted")}
    assert len(Bar.made) == 4
    real, mixed, turned, away = (open_task_vector(files[kind]) for kind in kinds)
    for name, tau in real.items():
        assert torch.equal(away[name], -tau)
        assert mixed[name].dtype == tau.dtype == getattr(torch, dtype)
        assert torch.equal(mixed[name].flatten().sort().values, tau.flatten().sort().values)
        assert turned[name].dtype == tau.dtype
        before, after = spectrum(tau), spectrum(turned[name])
        assert (before - after).abs().max() <= (1e-5 if dtype == "float32" else 1e-2) * before.max()
    assert any(not torch.equal(mixed[name], tau) for name, tau in real.items())


def test_that_of_another_seed_is_the_real_one_of_that_sft_model(models: Prepared, tmp_path: Path) -> None:
    architecture = "llama" if "llama" in Path(models.sft, "config.json").read_text() else "qwen2"
    other = str(random_family(tmp_path / "other", architecture, seed=7))
    changes = {"sft": other, "sft_revision": None, "weights_hash": weights_hash(other)}
    files = made(models, "real", "other_seed", **changes)
    assert files["other_seed"] == task_vector_file(models.model_copy(update=changes), dtype="float32", progress=Bar)
    expected = task_vector(load_model(models.base), load_model(other))
    opened = open_task_vector(files["other_seed"])
    assert all(torch.equal(opened[name], tau) for name, tau in expected.items())


def test_a_control_that_breaks_off_leaves_nothing(models: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    real = task_vector_file(models, dtype="float32", progress=Bar)

    def broken(tau: torch.Tensor, name: str) -> torch.Tensor:
        raise RuntimeError(name)

    with monkeypatch.context() as patched:
        patched.setitem(task_vector_cache.CONTROLS, "flipped", broken)
        with pytest.raises(RuntimeError):
            control_file(real, "flipped", progress=Bar)
    assert open_task_vector(control_file(real, "flipped", progress=Bar)).keys() == open_task_vector(real).keys()
