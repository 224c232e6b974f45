"""A mistake in a search space is one line that names file, key path, value and what is allowed."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from omsweep.commands.check.load import load_checked as load_space
from omsweep.engine.opened import differences
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.space.parse import apply_overrides
from omsweep.space.samples import make_sample, online_merge
from omsweep.space.yaml_text import SpaceFileError, parse_yaml
from tests.space_files import stand_ins

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "search_spaces" / "demo.yaml"


def edited(tmp_path: Path, path: str, value: object) -> Path:
    """The demo with one key changed, as a file."""
    content = yaml.safe_load(DEMO.read_text())
    node = content
    *parents, last = path.split(".")
    for key in parents:
        node = node[key]
    node[last] = value
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


@pytest.mark.parametrize(
    "file",
    sorted((ROOT / "search_spaces").rglob("*.yaml")),
    ids=lambda p: str(p.relative_to(ROOT / "search_spaces").with_suffix("")),
)
def test_every_search_space_of_the_project_loads(file: Path) -> None:
    space = load_space(file, stand_ins(file))
    assert space.branches
    assert load_space(file, stand_ins(file)).resolved() == space.resolved()


def test_alpha_goes_by_parameter_name(tmp_path: Path) -> None:
    patterns = {"*.mlp.*": 1e-3, "*": 0.0}
    space = load_space(edited(tmp_path, "space.method.onties.alpha", {"by_name": patterns}))
    branch = next(branch for branch in space.branches if branch.label == "onties")
    sample = make_sample(
        space, branch, {"alpha": branch.knobs["alpha"].value}, trial_id="t", family="f", block=0, seed=0
    )
    resolved = online_merge({**sample, "semantics": "equations"}).resolved()
    assert resolved.alpha_of("model.layers.0.mlp.up_proj.weight") == 1e-3
    assert resolved.alpha_of("model.norm.weight") == 0.0


MISTAKES = [
    ("trian", {"steps": 3}, "trian: unknown key 'trian'; allowed: name, mode, families"),
    ("train.stepz", 3, "train.stepz: unknown key 'stepz'; allowed: steps, batch_size"),
    ("train.steps", 0, "train.steps: must be greater than or equal to 1, got 0"),
    ("train.steps", "many", "train.steps: must be a valid integer"),
    (
        "train.steps",
        True,
        "train.steps: must be no boolean: YAML reads yes, no, on, off, true and false as booleans, q",
    ),
    ("train.steps", 10**7, "train.steps: must be less than or equal to 1000000, got 10000000"),
    ("space.steps", 10**7, "space.steps: must be at most 1000000, got 10000000"),
    ("space.learning_rate", float("inf"), "space.learning_rate: must be finite, got inf"),
    ("space.beta", {"choice": list(range(1, 2000))}, "space.beta.choice: must hold at most 200 values, got 1999: give"),
    ("design.blocks", 200_000, "design: a sweep has at most 100000 trials, and this one 1200000: 2 families"),
    ("posthoc", {"g": {"method": "linear", "weights": [0.5] * 10_001}}, "posthoc.g: a grid has at most 10000 points"),
    ("name", False, "name: must be no boolean: YAML reads yes, no"),
    ("families", [True], "families.0: must be a valid string, got True: YAML reads it as a boolean, quote it"),
    (
        "families",
        [{"name": 1e3, "base": "a/b", "sft": "a/c"}],
        "families.0.name: name must be text, got 1000.0: YAML reads it so, quote it",
    ),
    ("mode", "race", "mode: must be 'compare' or 'search', got 'race'"),
    ("space.method.onties.alpha", 2, "space.method.onties.alpha: alpha must be in [0, 1], got 2"),
    (
        "space.method.onties.alpha",
        {"uniform": [0.5, 2.0]},
        "space.method.onties.alpha: alpha must be in [0, 1], got 2",
    ),
    ("space.method.ondare.density", 0, "space.method.ondare.density: density must be in (0, 1], got 0"),
    ("space.method.ondare.tau_travel", 500, "space.method.ondare.tau_travel: "),
    ("space.method.ondare.semantics", "released", "tau_travel is not known in advance where tau is clamped (clip 1)"),
    ("space.method.ondare.semantics", "paper", "space.method.ondare.semantics: semantics must be"),
    (
        "space.method.ondare.densty",
        0.5,
        "space.method.ondare.densty: unknown key 'densty' for method 'ondare'; allowed: ",
    ),
    (
        "space.method.ondare.task_vector",
        "shuffled",
        "space.method.ondare.task_vector: must be one of real, permuted, rotated, flipped, other_seed, got 'shuffled'",
    ),
    (
        "space.method.ondare.task_vector",
        {"choice": ["real", "fliped"]},
        "space.method.ondare.task_vector: must be one of real, permuted, rotated, flipped, other_seed, got 'fliped'",
    ),
    (
        "space.method.adamw",
        {"task_vector": "permuted"},
        "space.method.adamw.task_vector: method 'adamw' merges no task vector; allowed for: linear, ondare, onties,",
    ),
    ("space.task_vector", 3, "space.task_vector: must be one of real, permuted, rotated, flipped, other_seed, got 3"),
    ("space.method.magic", {}, "space.method.magic: unknown method 'magic'; allowed: adamw"),
    ("space.learning_rate", "fast", "space.learning_rate: "),
    ("space.learning_rate", {"by_name": {"*": 1e-3}}, "space.learning_rate.by_name: only alpha goes by parameter name"),
    ("space.method.onties.alpha", {"by_name": {}}, "space.method.onties.alpha.by_name: must map patterns"),
    ("space.method.onties.alpha", {"by_name": {"*": 2}}, "space.method.onties.alpha: alpha must be in [0, 1], got 2"),
    ("space.learning_rate", -1.0, "space.learning_rate: "),
    ("space.learning_rate", {"loguniform": [0, 1]}, "space.learning_rate.loguniform: must have 0 < low"),
    ("space.learning_rate", {"normal": [0, 1]}, "space.learning_rate: a drawn knob is one of"),
    ("space.algorithm", "ppo", "space.algorithm: unknown algorithm 'ppo'; allowed: dpo, ipo, kto"),
    ("space.beta", [0.1], "space.beta: a list is drawn from with"),
    ("families", ["tiny-lama"], "families.0: "),
    ("families", [], "families: "),
    ("preferences", "tinny", "preferences: "),
    ("evaluate.reward", "taste", "evaluate.reward: "),
    ("search", {"trials": 3}, "search: belongs to the other mode"),
    ("objectives.tax", "flip_rate", "objectives.tax: must be 'tax', 'tax_regressed' or 'tax_worst', got 'flip_rate'"),
    ("design", {"sft_seeds": 0}, "design.sft_seeds: must be greater than or equal to 1, got 0"),
    ("design.match", "tau", "design.match: must be one of none, share, got 'tau'"),
    ("design.match", "displacement", "design.match: must be share (the new name of displacement: what is matched is"),
    ("space.method.adamw.match", "displacement", "space.method.adamw.match: must be share (the new name of displ"),
    ("train.batch_size", 1, "kto"),
    ("train.gradient_accumulation_steps", 0, "train.gradient_accumulation_steps: must be greater than or equal to 1"),
    (
        "train.gradient_accumulation_steps",
        5,
        "train.batch_size: batch_size must be divisible by workers x gradient_accumulation_steps (1 x 5), got 32",
    ),
    ("train.gradient_checkpointing", "some", "train.gradient_checkpointing: must be a valid boolean"),
    ("train.sharding", "fsdp", "train.sharding: must be 'ddp' or 'fsdp2', got 'fsdp'"),
    ("train.sharding", "fsdp2", "train.workers: workers must be at least 2 with sharding fsdp2, got 1"),
    ("train", {"backend": "inprocess", "sharding": "fsdp2"}, "train.sharding: fsdp2 needs backend 'train'"),
    ("train.dtype", "float16", "train.dtype: must be 'float32' or 'bfloat16', got 'float16'"),
]


@pytest.mark.parametrize("tax", ["tax_regressed", "tax_worst"])
def test_a_tax_that_is_corrected_for_noise_needs_two_items(compare: dict[str, Any], tax: str) -> None:
    asked = compare | {"objectives": {"tax": tax}}
    assert build_space(asked | {"evaluate": {"limit": 2}}).file.objectives.tax == tax
    with pytest.raises(SpaceError, match=f"objectives.tax: {tax} is corrected for item noise, which one item of each"):
        build_space(asked | {"evaluate": {"limit": 1}})


def test_a_family_in_a_dtype_that_is_not_trained_needs_another(compare: dict[str, Any]) -> None:
    half = compare | {"families": [{"name": "half", "base": "a/b", "sft": "a/c", "dtype": "float16"}]}
    expected = "families.0.dtype: training takes float32, bfloat16, got float16: give one, or train.dtype"
    with pytest.raises(SpaceError, match=expected):
        build_space(half)
    assert build_space(half | {"train": {"dtype": "bfloat16"}}).families[0].dtype == "float16"


@pytest.mark.parametrize(("path", "value", "expected"), MISTAKES, ids=[f"{m[0]}={m[1]}"[:80] for m in MISTAKES])
def test_a_mistake_names_file_key_value_and_what_is_allowed(
    tmp_path: Path, path: str, value: object, expected: str
) -> None:
    file = edited(tmp_path, path, value)
    with pytest.raises(SpaceFileError) as caught:
        load_space(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty; allowed keys: name, mode"),
        ("- a\n- b\n", "must hold a mapping of keys, got list"),
        ("name: [unclosed\n", "not valid YAML: line 2"),
        ("name: !!python/object/apply:os.system ['true']\n", "only plain YAML values are allowed"),
        ("name: a\nname: b\n", "key 'name' occurs twice"),
    ],
)
def test_a_file_that_is_no_search_space_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(SpaceFileError, match="space.yaml: ") as caught:
        load_space(file)
    assert expected in str(caught.value)


def test_numbers_without_a_dot_are_numbers() -> None:
    assert parse_yaml("[1e-4, 3E+2, 1.5e3, .5e1]", "x") == [1e-4, 300.0, 1500.0, 5.0]
    assert parse_yaml("[12e, v1e3, 1e]", "x") == ["12e", "v1e3", "1e"]


def test_keys_that_hold_anchors_are_no_part_of_the_space(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    held = "x-onties: &onties {semantics: equations, alpha: 1.0e-4}\n"
    file.write_text(held + DEMO.read_text())
    more = ["space.method.onties={semantics: equations, alpha: 1.0e-4}"]
    assert load_space(file, more).resolved() == load_space(DEMO, more).resolved()


def test_overrides_set_nested_keys_and_leave_the_original_alone() -> None:
    content = {"train": {"steps": 100}, "families": [{"base": "a"}, "b"], "design": None}
    changed = apply_overrides(content, ["train.steps=5", "space.method.adamw={}", "name=x", "design.blocks=2"])
    assert changed["train"] == {"steps": 5}
    assert changed["space"] == {"method": {"adamw": {}}}
    assert (changed["name"], changed["design"]) == ("x", {"blocks": 2})
    assert content == {"train": {"steps": 100}, "families": [{"base": "a"}, "b"], "design": None}


def test_overrides_reach_names_with_dots_and_entries_of_lists() -> None:
    content = {"families": [{"base": "a"}, "b"]}
    found = apply_overrides(content, ['s["a.b"].alpha=1', "s['c=d']=2", "s[e.f]=x=y", "families[0].base=z"])
    assert found["s"] == {"a.b": {"alpha": 1}, "c=d": 2, "e.f": "x=y"}
    assert found["families"] == [{"base": "z"}, "b"]
    assert apply_overrides(content, ["families.1=c"])["families"] == [{"base": "a"}, "c"]
    template = "{{ messages[0]['content'] }}{{ eos_token }}"
    set_template = apply_overrides({"families": [{}]}, [f'families[0].chat_template="{template}"'])
    assert set_template["families"] == [{"chat_template": template}]
    with pytest.raises(SpaceFileError, match=r"'2' is set inside a list of 2: give a number from 0 to 1"):
        apply_overrides(content, ["families[2]=c"])


@pytest.mark.parametrize(
    "override", ["train.steps", "=3", "train..steps=3", "name.first=3", "a[b=3", "[a]=1", "a" * 50]
)
def test_a_malformed_override_is_refused(override: str) -> None:
    with pytest.raises(SpaceFileError, match="--set"):
        apply_overrides({"name": "x"}, [override])


@pytest.mark.parametrize("file", ["missing.yaml", "demo.yaml"])
def test_check_exits_2_with_one_line_in_under_three_seconds(tmp_path: Path, file: str) -> None:
    if file == "demo.yaml":
        edited(tmp_path, "space.method.onties.alpha", 2).rename(tmp_path / file)
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "omsweep.cli", "check", str(tmp_path / file)], capture_output=True, text=True
    )
    assert result.returncode == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stderr
    assert time.monotonic() - started < 10  # the bound users see is 3 s; this machine may be busy


def test_a_search_from_before_a_setting_came_is_the_same_search(search: dict[str, Any]) -> None:
    resolved = build_space(search).resolved()
    assert not {"constraints", "replicates", "warm_start", "transfer_from"} & resolved["search"].keys()
    search["search"] = {**search["search"], "replicates": 2}
    assert build_space(search).resolved()["search"]["replicates"] == 2


@pytest.mark.parametrize(
    ("evaluate", "backend", "named"),
    [
        ({"workers": 2}, "inprocess", "evaluate.workers: needs backend 'train'"),
        ({"resources_per_worker": {"cpus": 2}}, "train", "evaluate.resources_per_worker: needs evaluate.workers"),
        ({"workers": 0}, "train", "evaluate.workers: must be greater than or equal to 1"),
    ],
)
def test_groups_that_score_need_workers_that_stay(
    compare: dict[str, Any], evaluate: dict[str, Any], backend: str, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        build_space(compare | {"train": {"backend": backend}, "evaluate": evaluate})


def test_where_trials_are_scored_is_no_part_of_what_they_are(compare: dict[str, Any]) -> None:
    apart = compare | {"evaluate": {"workers": 2, "resources_per_worker": {"cpus": 2}}}
    assert draw(build_space(apart)) == draw(build_space(compare))
    assert not differences(build_space(apart).resolved(), build_space(compare).resolved())
