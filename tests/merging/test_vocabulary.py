"""Vocabularies that differ: rows by place or by token, read in pieces, and merged like the rest."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from omsweep.merging.offline import merge, merge_point
from omsweep.merging.posthoc import POSTHOC_METHODS, PosthocPoint
from omsweep.merging.sources import HeldTensor, HeldTensors, RowTensor, open_source, pieces
from omsweep.merging.tokens import token_ids
from omsweep.merging.vocabulary import VocabularyFit, fit_vocabulary, fitted, matched_rows

Save = Callable[..., Path]
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
OLD = {"a": 0, "b": 1, "c": 2}

MATCHES: list[tuple[str, int, int, Mapping[str, int] | None, Mapping[str, int] | None, list[int | None]]] = [
    ("the same", 3, 3, OLD, OLD, [0, 1, 2]),
    ("without tokenizers by place", 3, 5, None, None, [0, 1, 2, None, None]),
    ("one tokenizer is none", 3, 4, OLD, None, [0, 1, 2, None]),
    ("rows are added, padded to a round number", 3, 6, OLD, OLD | {"d": 3}, [0, 1, 2, None, None, None]),
    ("a token is put where the base has padding", 4, 4, OLD, OLD | {"d": 3}, [0, 1, 2, 3]),
    ("a token is renamed in its place", 3, 3, OLD, {"a": 0, "x": 1, "c": 2}, [0, 1, 2]),
    ("rows are dropped", 4, 2, OLD, {"a": 0, "b": 1}, [0, 1]),
    ("tokens moved", 3, 4, OLD, {"new": 0, "a": 1, "b": 2, "c": 3}, [None, 0, 1, 2]),
    ("tokens moved, one is gone", 3, 2, OLD, {"c": 0, "a": 1}, [2, 0]),
    ("tokens moved, both are padded", 5, 6, OLD, {"b": 0, "a": 1, "c": 2}, [1, 0, 2, 3, 4, None]),
    ("tokens moved, padding over a token of the base", 3, 3, OLD, {"b": 0, "a": 1}, [1, 0, None]),
    ("a token without a row in the base", 3, 4, OLD | {"z": 3}, {"b": 0, "a": 1, "z": 2}, [1, 0, None, None]),
]


@pytest.mark.parametrize(("base_rows", "sft_rows", "base", "sft", "rows"), [m[1:] for m in MATCHES], ids=lambda _: "")
def test_rows_are_matched(
    base_rows: int,
    sft_rows: int,
    base: Mapping[str, int] | None,
    sft: Mapping[str, int] | None,
    rows: list[int | None],
) -> None:
    assert matched_rows(base_rows, sft_rows, base, sft) == rows


def test_a_fit_counts_and_says_its_rows() -> None:
    fit = VocabularyFit(names=(EMBEDDING,), rows=(None, 0, 1, 5, None, None), base_rows=6)
    assert (fit.only_in_sft, fit.only_in_base, fit.moved) == (3, 3, 3)
    assert fit.runs == [(None, 1), (0, 2), (5, 1), (None, 2)]
    assert str(fit) == (
        f"{EMBEDDING}: 6 rows in the base, 6 in the SFT model; 3 that only the SFT model has (tau is the row itself);"
        " 3 that only the base has (left out); 3 at another place in the base (matched by token)"
    )


@pytest.mark.parametrize("shape", [(6, 4), (6,), (6, 2, 3)])
def test_pieces_of_rows_are_those_of_the_rows(shape: tuple[int, ...]) -> None:
    tensor = torch.arange(float(torch.Size(shape).numel())).view(shape) + 1
    rows = VocabularyFit(names=(), rows=(None, 0, 1, 5, None, None, 2), base_rows=6)
    expected = torch.stack([tensor[0] * 0 if row is None else tensor[row] for row in rows.rows])
    seen = RowTensor(HeldTensor(tensor), rows.runs)
    assert seen.shape == expected.shape
    count = expected.numel()
    for low in range(count + 1):
        for high in range(low, count + 1):
            assert torch.equal(seen.read(low, high), expected.view(-1)[low:high])


def state(rows: int, seed: int, *, tied: bool = False) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {EMBEDDING: (rows, 4), "model.layers.0.mlp.up_proj.weight": (8, 4), "model.norm.weight": (4,)}
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return tensors | {HEAD: tensors[EMBEDDING] if tied else torch.randn(rows, 4, generator=generator)}


def extended(base: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    """The base with rows of zeros at the end of its vocabulary, made by hand."""
    zeros = {name: torch.cat([base[name], torch.zeros(rows - len(base[name]), 4)]) for name in (EMBEDDING, HEAD)}
    zeros[HEAD] = zeros[EMBEDDING] if base[HEAD] is base[EMBEDDING] else zeros[HEAD]
    return {**base, **zeros}


def test_only_the_vocabulary_is_fitted_and_only_its_rows() -> None:
    base, sft = HeldTensors(state(6, 0)), HeldTensors(state(9, 1))
    fit = fit_vocabulary(base, sft)
    assert fit is not None
    assert set(fit.names) == {EMBEDDING, HEAD}
    assert {name: each.shape for name, each in fitted(base, fit).items()} == {
        name: each.shape for name, each in sft.items()
    }
    assert fit_vocabulary(base, base) is None
    assert fitted(base, None) is base
    wider = HeldTensors({**state(9, 1), EMBEDDING: torch.zeros(9, 5)})
    norm = HeldTensors({**state(6, 1), "model.norm.weight": torch.zeros(5)})
    assert fit_vocabulary(base, wider) is None
    assert fit_vocabulary(base, norm) is None
    assert fit_vocabulary(base, HeldTensors({**state(9, 1), HEAD: torch.zeros(8, 4)})) is None


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("method", [name for name, row in POSTHOC_METHODS.items() if "base" in row.models])
def test_points_of_a_smaller_base_are_those_of_one_extended_with_zeros(
    tmp_path: Path, save: Save, method: str, tied: bool
) -> None:
    point = PosthocPoint(method=method, weight=0.3, density=0.5 if POSTHOC_METHODS[method].sparse else 1.0)
    base, others = state(6, 0, tied=tied), {"sft": state(9, 1, tied=tied), "policy": state(9, 2, tied=tied)}
    expected = merge_point(point, others | {"base": extended(base, 9)})
    merged = merge_point(point, others | {"base": base})
    copies = {model: {n: x.clone() for n, x in tensors.items()} for model, tensors in (others | {"base": base}).items()}
    folders = {model: save(model, tensors) for model, tensors in copies.items()}
    merge_point(point, folders, output=tmp_path / "out")
    written = open_source(tmp_path / "out")
    for name, tensor in expected.items():
        assert torch.equal(merged[name], tensor)
        assert torch.equal(torch.cat([piece for _, piece in pieces(written[name])]), tensor.flatten())


def test_merging_over_a_smaller_base_has_the_models_rows() -> None:
    base, models = state(6, 0), [state(9, 1), state(9, 2)]
    expected = merge(extended(base, 9), models, "ties", [0.5, 0.5], 0.5)
    merged = merge(base, models, "ties", [0.5, 0.5], 0.5)
    assert all(torch.equal(merged[name], tensor) for name, tensor in expected.items())


def test_tokens_are_read_from_a_folder(tmp_path: Path, save: Save) -> None:
    def with_tokens(folder: Path, tokens: object, *added: str) -> Path:
        more = [{"id": 3 + i, "content": token} for i, token in enumerate(added)]
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": tokens}, "added_tokens": more}))
        return folder

    base, sft = save("base", state(3, 0)), save("sft", state(4, 1))
    assert token_ids(base) is None
    with_tokens(base, OLD)
    with_tokens(sft, [["c", -1.0], ["b", -2.0], ["a", -3.0]], "<pad>")  # Unigram: a list, the place is the number
    assert token_ids(sft) == {"c": 0, "b": 1, "a": 2, "<pad>": 3}
    fit = fit_vocabulary(open_source(base), open_source(sft))
    assert fit is not None
    assert fit.rows == (2, 1, 0, None)
    (base / "tokenizer.json").write_text("{")
    assert token_ids(base) is None
    with_tokens(base, OLD)
    assert fit_vocabulary(open_source(base), open_source(base)) is None
