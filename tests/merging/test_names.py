"""Names of tensors: canonical ones, parts of a model, globs, and how many a message lists."""

import pytest

from omsweep.merging.names import canonical_name, layer_of, listed, thirds, weights_by_name


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("model.weight", "model.weight"),
        ("module.model.weight", "model.weight"),
        ("_orig_mod.module.model._fsdp_wrapped_module.a._checkpoint_wrapped_module.b", "model.a.b"),
        ("submodule.weight", "submodule.weight"),
        ("a.module", "a.module"),
        ("weight", "weight"),
    ],
)
def test_canonical_names(given: str, expected: str) -> None:
    assert canonical_name(given) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [([], "none"), (["a"], "a"), (list("abcde"), "a, b, c, d, e"), (list("abcdefg"), "a, b, c, d, e and 2 more")],
)
def test_up_to_five_names_are_listed(names: list[str], expected: str) -> None:
    assert listed(names) == expected


NAMES = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
LAYERS = [f"model.layers.{i}.{part}.weight" for i in range(12) for part in ("self_attn.q_proj", "mlp.up_proj")]


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("model.layers.3.mlp.experts.7.up_proj.weight", ("model.layers", 3)),
        ("transformer.h.11.ln_1.bias", ("transformer.h", 11)),
        ("lm_head.weight", None),
        ("model.layers.3", None),
    ],
)
def test_the_first_number_is_the_layer(name: str, layer: tuple[str, int] | None) -> None:
    assert layer_of(name) == layer


@pytest.mark.parametrize(
    ("count", "parts"),
    [
        (1, "i"),
        (2, "im"),
        (3, "imo"),
        (4, "iimo"),
        (5, "iimmo"),
        (6, "iimmoo"),
        (7, "iiimmoo"),
        (26, "i" * 9 + "m" * 9),
    ],
)
def test_layers_are_cut_in_thirds(count: int, parts: str) -> None:
    found = thirds(f"layers.{number}.w" for number in range(count))
    assert "".join(third[0] for third in found.values()) == parts.ljust(count, "o")


def test_what_lies_outside_of_layers_and_other_stacks() -> None:
    found = thirds([*NAMES, *LAYERS, *(f"encoder.block.{i}.w" for i in (1, 5, 9)), "transformer.wte.weight"])
    assert {name: found[name] for name in [*NAMES, "transformer.wte.weight"]} == {
        "model.embed_tokens.weight": "input",
        "model.norm.weight": "output",
        "lm_head.weight": "output",
        "transformer.wte.weight": "input",
    }
    assert [found[f"encoder.block.{i}.w"] for i in (1, 5, 9)] == ["input", "middle", "output"]
    assert found["model.layers.10.mlp.up_proj.weight"] == "output"  # numbers, not texts, are in order


def test_the_first_match_counts() -> None:
    weights = [("*.layers.0.*", 0.9), ("input", 0.1), ("*.mlp.*", 0.5), ("middle", 0.2), ("*", 0.8)]
    found = weights_by_name(weights, [*NAMES, *LAYERS])
    assert found["model.layers.0.mlp.up_proj.weight"] == 0.9
    assert found["model.layers.1.mlp.up_proj.weight"] == 0.1
    assert found["model.layers.5.mlp.up_proj.weight"] == 0.5
    assert found["model.layers.5.self_attn.q_proj.weight"] == 0.2
    assert found["model.embed_tokens.weight"] == 0.1
    assert found["lm_head.weight"] == 0.8


def test_a_tensor_without_a_match_is_named() -> None:
    with pytest.raises(ValueError, match=r"got none for model.norm.weight among input, \*.layers.\*; end with \*"):
        weights_by_name([("input", 0.5), ("*.layers.*", 0.5)], [*NAMES, *LAYERS])


def test_a_glob_that_matches_nothing_is_named() -> None:
    with pytest.raises(ValueError, match="input, middle, output or globs over tensor names, none matches 'middel'"):
        weights_by_name([("middel", 0.5), ("*", 0.5)], NAMES)
    assert weights_by_name([("middle", 0.5), ("*", 0.4)], NAMES)["lm_head.weight"] == 0.4  # no layer, no middle
