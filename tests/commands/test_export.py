"""`omsweep export`: a chosen policy becomes a folder that transformers loads alone and its own command makes again."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from omsweep.cli import main
from omsweep.families.load import weights_hash
from tests.small_sweeps import SmallSweep


def export(sweep: SmallSweep, output: Path, *options: str) -> int:
    return main(["export", "s", "--storage", str(sweep.storage), "--output", str(output), *options])


def refused(sweep: SmallSweep, output: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    there = sorted(sweep.storage.parent.iterdir())
    assert export(sweep, output, *options) == 2
    assert sorted(sweep.storage.parent.iterdir()) == there, "something was left"
    (line,) = capsys.readouterr().err.splitlines()
    return line


def card_of(folder: Path) -> ModelCard:
    return ModelCard.load(folder / "README.md")


@pytest.mark.parametrize(
    ("options", "trial"),
    [
        (["--trial", "a"], "a"),
        (["--knee"], "b"),
        (["--max-tax", "1.0"], "m"),
        (["--max-tax", "0.6", "--family", "mine"], "a"),
    ],
)
def test_the_chosen_policy_is_written(small_sweep: SmallSweep, tmp_path: Path, options: list[str], trial: str) -> None:
    assert export(small_sweep, tmp_path / "out", *options) == 0
    assert card_of(tmp_path / "out").data["omsweep"]["trial"] == trial
    if trial != "m":
        policy = small_sweep.path / "policies" / trial
        assert weights_hash(str(tmp_path / "out")) == weights_hash(str(policy))
        assert (tmp_path / "out" / "tokenizer.json").read_bytes() == (policy / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("options", [["--trial", "b"], ["--trial", "b", "--weight", "0.3"], ["--trial", "m"]])
def test_its_own_command_makes_it_again(small_sweep: SmallSweep, tmp_path: Path, options: list[str]) -> None:
    assert export(small_sweep, tmp_path / "out", *options) == 0
    said = card_of(tmp_path / "out").data["omsweep"]
    program, *arguments = shlex.split(said["command"].replace("FOLDER", str(tmp_path / "again")))
    assert program == "omsweep"
    assert main([*arguments, "--storage", str(small_sweep.storage)]) == 0
    assert weights_hash(str(tmp_path / "again")) == weights_hash(str(tmp_path / "out")) == said["weights_hash"]


def test_a_weight_lies_between_sft_model_and_policy(small_sweep: SmallSweep, tmp_path: Path) -> None:
    assert export(small_sweep, tmp_path / "out", "--trial", "b", "--weight", "0.25") == 0
    folders = (small_sweep.sft, small_sweep.path / "policies" / "b", tmp_path / "out")
    sft, policy, made = (load_file(folder / "model.safetensors") for folder in folders)
    for name, weights in made.items():
        expected = sft[name].double() + 0.25 * (policy[name].double() - sft[name].double())
        torch.testing.assert_close(weights, expected.float(), rtol=0, atol=1e-7)
    assert not (tmp_path / "out" / "merge.json").exists()  # it names folders of this machine
    text = (tmp_path / "out" / "README.md").read_text()
    assert "This model was not scored in the sweep." in text
    assert "eval_results" not in card_of(tmp_path / "out").data.to_dict()


def test_a_weight_that_the_sweep_scored_has_its_scores(small_sweep: SmallSweep, tmp_path: Path) -> None:
    assert export(small_sweep, tmp_path / "out", "--trial", "b", "--weight", "0.5") == 0
    values = {one.metric_type: one.metric_value for one in card_of(tmp_path / "out").data.eval_results or []}
    assert (values["reward"], values["tax"]) == (0.5, 1.0)


@pytest.mark.slow
def test_it_loads_where_there_is_no_omsweep(small_sweep: SmallSweep, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(small_sweep, out, "--knee") == 0
    program = f"""
import sys
sys.modules["omsweep"] = None
from transformers import AutoModelForCausalLM, AutoTokenizer
model, report = AutoModelForCausalLM.from_pretrained({str(out)!r}, output_loading_info=True)
assert not report["missing_keys"] and not report["unexpected_keys"], report
tokenizer = AutoTokenizer.from_pretrained({str(out)!r})
chat = [{{"role": "user", "content": "what is 1 + 1 ?"}}]
inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**inputs, max_new_tokens=4, do_sample=False)
assert answer.shape[1] > inputs["input_ids"].shape[1]
print(model.generation_config.eos_token_id)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [3, 4], "it ends answers where the sweep did"


def test_the_card_says_everything(small_sweep: SmallSweep, tmp_path: Path) -> None:
    (small_sweep.base / "LICENSE").write_text("of the base")
    assert export(small_sweep, tmp_path / "out", "--knee") == 0
    card = card_of(tmp_path / "out")
    data, text = card.data, card.text
    assert (data.library_name, data.license, data["base_model_relation"]) == ("transformers", "apache-2.0", "finetune")
    assert data.base_model is None, "a local folder is no model of the hub"
    rewards = {one.dataset_split: one for one in data.eval_results or [] if one.metric_type == "reward"}
    assert [rewards[split].metric_value for split in ("search", "report")] == [0.8, 0.7]
    assert rewards["search"].metric_args["interval_95"] == pytest.approx([0.8 - 1.96 * 0.05, 0.8 + 1.96 * 0.05])
    for said in (
        "the knee of its family's front",
        "| +0.80 ± 0.10 | +0.70 ± 0.12 |",
        "| math | 90.0 | 80.0 |",
        f"| base model | base, a local folder | – | {weights_hash(str(small_sweep.base))} |",  # noqa: RUF001
        f"| SFT model | sft, a local folder | – | {weights_hash(str(small_sweep.sft))} |",  # noqa: RUF001
        "| learning_rate | 0.0004 |",
        "| preferences | tiny | made by omsweep 0 | 8 of 9 records |",
        "Every setting was run with one seed.",
        "`LICENSE`",
        "    omsweep export s --trial b --output FOLDER\n",
    ):
        assert said in text
    assert str(tmp_path) not in card.content
    assert (tmp_path / "out" / "LICENSE").read_text() == "of the base"


def test_a_model_on_the_hub_is_named_as_such(small_sweep: SmallSweep) -> None:
    from omsweep.families.family import ModelFamily
    from omsweep.report.card.sources import origin
    from omsweep.store.state import prepared_of

    prepared = prepared_of(small_sweep.state().prepared["mine"])
    family = ModelFamily(name="f", base="meta-llama/Llama-3.2-1B@abc", sft="org/sft")
    assert origin(family, "base", prepared).hub == "meta-llama/Llama-3.2-1B"


def test_what_a_name_must_begin_with(
    small_sweep: SmallSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (small_sweep.base / "LICENSE").write_text("META LLAMA 3 COMMUNITY LICENSE AGREEMENT")
    line = refused(small_sweep, tmp_path / "out", capsys, "--knee", "--push", "org/mine")
    assert "must have a name that begins with Llama 3" in line
    assert line.endswith("allowed is for example org/Llama-3-mine")
    assert export(small_sweep, tmp_path / "out", "--knee") == 0
    assert "made from Llama 3" in capsys.readouterr().out
    card = card_of(tmp_path / "out")
    assert card.data.model_name == "Llama-3-out"
    assert "**Built with Meta Llama 3.**" in card.text
    assert "Meta Llama 3 is licensed under" in (tmp_path / "out" / "NOTICE").read_text()


def test_what_was_not_kept_is_said_with_the_remedy(
    small_sweep: SmallSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(small_sweep, tmp_path / "out", capsys, "--trial", "d")
    assert line.startswith("omsweep: the policy of d was not kept")
    assert "keep.policies=all" in line
    line = refused(small_sweep, tmp_path / "out", capsys, "--trial", "e")
    assert "e has no policy: it was stopped" in line


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--trial", "x"], "no trial x of sweep s has ended; on a front: "),
        (["--knee", "--family", "other"], "--family must be one of mine; got 'other'"),
        (["--trial", "b", "--weight", "1.5"], "weight of linear must be in [0, 1], got 1.5"),
        (["--trial", "m", "--weight", "0.5"], "--weight is for a trained policy"),
        (["--max-tax", "0.1"], "no trial of mine has more reward than its SFT model at a tax of at most 0.1 points"),
    ],
)
def test_what_cannot_be_exported(
    small_sweep: SmallSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert said in refused(small_sweep, tmp_path / "out", capsys, *options)


def test_a_folder_with_something_in_it_is_left_alone(
    small_sweep: SmallSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()
    assert "output must be a new or empty folder" in refused(small_sweep, out, capsys, "--knee")
    assert [file.name for file in out.iterdir()] == ["mine"]


def test_other_weights_under_the_policys_name_are_refused(
    small_sweep: SmallSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policies = small_sweep.path / "policies"
    (policies / "a" / "model.safetensors").replace(policies / "b" / "model.safetensors")
    for options in ([], ["--weight", "0.5"]):
        assert "is not the one that was scored" in refused(
            small_sweep, tmp_path / "out", capsys, "--trial", "b", *options
        )


def test_interrupted_it_leaves_nothing(
    small_sweep: SmallSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("omsweep.report.card.text.card", interrupt)
    there = sorted(tmp_path.iterdir())
    assert export(small_sweep, tmp_path / "out", "--knee") == 130
    assert sorted(tmp_path.iterdir()) == there


def test_a_sweep_that_was_moved_still_has_its_policies(small_sweep: SmallSweep, tmp_path: Path) -> None:
    small_sweep.storage.rename(tmp_path / "elsewhere")
    arguments = ["export", "s", "--storage", str(tmp_path / "elsewhere"), "--knee", "--output", str(tmp_path / "out")]
    assert main(arguments) == 0


def test_push_uploads_to_a_private_repository(
    small_sweep: SmallSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    class Hub:
        def whoami(self) -> None:
            done.append("logged in")

        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
            done.append((name, private, exist_ok))

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> str:
            done.append((repo_id, sorted(file.name for file in folder_path.iterdir())))
            return "https://hub/org/mine"

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "a token")
    assert export(small_sweep, tmp_path / "out", "--knee", "--push", "org/mine") == 0
    assert done[:2] == ["logged in", ("org/mine", True, True)]
    assert done[2][0] == "org/mine"
    assert {"README.md", "model.safetensors"} <= set(done[2][1])


def test_push_without_the_hub_is_refused_before_anything_is_written(
    small_sweep: SmallSweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "HF_HUB_OFFLINE" in refused(small_sweep, tmp_path / "out", capsys, "--knee", "--push", "org/mine")
