"""lm-eval scores answers by the verdicts on their programs, a task's at once, and the answers stay as they are."""

import json
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate

from omsweep.evaluation.programs import filters
from omsweep.evaluation.programs.benchmarks import BENCHMARKS
from omsweep.evaluation.programs.filters import Judged, RunPrograms, judge, passed
from omsweep.evaluation.sandbox.limits import Verdict
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.suite import load_suite
from omsweep.evaluation.tasks import check_config
from omsweep.space.build import build_space
from omsweep.space.checks import extras

TASKS = ["paper_humaneval", "paper_mbpp"]


class Parrot(LM):  # type: ignore[misc]
    """Answers with what a function makes of a document."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer, self.asked = answer, []

    def generate_until(self, requests: list[Any]) -> list[str]:
        self.asked = [request.args[0] for request in requests]
        return [self.answer(request.task_name, request.doc) for request in requests]

    def loglikelihood(self, requests: list[Any]) -> list[Any]:
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood


def _scored(answer: Any) -> tuple[dict[str, Any], Parrot]:
    settings = EvaluateSettings(tax="paper", data_root="samples", tasks=TASKS, allow_code_execution=True)
    suite = load_suite(settings.suite)
    model = Parrot(answer)
    tasks = {"tasks": dict(suite.tasks), "groups": {}, "group_map": {}}
    results = evaluate(lm=model, task_dict=tasks, bootstrap_iters=0, log_samples=True)
    assert results is not None
    return results["samples"], model


def _solution(task: str, doc: dict[str, Any]) -> str:
    return f"Sure:\n{BENCHMARKS[task.removeprefix('paper_')].reference(doc)}\nThat is all."


@pytest.mark.slow
@pytest.mark.usefixtures("sandbox")
def test_right_answers_score_one_and_stay_what_they_are() -> None:
    samples, model = _scored(_solution)
    for task in TASKS:
        assert [sample["passed"] for sample in samples[task]] == [1.0] * 10
        for sample in samples[task]:
            (reply,) = sample["filtered_resps"]
            assert reply == sample["resps"][0][0] == _solution(task, sample["doc"])
    assert all("```python\n" in asked for asked in model.asked)


@pytest.mark.slow
@pytest.mark.usefixtures("sandbox")
def test_wrong_answers_score_zero() -> None:
    wrong = [
        "",
        "I do not know.",
        "```python\nimport os\nos._exit(0)\n```",
        "```python\ndef f():\n    return 1\n```",
    ]
    samples, _ = _scored(lambda task, doc: wrong[len(doc["prompt" if "prompt" in doc else "text"]) % len(wrong)])
    for task in TASKS:
        assert [sample["passed"] for sample in samples[task]] == [0.0] * 10


def test_an_answer_with_a_verdict_is_a_text_like_any_other(tmp_path: Path) -> None:
    answer = Judged("return 1", Verdict(outcome="passed"))
    assert answer == "return 1"
    assert json.dumps([answer]) == '["return 1"]'
    copied = pickle.loads(pickle.dumps(answer))
    assert (copied, copied.verdict) == (answer, answer.verdict)
    pd.DataFrame({"completion": [answer]}).to_parquet(tmp_path / "scores.parquet")
    assert list(pd.read_parquet(tmp_path / "scores.parquet")["completion"]) == ["return 1"]
    assert passed({}, [answer]) == {"passed": 1.0}
    assert passed({}, [Judged("x", Verdict(outcome="memory"))]) == passed({}, [""]) == {"passed": 0.0}
    with pytest.raises(ValueError, match="filter_list must hold run_programs"):
        passed({}, ["return 1"])


def test_where_no_program_can_be_run_there_is_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "available", lambda: "refused: new namespaces: Operation not permitted")
    with pytest.raises(ValueError, match="programs of mbpp cannot be run here: refused: new namespaces"):
        RunPrograms("mbpp").apply([["x"]], [{}])
    monkeypatch.setattr(filters, "available", lambda: None)
    refused = Verdict(outcome="refused", reason="mount /tmp: No space left on device")
    monkeypatch.setattr(filters, "run_all", lambda jobs: [refused] * len(jobs))
    docs = [{"prompt": "", "entry_point": "f", "test": ""}] * 2
    with pytest.raises(ValueError, match="2 programs of humaneval could not be run: mount /tmp"):
        judge("humaneval", docs, ["def f(): pass"] * 2)
    with pytest.raises(ValueError, match="benchmark must be one of .*'apps'"):
        judge("apps", [], [])


def test_answers_without_a_program_are_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "available", lambda: None)
    docs = [{"prompt": "", "entry_point": "f", "test": ""}]
    assert judge("humaneval", docs, ["no"]) == [filters.NO_PROGRAM]


def test_code_is_refused_by_name_unless_it_is_allowed() -> None:
    with pytest.raises(ValueError, match="allow_code_execution must be true for paper_humaneval, .*tasks: ") as refused:
        EvaluateSettings(tax="paper", data_root="samples")
    left = str(refused.value).rpartition("[")[2].rstrip("]").split(", ")
    assert not [task for task in left if "mbpp" in task or "ds1000" in task]
    assert EvaluateSettings(tax="paper", data_root="samples", tasks=left).executes == {}
    allowed = EvaluateSettings(tax="paper", data_root="samples", allow_code_execution=True)
    assert allowed.executes["paper_codeapex"] == "cpp"


def test_a_language_that_there_is_not_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("task: own\nmetadata: {executes: cobol}\n")
    with pytest.raises(ValueError, match=r"executes must be one of \['python', 'cpp'\], got 'cobol'"):
        EvaluateSettings(tax=str(tmp_path))


def test_a_machine_that_cannot_run_programs_is_said_before_ray_starts(
    compare: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = {"tax": "paper", "data_root": "samples", "tasks": ["paper_humaneval"], "allow_code_execution": True}
    space = build_space(compare | {"evaluate": allowed})
    monkeypatch.setattr(extras, "available", lambda: "refused: new namespaces: Operation not permitted")
    with pytest.raises(ValueError, match="paper_humaneval: programs cannot be run in the sandbox here: refused: new"):
        extras.require_extras(space)
    monkeypatch.setattr(extras, "available", lambda: None)
    extras.require_extras(space)


def test_a_task_that_runs_programs_has_to_say_so() -> None:
    config = {"task": "own", "filter_list": [{"name": "run", "filter": [{"function": "run_programs"}]}]}
    filters.register()
    with pytest.raises(ValueError, match=r"own: metadata\.executes must say what the programs are written in"):
        check_config("own", config, ())
    check_config("own", {**config, "metadata": {"executes": "python"}}, ())
