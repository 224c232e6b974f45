"""Baselines as branches and axes of a space: fewer steps, NLL beside the loss, adapters; mistakes are said at check."""

from typing import Any

import pytest

from omsweep.families.shape import shape_of_config
from omsweep.families.tiny.architecture import build_model
from omsweep.families.tiny.tokenizer import build_tokenizer
from omsweep.optim.settings import OnlineMerge
from omsweep.sweep.describe import summary
from omsweep.sweep.design import draw
from omsweep.sweep.knobs import SpaceError
from omsweep.sweep.memory import Load, adapter_parameters, training_bytes
from omsweep.sweep.recipe_notes import recipe_notes
from omsweep.sweep.space import SearchSpace, build_space, train_settings


@pytest.fixture
def baselines(compare: dict[str, Any]) -> dict[str, Any]:
    """One block of plain DPO and a branch for each baseline."""
    compare["space"] = {
        "algorithm": "dpo",
        "learning_rate": 4e-4,
        "beta": 0.1,
        "method": {
            "adamw": {"steps": {"choice": [25, 50, 100]}, "learning_rate": {"choice": [2e-4, 8e-4]}},
            "nll": {"method": "adamw", "nll_weight": 0.2},
            "lora": {"method": "adamw", "lora_rank": 8, "learning_rate": 4e-3},
            "ema": {"alpha": 0.01},
        },
    }
    compare["design"] = {"blocks": 1, "cross": ["learning_rate", "steps"]}
    return compare


def changed(content: dict[str, Any], label: str, **knobs: object) -> SearchSpace:
    content["space"]["method"][label] = content["space"]["method"].get(label, {}) | knobs
    return build_space(content)


def test_learning_rates_and_steps_make_a_grid_of_one_branch(baselines: dict[str, Any]) -> None:
    space = build_space(baselines)
    samples = {sample["label"]: sample for sample in draw(space) if sample["family"] == "tiny-llama"}
    assert len(samples) == 3 * 2 + 3
    assert len({sample["seed"] for sample in samples.values()}) == 1
    early = samples["adamw-learning_rate-0.0008-steps-25"]
    assert (early["steps"], early["learning_rate"]) == (25, 8e-4)
    assert train_settings(space, early).steps == 25
    assert train_settings(space, samples["ema"]).steps == 100
    assert "25 to 100 steps of 32" in summary(space)


def test_recipes_reach_the_trainer(baselines: dict[str, Any]) -> None:
    space = changed(baselines, "lora", lora_alpha=32)
    made = {sample["label"]: train_settings(space, sample) for sample in draw(space)}
    assert (made["nll"].nll_weight, made["ema"].nll_weight) == (0.2, 0.0)
    assert (made["lora"].lora_rank, made["lora"].lora_alpha) == (8, 32)
    assert made["ema"].lora_rank == 0


@pytest.mark.parametrize(
    ("label", "knobs", "message"),
    [
        ("adamw", {"steps": 0}, "space.method.adamw.steps: steps must be at least 1, got 0"),
        ("adamw", {"steps": 2.5}, "space.method.adamw.steps: must be a whole number, got 2.5"),
        ("nll", {"nll_weight": -1}, "space.method.nll.nll_weight: nll_weight must be at least 0, got -1"),
        ("nll", {"algorithm": "kto"}, "space.method.nll.nll_weight: nll_weight must be 0 with kto, got 0.2"),
        ("lora", {"lora_rank": 1.5}, "space.method.lora.lora_rank: must be a whole number, got 1.5"),
        ("lora", {"lora_alpha": 0}, "space.method.lora.lora_alpha: lora_alpha must be positive, got 0"),
        ("lora", {"lora_rank": 0, "lora_alpha": 8}, "space.method.lora.lora_alpha: needs lora_rank above 0 beside it"),
        ("ema", {"lora_rank": 4}, "space.method.ema.lora_rank: lora_rank must be 0 with method ema, got 4"),
        (
            "tau",
            {"method": "ondare", "semantics": "equations", "lora_rank": {"choice": [0, 8]}},
            "space.method.tau.lora_rank: lora_rank must be 0 with method ondare, got 8: .* use method adamw",
        ),
        (
            "both",
            {"method": "adamw", "algorithm": {"choice": ["dpo", "kto"]}, "nll_weight": {"choice": [0, 0.5]}},
            "space.method.both.nll_weight: nll_weight must be 0 with kto, got 0.5",
        ),
    ],
)
def test_what_cannot_be_is_said_at_check(
    label: str, knobs: dict[str, Any], message: str, baselines: dict[str, Any]
) -> None:
    with pytest.raises(SpaceError, match=message):
        changed(baselines, label, **knobs)


def test_adapters_as_an_axis_stand_beside_the_weights(baselines: dict[str, Any]) -> None:
    baselines["design"]["cross"] = ["lora_rank"]
    space = changed(baselines, "lora", lora_rank={"choice": [0, 8]}, lora_alpha=8)
    assert {"lora-lora_rank-0", "lora-lora_rank-8"} < {branch.label for branch in space.branches}


def test_check_says_what_is_not_matched_and_what_is_no_early_stop(baselines: dict[str, Any]) -> None:
    (matching,) = recipe_notes(build_space(baselines))
    assert matching.startswith("design.match: the learning rate of adapters (lora) is used as it is given")
    baselines["design"] = {"blocks": 1, "match": "none"}
    (decay,) = recipe_notes(changed(baselines, "adamw", lr_scheduler="cosine"))
    assert "fewer steps of adamw are not an early stop of more" in decay


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_memory_of_adapters(architecture: str) -> None:
    from peft import get_peft_model

    from omsweep.align.lora import adapter_config

    model = build_model(architecture, build_tokenizer(), seed=0)
    shape = shape_of_config(model.config.to_dict())
    assert shape is not None
    adapted = get_peft_model(model, adapter_config(rank=4, alpha=8.0))
    count = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert adapter_parameters(shape, 4) == count
    load = Load(
        parameters=shape.parameters,
        shape=shape,
        dtype="bfloat16",
        tau_dtype="float32",
        sequences=4,
        max_length=64,
        workers=2,
        adapter_rank=4,
    )
    terms = training_bytes(load, OnlineMerge("adamw").resolved(), pilot=False)
    kept = {name: size for name, size in terms.items() if name not in ("activations", "logits")}
    assert kept == {
        "weights": 2 * shape.parameters,
        "gradients": 4 * count,
        "moments": 8 * count,
        "adapters": 4 * count,
        "gradient buckets": 4 * count,
    }
