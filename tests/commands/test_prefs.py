"""`omsweep prefs`: pairs that training takes, the same ones however it is batched, killed and gone on with."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from datasets import load_from_disk

from omsweep.cli import main
from omsweep.commands.prefs import sources
from omsweep.evaluation.settings import SCORERS
from omsweep.families.load import load_tokenizer, weights_hash
from omsweep.families.tiny.architecture import random_family
from omsweep.preferences.collection import CHUNK_PROMPTS
from omsweep.preferences.load import load_preferences
from omsweep.preferences.settings import PreferenceData
from omsweep.worlds.tiny.gold import gold_reward

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BRIEF = {"--prompts": "tiny", "--scorer": "tiny", "--max-new-tokens": "8", "--limit": "70", "--samples": "3"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a small model of random weights."""
    return str(random_family(tmp_path_factory.mktemp("models") / "model", hidden_size=32, intermediate_size=32))


def arguments(model: str, output: Path, /, **changed: str) -> list[str]:
    options = {"--model": model, "--output": str(output), **BRIEF}
    options |= {"--" + name.replace("_", "-"): value for name, value in changed.items()}
    return ["prefs", *(word for pair in options.items() for word in pair)]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def files_of(output: Path) -> tuple[bytes, bytes]:
    return output.read_bytes(), output.with_suffix(".samples.jsonl").read_bytes()


def test_pairs_samples_and_record(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "pairs.jsonl"
    assert main(arguments(model, output, pairs="all", min_margin="0.1")) == 0
    said = capsys.readouterr()
    pairs, samples = lines(output), lines(output.with_suffix(".samples.jsonl"))
    record = json.loads(output.with_suffix(".json").read_text())
    assert said.out.startswith(f"{output}: {len(pairs)} pairs from ")
    assert [len(sample["answers"]) for sample in samples] == [3] * 70
    by_id = {sample["id"]: sample for sample in samples}
    for sample in samples:
        asked = sample["prompt"][-1]["content"]
        assert [answer["score"] for answer in sample["answers"]] == [
            gold_reward(asked, answer["text"]) for answer in sample["answers"]
        ]
    for pair in pairs:
        chosen, rejected = (by_id[pair["id"]]["answers"][pair[f"sample_{which}"]] for which in ("chosen", "rejected"))
        assert pair["chosen"] == [{"role": "assistant", "content": chosen["text"]}]
        assert pair["margin"] == chosen["score"] - rejected["score"] > 0.1
    assert record["sources"]["model"]["weights_hash"] == weights_hash(model)
    assert record["request"]["scorer"]["scorer"] == "tiny"
    assert record["summary"]["pairs"] == len(pairs)
    assert record["summary"]["answers"] == 210
    [session] = record["sessions"]
    assert session["first_prompt"] == 0
    assert session["versions"]["torch"]
    assert "git_revision" in session


def test_a_finished_run_loads_nothing_again(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "pairs.jsonl"
    assert main(arguments(model, output)) == 0
    first, files = capsys.readouterr().out, files_of(output)
    monkeypatch.setattr(sources, "load_model", None)
    assert main(arguments(model, output)) == 0
    assert (capsys.readouterr().out, files_of(output)) == (first, files)
    output.unlink()  # pairs are made of the samples again
    assert main(arguments(model, output)) == 0
    assert files_of(output) == files


def test_answers_do_not_depend_on_batches_or_on_other_prompts(tmp_path: Path, model: str) -> None:
    for name, batch_size in (("one", "7"), ("other", "256")):
        assert main(arguments(model, tmp_path / f"{name}.jsonl", batch_size=batch_size)) == 0
    assert files_of(tmp_path / "one.jsonl") == files_of(tmp_path / "other.jsonl")
    assert main(arguments(model, tmp_path / "seed.jsonl", seed="1")) == 0
    assert files_of(tmp_path / "one.jsonl") != files_of(tmp_path / "seed.jsonl")
    samples = lines(tmp_path / "one.samples.jsonl")
    few = tmp_path / "few.jsonl"
    few.write_text("".join(json.dumps({"prompt": sample["prompt"]}) + "\n" for sample in samples[::-9]))
    assert main(arguments(model, tmp_path / "part.jsonl", prompts=str(few), samples="2")) == 0
    part = [sample["answers"] for sample in lines(tmp_path / "part.samples.jsonl")]
    assert part == [sample["answers"][:2] for sample in samples[::-9]]


def test_killed_and_gone_on_with_it_ends_in_the_same_bytes(tmp_path: Path, model: str) -> None:
    long = {"limit": "1000", "samples": "4", "max_new_tokens": "16"}
    killed, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    samples = killed.with_suffix(".samples.jsonl")
    command = [sys.executable, "-m", "omsweep.cli", *arguments(model, killed, **long)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (samples.exists() and samples.stat().st_size):
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert not killed.exists()
    done = samples.read_bytes().count(b"\n") // CHUNK_PROMPTS * CHUNK_PROMPTS
    assert 0 < done < 1000
    with samples.open("ab") as torn:
        torn.write(b'{"id": "open-')
    assert main(arguments(model, killed, **long)) == 0
    assert main(arguments(model, whole, **long)) == 0
    assert files_of(killed) == files_of(whole)
    record, uncut = (json.loads(path.with_suffix(".json").read_text()) for path in (killed, whole))
    assert [session["first_prompt"] for session in record["sessions"]] == [0, done]
    assert record["summary"] == uncut["summary"]
    assert "ended" not in record["sessions"][0]


def test_other_arguments_for_the_same_output(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "pairs.jsonl"
    assert main(arguments(model, output)) == 0
    before = files_of(output)
    capsys.readouterr()
    other = random_family(tmp_path / "other", seed=1, hidden_size=32, intermediate_size=32)
    monkeypatch.setattr(sources, "load_model", None)
    for changed, message in (
        ({"samples": "2"}, "samples: 3 there, 2 now"),
        ({"seed": "1"}, "prompts.hash: "),
        ({"min_margin": "0.5", "pairs": "all"}, "min_margin: 0.0 there, 0.5 now; pairs: 'best-worst' there, 'all' now"),
        ({"limit": "69"}, "prompts.limit: 70 there, 69 now; prompts.count: 70 there, 69 now"),
        ({"model": str(other)}, f"model: {model!r} there, {str(other)!r} now"),
    ):
        assert main(arguments(model, output, **changed)) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"omsweep: {output} was begun with other arguments (")
        assert message in said
        assert said.count("\n") == 1
    weights = Path(model, "model.safetensors")
    kept = weights.read_bytes()
    try:
        weights.write_bytes((other / "model.safetensors").read_bytes())
        assert main(arguments(model, output)) == 2
        assert "model.weights_hash: " in capsys.readouterr().err
    finally:
        weights.write_bytes(kept)
    assert files_of(output) == before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"samples": "1"}, "samples must be at least 2, got 1"),
        ({"samples": "two"}, "samples must be a whole number, got 'two'"),
        ({"temperature": "0"}, "temperature must be above 0, got 0.0"),
        ({"min_margin": "x"}, "min_margin must be a number, got 'x'"),
        ({"batch_size": "0"}, "batch_size must be at least 1, got 0"),
        ({"limit": "0"}, "limit must be at least 1, got 0"),
        ({"pairs": "some"}, "pairs must be one of best-worst, all, got 'some'"),
        ({"dtype": "int8"}, "dtype must be one of float32, bfloat16, float16, got 'int8'"),
        ({"scorer": "gold"}, f"reward scorer must be one of {sorted(SCORERS)}, or module:function, got 'gold'"),
        ({"scorer": "{scorer: tiny, prompts: tiny}"}, "scorer takes no prompts here"),
        ({"scorer": "{scorer"}, "scorer must be a name or a YAML mapping, got '{scorer'"),
        ({"scorer": "{scorer: reward_model, model: none/here/at/all}"}, "'none/here/at/all' is neither a folder that"),
        ({"prompts": "none.jsonl"}, "prompts file none.jsonl does not exist"),
        ({"model": "tiny-gpt"}, "--model is no family (omsweep families), and 'tiny-gpt' is no folder that exists"),
        ({"model": "qwen1.5-1.8b"}, "family 'qwen1.5-1.8b' has no public SFT model"),
        ({"max_new_tokens": "5000"}, "prompts must leave room for max_new_tokens=5000 in the model's context of"),
    ],
)
def test_mistakes_are_one_line_exit_with_2_and_leave_nothing(
    tmp_path: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, str],
    message: str,
) -> None:
    monkeypatch.setattr(sources, "load_model", None)
    assert main(arguments(model, tmp_path / "pairs.jsonl", **changed)) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"omsweep: {message}")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_prompt_that_the_template_refuses_is_named(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    (tmp_path / "prompts.jsonl").write_text(json.dumps({"id": "p7", "prompt": chat}) + "\n")
    assert main(arguments(model, tmp_path / "out.jsonl", prompts=str(tmp_path / "prompts.jsonl"))) == 2
    said = capsys.readouterr().err
    assert said.startswith("omsweep: prompt p7: the chat template of ")
    assert "renders no system turn here: roles must be user or assistant, got system; put the text of the" in said


def test_without_a_pair_it_fails_and_says_so(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(model, tmp_path / "pairs.jsonl", min_margin="100")) == 1
    assert "omsweep: no pair: " in capsys.readouterr().err
    assert lines(tmp_path / "pairs.jsonl") == []
    assert len(lines(tmp_path / "pairs.samples.jsonl")) == 70


def test_a_reward_model_judges_by_its_settings(tmp_path: Path, model: str) -> None:
    from transformers import LlamaConfig, LlamaForSequenceClassification

    judge = tmp_path / "judge"
    config = LlamaConfig.from_pretrained(model, num_labels=1, initializer_range=0.5)
    LlamaForSequenceClassification(config).save_pretrained(judge)
    load_tokenizer(model).save_pretrained(judge)
    output = tmp_path / "pairs.jsonl"
    assert main(arguments(model, output, scorer=f"{{scorer: reward_model, model: {judge}}}")) == 0
    record = json.loads(output.with_suffix(".json").read_text())
    assert record["request"]["scorer"] == {"scorer": "reward_model", "model": str(judge), "dtype": "float32"}
    assert record["sources"]["scorer"]["weights_hash"] == weights_hash(str(judge))
    assert all(pair["margin"] > 0 for pair in lines(output))


def test_training_takes_the_pairs_of_an_embedded_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from omsweep.align.data import prepare_data
    from omsweep.families.load import prepare
    from omsweep.families.table import FAMILIES

    output = tmp_path / "pairs.jsonl"
    assert main(arguments("tiny-llama", output, max_new_tokens="32", samples="4")) == 0
    pairs = lines(output)
    assert len(pairs) > 60
    assert main(["check", str(ROOT / "search_spaces/demo.yaml"), "--set", f"preferences={{path: {output}}}"]) == 0
    spec = PreferenceData(path=str(output))

    def never(*_: Any) -> Any:
        raise AssertionError("a file needs no sampling")

    folder = load_preferences(spec, family_key="", generate=never, root=tmp_path / "cache")
    assert load_from_disk(folder).remove_columns("record").to_list() == pairs
    sft = prepare(FAMILIES["tiny-llama"]).sft
    for algorithm, rows in (("dpo", len(pairs)), ("kto", 2 * len(pairs))):
        prepared = prepare_data(
            folder,
            algorithm=algorithm,
            model_path=sft,
            tokenizer=load_tokenizer(sft),
            batch_size=8,
            root=tmp_path / "cache",
        )
        assert len(load_from_disk(prepared)) == rows
