"""Batches may be computed by any number of ranks: the table is the same."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from omsweep.evaluation.score import score_policy
from omsweep.evaluation.settings import EvaluateSettings
from tests.align.test_workers import free_port

pytestmark = pytest.mark.slow
RANKS = 3


def test_scores_are_those_of_one_rank_bit_for_bit(
    make_llama: Any, make_judge: Any, tokenizer: Any, suite_path: Path, prompts_file: Path, tmp_path: Path
) -> None:
    """Tax items that are answered and chosen, drawn and greedy answers, `kl`, and a reward model."""
    models = {"policy": make_llama(0), "reference": make_llama(1)}
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    reward = {"scorer": "reward_model", "model": str(make_judge()), "prompts": str(prompts_file)}
    settings = {"tax": str(suite_path), "reward": reward, "samples": 3, "max_new_tokens": 20, "batch_size": 4}
    files = {name: str(tmp_path / name) for name in ("policy", "reference", "table", "refused", "odd")}
    (tmp_path / "job.json").write_text(json.dumps({**files, "settings": settings}))
    common = os.environ | {"WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, str(Path(__file__).with_name("rank_process.py")), str(tmp_path / "job.json")]
    ranks = [subprocess.Popen(command, env=common | {"RANK": str(rank)}) for rank in range(RANKS)]
    assert [rank.wait(timeout=200) for rank in ranks] == [0] * RANKS
    alone = score_policy(
        models["policy"],
        tokenizer,
        settings=EvaluateSettings(**settings),
        split="search",
        seed=0,
        reference_model=models["reference"],
    )
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table"), alone, check_exact=True)
    assert set(alone["task"]) == {"answer", "choosing", "repeat", "reward_model"}
    assert alone["kl"].max() > 0
    for name, said in (("refused", "Refused: not 2"), ("odd", "RuntimeError: ")):  # another rank raised, and went on
        text = (tmp_path / name).read_text()
        assert said in text
        assert "on rank 1:" in text
        assert "raise kind(" in text
