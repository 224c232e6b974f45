import json
from pathlib import Path
from typing import Any

import pytest

from omsweep.commands.check.records import check_records
from omsweep.evaluation.settings import REWARD_PROMPTS
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError


def test_reward_prompts_in_a_local_file_are_refused_by_check(compare: dict[str, Any], tmp_path: Path) -> None:
    scored = json.loads(REWARD_PROMPTS["tiny"].read_text().splitlines()[0])
    pairs = [{"prompt": text, "chosen": "a", "rejected": "b"} for text in ("other ?", scored["prompt"].upper())]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    compare["preferences"] = str(tmp_path / "pairs.jsonl")
    with pytest.raises(SpaceError, match=f"preferences.* of 2 prompts 1 are the same .*{scored['id']}"):
        check_records(build_space(compare))
    compare["preferences"] = {"path": str(tmp_path / "pairs.jsonl"), "limit": 1}
    check_records(build_space(compare))
    (tmp_path / "pairs.jsonl").write_text('{"text": "a"}')
    with pytest.raises(SpaceError, match="preferences.* must have the columns"):
        check_records(build_space(compare))
    (tmp_path / "pairs.jsonl").unlink()
    check_records(build_space(compare))
