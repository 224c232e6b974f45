import json
from pathlib import Path
from typing import Any

import pytest

from omsweep.commands.check import records
from omsweep.commands.check.examples import print_examples
from omsweep.commands.check.records import check_records, kto_notes, print_records
from omsweep.evaluation.settings import REWARD_PROMPTS
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.space.search_space import SearchSpace


def test_reward_prompts_in_a_local_file_are_refused_by_check(compare: dict[str, Any], tmp_path: Path) -> None:
    scored = json.loads(REWARD_PROMPTS["tiny"].read_text().splitlines()[0])
    pairs = [{"prompt": text, "chosen": "a", "rejected": "b"} for text in ("other ?", scored["prompt"].upper())]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    compare["preferences"] = str(tmp_path / "pairs.jsonl")
    with pytest.raises(SpaceError, match=f"preferences.* of 2 prompts 1 are the same .*{scored['id']}"):
        check_records(build_space(compare))
    compare["preferences"] = {"path": str(tmp_path / "pairs.jsonl"), "limit": 1}
    check_records(build_space(compare))
    (tmp_path / "prompts.jsonl").write_text("{oops")
    compare["evaluate"] = {"reward": {"scorer": "tiny", "prompts": str(tmp_path / "prompts.jsonl")}}
    with pytest.raises(SpaceError, match=r"^evaluate\.reward\.prompts: .*: line 1 is not JSON"):
        check_records(build_space(compare))
    del compare["evaluate"]
    (tmp_path / "pairs.jsonl").write_text('{"text": "a"}')
    with pytest.raises(SpaceError, match="preferences.* must have the columns"):
        check_records(build_space(compare))
    (tmp_path / "pairs.jsonl").unlink()
    check_records(build_space(compare))


def space_of(compare: dict[str, Any], tmp_path: Path, rows: list[dict[str, Any]], **space: Any) -> SearchSpace:
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    compare["preferences"] = {"path": str(tmp_path / "rows.jsonl")}
    compare["space"] |= {"algorithm": "dpo", "method": {"adamw": {}}} | space
    return build_space(compare)


def labelled(*labels: bool) -> list[dict[str, Any]]:
    return [{"prompt": f"say {n}", "completion": "hello", "label": label} for n, label in enumerate(labels)]


def test_local_records_are_read_once_and_their_table_is_shown(
    compare: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(records, "LARGE_BYTES", 10)
    rows = [{"prompt": f"say {n}", "chosen": "yes", "rejected": "yes" if n == 7 else "no"} for n in range(100)]
    space = space_of(compare, tmp_path, rows)
    check_records(space)
    print_records(space)
    shown = capsys.readouterr().out
    assert (
        "rows.jsonl: 100 records, 99 taken\n       1  dropped: chosen and rejected are the same (first: record 7)"
        in shown
    )
    assert shown.count("reading preferences") == 1
    print_examples(space)
    shown = capsys.readouterr().out
    assert "tiny-llama" in shown
    assert "record 2\n  prompt: '<s> <|user|> say 2 <|assistant|>'\n  chosen: ' yes </s>'\n" in shown


@pytest.mark.parametrize(
    ("rows", "algorithm", "message"),
    [
        (labelled(True, True), "kto", "kto needs .* got none whose label is false among 2 records"),
        (labelled(True, False), "dpo", "dpo and ipo need paired preferences"),
        ([{"prompt": "a", "chosen": "b", "rejected": " b"}], "dpo", "1 of 1 records are dropped and none is left"),
        ([{"prompt": "a", "chosen": "b", "rejected": 1}], "dpo", "record 0: rejected must be text or a list"),
    ],
)
def test_records_that_cannot_be_trained_are_refused(
    compare: dict[str, Any], tmp_path: Path, rows: list[dict[str, Any]], algorithm: str, message: str
) -> None:
    with pytest.raises(SpaceError, match=f"preferences: .*{message}"):
        check_records(space_of(compare, tmp_path, rows, algorithm=algorithm))


def test_weights_that_the_kto_paper_does_not_advise_are_noted(compare: dict[str, Any], tmp_path: Path) -> None:
    rows = labelled(*[True] * 10, False, False)
    [note] = kto_notes(space_of(compare, tmp_path, rows, algorithm="kto"))
    assert "10 desirable answers with weight 1 over 2 undesirable ones with weight 1 is 5.00" in note
    assert "undesirable_weight 3.75 to 5 beside" in note
    for weight in (3.75, 5):
        assert not kto_notes(space_of(compare, tmp_path, rows, algorithm="kto", undesirable_weight=weight))
