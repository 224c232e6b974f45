"""The suite `paper`: samples score 1 with right answers, 0 with wrong ones, without a network; tasks are lm-eval's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lm_eval
import pytest
import yaml
from datasets import Dataset
from lm_eval.tasks import TaskManager

from omsweep.evaluation.data import data_rows, declared, wants
from omsweep.evaluation.score import score_policy
from omsweep.evaluation.settings import TAX_SUITES, EvaluateSettings
from omsweep.evaluation.statistics import reward_and_tax
from omsweep.evaluation.suite import load_suite
from omsweep.extras import missing

ROOT = Path(__file__).parents[3]
PAPER = TAX_SUITES["paper"]
TASKS = [name for name, metadata in declared(PAPER).items() if not metadata.get("executes")]
IFEVAL = "paper_ifeval"
HERE = [name for name in TASKS if name != IFEVAL or not missing(declared(PAPER)[IFEVAL]["modules"])]
LM_EVALS = Path(lm_eval.__file__).parent / "tasks"
CATEGORIES = {
    "math": {"gsm8k", "paper_math401", "paper_math23k"},
    "instruction_following": {IFEVAL},
    "reading_comprehension": {"paper_coqa", "drop"},
    "knowledge": {"paper_mmlu"},
    "agent": {"paper_functions"},
    "code_switching": {"paper_translation", "paper_language"},
}


def test_the_papers_categories_have_their_benchmarks() -> None:
    found = {name: metadata["category"] for name, metadata in declared(PAPER).items() if name in TASKS}
    assert found == {name: category for category, names in CATEGORIES.items() for name in names}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_ten_samples_of_the_fields_it_wants(task: str) -> None:
    rows = data_rows(PAPER / "samples" / f"{task}.jsonl", wants(PAPER)[task])
    assert len(rows) == 10
    assert {row["split"] for row in rows} == {"search", "report"}


def unshared() -> list[str]:
    """A command that takes the network away; skips where the kernel has none."""
    command = ["unshare", "--user", "--map-root-user", "--net"]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare to take the network away")
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this kernel lets nobody take the network away: {tried.stderr.strip()}")
    return command


@pytest.mark.skipif(HERE != TASKS, reason="IFEval needs langdetect and immutabledict")
def test_right_answers_score_one_and_wrong_ones_zero_without_a_network(tmp_path: Path) -> None:
    script = "tests.evaluation.suites.paper_answers"
    environment = {**os.environ, "OMSWEEP_CACHE": str(tmp_path), "HF_HOME": str(tmp_path), "NLTK_DATA": str(tmp_path)}
    environment.pop("HF_HUB_OFFLINE", None)
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    done = subprocess.run(
        [*unshared(), sys.executable, "-m", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {name: [[1.0] * 10, [0.0] * 10] for name in sorted(TASKS)}


@pytest.fixture(scope="module")
def suite() -> Any:
    return load_suite(EvaluateSettings(tax="paper", data_root="samples", tasks=HERE).suite)


def test_mmlu_asks_and_scores_as_lm_evals_subjects_do(suite: Any) -> None:
    """Item by item: turns, requests and scores of ten subjects; the subject's name in all 57."""
    ours = suite.tasks["paper_mmlu"]
    folder = LM_EVALS / "mmlu" / "default"
    manager = TaskManager(include_path=[str(folder)], include_defaults=False)
    written = [yaml.safe_load(file.read_text()) for file in sorted(folder.glob("mmlu_*.yaml"))]
    assert len(written) == 57
    for one in written:
        assert ours.resolve_field({"subject": one["dataset_name"]}, ours.config.description) == one["description"]
    for doc in ours.eval_docs:
        name = f"mmlu_{doc['subject']}"
        changes = {
            "custom_dataset": lambda doc=doc, **_: {"test": Dataset.from_list([doc])},
            "fewshot_split": None,
            "num_fewshot": 0,
        }
        (theirs,) = manager.load([{"group": "one", "task": [{"task": name, **changes}]}])["tasks"].values()
        how = {"apply_chat_template": True, "chat_template": lambda turns, **_: str(turns)}
        asked = [task.fewshot_context(doc, 0, **how) for task in (ours, theirs)]
        assert asked[0] == asked[1]
        requests = [task.construct_requests(doc, asked[0], metadata=("", 0, 1)) for task in (ours, theirs)]
        assert [one.args for one in requests[0]] == [one.args for one in requests[1]]
        for said in range(4):
            results = [(0.0 if n == said else -1.0 - n, False) for n in range(4)]
            assert ours.process_results(doc, results)["acc"] == theirs.process_results(doc, results)["acc"]


@pytest.mark.parametrize("name", ["gsm8k", "drop"])
def test_tasks_of_lm_eval_stay_what_they_are(suite: Any, name: str) -> None:
    """Everything that asks and scores is lm-eval's; where the data come from is ours, and that no shot is given."""
    manager = TaskManager(include_path=[str(LM_EVALS / name)], include_defaults=False)
    read = manager.task_index[name].cfg
    assert read is not None
    ours = suite.tasks[name].config
    for key in ("doc_to_text", "doc_to_target", "generation_kwargs", "output_type"):
        assert getattr(ours, key) == read[key], key
    assert [one["metric"] for one in ours.metric_list] == [one["metric"] for one in read["metric_list"]]
    assert ours.num_fewshot == 0


def test_ifeval_asks_as_lm_eval_does(suite: Any) -> None:
    theirs = yaml.load((LM_EVALS / "ifeval" / "ifeval.yaml").read_text().replace("!function ", ""), yaml.SafeLoader)
    ours = yaml.load((PAPER / "paper_ifeval.yaml").read_text().replace("!function ", ""), yaml.SafeLoader)
    assert (ours["doc_to_text"], ours["generation_kwargs"]["max_gen_toks"]) == (theirs["doc_to_text"], 1280)
    assert [one["metric"] for one in ours["metric_list"]] == [
        one["metric"] for one in theirs["metric_list"] if one["metric"].startswith("prompt_level")
    ]


def test_quick_takes_fewer_items_of_the_same_tasks() -> None:
    limits = {name: declared(PAPER)[name]["limit"] for name in TASKS}
    assert all(0 < limit["quick"] < limit["paper"] for limit in limits.values())
    quick = load_suite(EvaluateSettings(tax="quick", data_root="samples", tasks=["paper_mmlu"]).suite)
    assert quick.limits == {"paper_mmlu": limits["paper_mmlu"]["quick"]}


def test_a_policy_is_scored_on_the_samples_in_the_papers_categories(tokenizer: Any) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    marks = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=4096, **sizes, **marks)
    model = LlamaForCausalLM(config).eval()
    model.lm_head = torch.nn.Linear(config.hidden_size, len(tokenizer))
    model.lm_head.bias.data[tokenizer.eos_token_id] = 100  # it ends each answer at once, which takes no time
    settings = EvaluateSettings(
        tax="paper", data_root="samples", tasks=HERE, limit=1, samples=1, max_new_tokens=2, batch_size=8
    )
    scores = score_policy(model, tokenizer, settings=settings, split="search", seed=0)
    tax = scores[scores["kind"] == "tax"]
    assert sorted(tax["task"]) == sorted(HERE)
    found = reward_and_tax(scores, scores)
    assert set(found["scores"]) == {declared(PAPER)[name]["category"] for name in HERE}
    by_category = tax.groupby(["category", "task"])["score"].mean().groupby("category").mean()
    assert found["benchmark_average"] == pytest.approx(100 * by_category.mean())
    assert found["tax"] == 0
