"""Tied weights: stored once or twice, they are merged once, under one mask."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from omsweep.merging.offline import merge_point
from omsweep.merging.posthoc import PosthocPoint
from omsweep.merging.sources import open_source, tied_names

Save = Callable[..., Path]
HEAD, EMBED, NORM, LAYER = "lm_head.weight", "model.embed_tokens.weight", "model.norm.weight", "model.layers.0.w"
POINT = PosthocPoint(method="dare", weight=0.6, density=0.5, seed=2)


def model(seed: int, *, head: str = "tied") -> dict[str, Tensor]:
    """A model whose head is its embedding (`tied`), a copy of it, absent, or `other`."""
    generator = torch.Generator().manual_seed(seed)
    embed = torch.randn(9, 4, generator=generator)
    tensors = {EMBED: embed, LAYER: torch.randn(4, 4, generator=generator), NORM: torch.ones(4)}
    heads = {"tied": embed, "copy": embed.clone(), "other": torch.randn(9, 4, generator=generator)}
    return tensors | ({HEAD: heads[head]} if head != "absent" else {})


def tied_in(*models: Mapping[str, Tensor] | Path) -> dict[str, str]:
    return tied_names([open_source(each) for each in models])


def test_one_memory_is_tied_and_equal_values_are_not() -> None:
    assert tied_in(model(0), model(1)) == {HEAD: EMBED}
    assert tied_in(model(0), model(1, head="copy")) == {}
    assert tied_in(model(0), model(1, head="absent")) == {HEAD: EMBED}
    assert tied_in(model(0, head="absent"), model(1, head="absent")) == {}


def test_equal_bytes_outside_of_layers_are_tied_in_folders(save: Save) -> None:
    copy, absent, other = (save(head, model(0, head=head)) for head in ("copy", "absent", "other"))
    assert tied_in(copy, copy) == tied_in(copy, absent) == tied_in(absent, copy) == {HEAD: EMBED}
    assert tied_in(copy, other) == tied_in(other, absent) == {}
    zeros = {f"model.layers.{number}.bias": torch.zeros(3) for number in range(2)}
    assert tied_in(save("zeros", zeros)) == {}


@pytest.mark.parametrize("heads", [("copy", "copy", "copy"), ("copy", "absent", "copy"), ("absent", "copy", "copy")])
def test_copies_are_merged_as_one_tensor(tmp_path: Path, save: Save, heads: tuple[str, str, str]) -> None:
    """Whichever models store the head, what is written equals the merge of tied models in memory."""
    names = ("base", "sft", "policy")
    expected = merge_point(POINT, {name: model(seed) for seed, name in enumerate(names)})
    assert expected[HEAD] is expected[EMBED]
    given = {name: save(name, model(seed, head=heads[seed])) for seed, name in enumerate(names)}
    merge_point(POINT, given, output=tmp_path / "out")
    written = load_file(tmp_path / "out" / "model-0.safetensors")
    assert written.keys() == expected.keys()
    assert all(torch.equal(written[name], expected[name]) for name in expected)


def test_a_policy_without_the_copy_stays_without(tmp_path: Path, save: Save) -> None:
    given = {
        name: save(name, model(seed, head="copy" if seed else "absent"))
        for seed, name in enumerate(("policy", "sft", "base"))
    }
    merge_point(POINT, given, output=tmp_path / "out")
    assert HEAD not in load_file(tmp_path / "out" / "model-0.safetensors")


def test_a_head_of_its_own_is_not_dropped(save: Save) -> None:
    given = {
        name: save(name, model(seed, head=head))
        for seed, (name, head) in enumerate([("policy", "absent"), ("sft", "absent"), ("base", "other")])
    }
    with pytest.raises(ValueError, match=r"base must have the policy's names: missing none; extra lm_head.weight"):
        merge_point(POINT, given)


def test_rotary_frequencies_of_old_checkpoints_are_passed_over() -> None:
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)}
    given = {"policy": model(0), "sft": model(1) | extra, "base": model(2)}
    assert merge_point(POINT, given).keys() == model(0).keys()
    (name,) = extra
    merged = merge_point(POINT, {"policy": model(0) | extra, "sft": model(1) | extra, "base": model(2)})
    assert torch.equal(merged[name], extra[name]), "the policy's own stay"
