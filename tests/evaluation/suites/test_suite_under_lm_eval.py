"""lm-eval runs the committed suite as it is, without anything of ours in between."""

import json
from pathlib import Path

import pytest

from omsweep.evaluation.suites.generate import TINY
from omsweep.families.load import load_model, load_tokenizer
from omsweep.families.tiny.architecture import random_family
from omsweep.worlds.tiny.skills.table import SKILLS


@pytest.mark.slow
def test_simple_evaluate_runs_every_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    monkeypatch.chdir(TINY)  # stock lm-eval reads data_files from here
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    folder = str(random_family(tmp_path / "family"))
    tokenizer = load_tokenizer(folder)
    results = simple_evaluate(
        model=HFLM(pretrained=load_model(folder), tokenizer=tokenizer, batch_size=16),
        tasks=[f"tiny_{category}" for category in SKILLS],
        task_manager=TaskManager(include_path=str(TINY), include_defaults=False),
        apply_chat_template=True,
        log_samples=True,
        bootstrap_iters=0,
        limit=3,
    )
    assert results is not None
    for category in SKILLS:
        samples = results["samples"][f"tiny_{category}"]
        lines = (TINY / "data" / f"{category}.jsonl").read_text().splitlines()[:3]
        assert [sample["doc"] for sample in samples] == [json.loads(line) for line in lines]
        for sample in samples:
            asked = sample["arguments"][0][0]
            assert asked == f"<s> <|user|> {sample['doc']['prompt']} <|assistant|>"
            assert sample["target"] == sample["doc"]["answer"]
            assert sample["exact_match"] in (0.0, 1.0)
            assert sample["filtered_resps"][0] == sample["resps"][0][0].strip()
