"""Baselines as branches and axes of a space: fewer steps, NLL beside the loss, adapters; mistakes are said at check."""

from pathlib import Path
from typing import Any

import pytest

from omsweep.align.settings import train_settings_from
from omsweep.commands.check.recipe_notes import recipe_notes
from omsweep.commands.check.summary import print_check, summary
from omsweep.families.shape import shape_of_config
from omsweep.families.tiny.architecture import build_model
from omsweep.families.tiny.tokenizer import build_tokenizer
from omsweep.optim.settings import OnlineMerge
from omsweep.plan.design import draw
from omsweep.preferences.settings import preferences_from, replay_from
from omsweep.space.build import build_space
from omsweep.space.data_sources import algorithms_by_source
from omsweep.space.knobs import SpaceError
from omsweep.space.memory import Load, adapter_parameters, training_bytes
from omsweep.space.search_space import SearchSpace
from tests.space_files import drawn


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
            "replay": {"method": "adamw", "replay_share": 0.25},
            "own": {"method": "adamw", "preferences": "tiny-on-policy"},
            "ema": {"alpha": 0.01},
        },
    }
    compare["design"] = {"blocks": 1, "match": "share", "cross": ["learning_rate", "steps"]}
    return compare


def changed(content: dict[str, Any], label: str, **knobs: object) -> SearchSpace:
    content["space"]["method"][label] = content["space"]["method"].get(label, {}) | knobs
    return build_space(content)


def test_learning_rates_and_steps_make_a_grid_of_one_branch(baselines: dict[str, Any]) -> None:
    space = build_space(baselines)
    specs = {spec.label: spec for spec in draw(space)}
    samples = {sample["label"]: sample for sample in drawn(space) if sample["family"] == "tiny-llama"}
    assert len(samples) == 3 * 2 + 5
    assert len({sample["seed"] for sample in samples.values()}) == 1
    early = samples["adamw-learning_rate-0.0008-steps-25"]
    assert (early["steps"], early["learning_rate"]) == (25, 8e-4)
    assert train_settings_from(specs[early["label"]].train).steps == 25
    assert train_settings_from(specs["ema"].train).steps == 100
    assert "25 to 100 steps of 32" in summary(space)


def test_recipes_reach_the_trainer(baselines: dict[str, Any]) -> None:
    space = changed(baselines, "lora", lora_alpha=32)
    made = {spec.label: train_settings_from(spec.train) for spec in draw(space)}
    assert (made["nll"].nll_weight, made["ema"].nll_weight) == (0.2, 0.0)
    assert (made["lora"].lora_rank, made["lora"].lora_alpha) == (8, 32)
    assert made["ema"].lora_rank == 0
    assert (made["replay"].replayed, made["ema"].replayed) == (8, 0)


def test_a_branch_trains_on_its_own_pairs_and_says_so(baselines: dict[str, Any]) -> None:
    space = changed(baselines, "own", steps={"choice": [25, 50]})
    samples = {sample["label"]: sample for sample in drawn(space)}
    assert samples["own-steps-25"]["preferences"] == "tiny-on-policy"
    assert "preferences" not in samples["ema"]
    found = {
        source.source: kinds for source, kinds in algorithms_by_source(space.preferences, space.shared, space.branches)
    }
    assert found == {"tiny": ["dpo"], "tiny-on-policy": ["dpo"]}
    data = {spec.label: spec.data for spec in draw(space)}
    assert data["own-steps-50"] == preferences_from("tiny-on-policy").key
    assert data["ema"] == preferences_from("tiny").key
    assert build_space(space.resolved()).branches == space.branches


def test_a_branch_may_be_matched_otherwise(
    baselines: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = changed(baselines, "ema", match="none", steps={"choice": [25, 50]})
    samples = {sample["label"]: sample for sample in drawn(space)}
    assert samples["ema-steps-25"]["match"] == "none"
    assert all("match" not in s for label, s in samples.items() if not label.startswith("ema"))
    matched = {spec.label: train_settings_from(spec.train).match for spec in draw(space)}
    assert matched["ema-steps-25"] == "none"
    assert {value for label, value in matched.items() if not label.startswith("ema")} == {"share"}
    assert build_space(space.resolved()).branches == space.branches
    monkeypatch.setenv("COLUMNS", "200")
    print_check(Path("recipes.yaml"), space)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("ema-steps-25"))
    assert line.rstrip().endswith("match = none")


def test_a_search_matches_nothing(baselines: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match="space.method.ema.match: is of mode compare"):
        changed(baselines | {"mode": "search", "design": None, "search": {"trials": 60}}, "ema", match="none")


def test_data_of_two_kinds_are_prepared_by_source(baselines: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "sft.jsonl").write_text('{"prompt": "say w1", "completion": "w1"}\n')
    space = build_space(baselines | {"replay": {"path": str(tmp_path / "sft.jsonl"), "limit": 3}})
    assert space.replay == replay_from({"path": str(tmp_path / "sft.jsonl"), "limit": 3})
    baselines["space"]["algorithm"] = {"choice": ["dpo", "ipo"]}
    baselines["space"]["method"]["own"] |= {"algorithm": "kto", "preferences": {"path": "pairs.jsonl", "limit": 8}}
    space = build_space(baselines)
    found = {
        source.source: kinds for source, kinds in algorithms_by_source(space.preferences, space.shared, space.branches)
    }
    assert found == {"tiny": ["dpo", "ipo"], "pairs.jsonl": ["kto"]}


@pytest.mark.parametrize(
    ("label", "knobs", "message"),
    [
        ("adamw", {"steps": 0}, "space.method.adamw.steps: steps must be at least 1, got 0"),
        ("adamw", {"steps": 2.5}, "space.method.adamw.steps: must be a whole number, got 2.5"),
        ("nll", {"nll_weight": -1}, "space.method.nll.nll_weight: nll_weight must be at least 0, got -1"),
        ("nll", {"algorithm": "kto"}, "space.method.nll.nll_weight: nll_weight must be 0 with kto, got 0.2"),
        ("replay", {"replay_share": 1}, r"space.method.replay.replay_share: replay_share must be in \[0, 1\), got 1"),
        ("replay", {"algorithm": "kto"}, "space.method.replay.replay_share: replay_share must be 0 with kto, got 0.25"),
        ("replay", {"replay_share": 0.01}, "replay_share must leave examples of both kinds among 32, got 0.01"),
        (
            "own",
            {"preferences": "mine"},
            "space.method.own.preferences: preferences must be one of tiny, .*tiny-on-policy",
        ),
        (
            "own",
            {"preferences": {"pth": "x"}},
            "space.method.own.preferences: preferences keys must be among name, path",
        ),
        (
            "own",
            {"prefs": "tiny"},
            "space.method.own.prefs: unknown key 'prefs' for method 'adamw'; .*, preferences, match$",
        ),
        ("ema", {"match": "norm"}, "space.method.ema.match: must be one of none, share, got 'norm'"),
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


def test_replay_needs_sft_data_and_data_need_replay(baselines: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match="replay: replay must be a path that ends with one of .*, got 'tiny'"):
        build_space(baselines | {"replay": "tiny"})
    with pytest.raises(SpaceError, match="replay: replay limit must be a whole number of at least 1, got 0"):
        build_space(baselines | {"replay": {"path": "sft.jsonl", "limit": 0}})
    with pytest.raises(
        SpaceError, match="replay: is missing: replay_share mixes in SFT data, and 'olmo-2-1b' brings none"
    ):
        build_space(baselines | {"families": ["tiny-llama", "olmo-2-1b"]})
    del baselines["space"]["method"]["replay"]
    build_space(baselines)
    with pytest.raises(SpaceError, match="replay: says which SFT data replay_share mixes in, and no replay_share here"):
        build_space(baselines | {"replay": "sft.jsonl"})


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
