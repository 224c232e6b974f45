"""omsweep's scoring of tax items against lm-eval's own loop: the same requests, seconds and replies side by side.

    python benchmarks/evaluation.py --family tiny-llama --suite tiny --repeats 5
    python benchmarks/evaluation.py --family smollm2-135m --suite smollm2 --limit 8
    python benchmarks/evaluation.py --family smollm2-135m --gsm8k gsm8k_test.jsonl.gz --limit 200 --repeats 1

lm-eval's side is `HFLM` in `lm_eval.evaluate`, which is what `simple_evaluate` calls once it has loaded tasks; that
function's description of the machine, seconds of every call, is left out. Both sides take turns in one process with
one thread, on the model's chat template, stop tokens and longest lengths; the first turn of each is shown apart,
because omsweep keeps the requests it made. `--json FILE` keeps all numbers and every reply that differs.
"""

import argparse
import gzip
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lm_eval.defaults import DEFAULT_OTHER_SEED
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from transformers import GenerationConfig

from omsweep.evaluation.backends.in_process import InProcess
from omsweep.evaluation.isolation import own_random_state, quiet_libraries
from omsweep.evaluation.requests import Reader, requests_of
from omsweep.evaluation.settings import suite_folder
from omsweep.evaluation.spread import Models
from omsweep.evaluation.suite import load_suite
from omsweep.evaluation.tasks import item_score
from omsweep.evaluation.tax import score_tax
from omsweep.families.decoding import resolved_decoding
from omsweep.families.load import load_model, load_tokenizer, prepare
from omsweep.families.table import FAMILIES

SPLIT = "search"
GSM8K = """
task: gsm8k_local
dataset_path: json
dataset_kwargs: {data_files: {test: gsm8k.jsonl}}
test_split: test
output_type: generate_until
num_fewshot: 0
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_target: "{{answer.split('#### ')[-1]}}"
generation_kwargs: {until: ["Question:", "</s>", "<|im_end|>"], do_sample: false, max_gen_toks: LONGEST}
filter_list:
  - name: flexible-extract
    filter:
      - {function: regex, group_select: -1, regex_pattern: "(-?[$0-9.,]{2,})|(-?[0-9]+)"}
      - {function: take_first}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, regexes_to_ignore: [",", "\\\\$", "\\\\.$"]}
metadata: {version: 1.0, category: math}
"""
"""lm-eval's gsm8k without examples, on a local file."""


def lm_eval_loop(models: Models, suite: Any, chosen: Any, batch_size: int) -> dict[str, list[dict[str, Any]]]:
    lm = HFLM(pretrained=models.policy, tokenizer=models.tokenizer, batch_size=batch_size, add_bos_token=False)
    for task in suite.tasks.values():
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
    with quiet_libraries(), own_random_state(DEFAULT_OTHER_SEED):
        results = evaluate(
            lm=lm,
            task_dict={"tasks": dict(suite.tasks), "groups": {}, "group_map": {}},
            samples={task: [item.index for item in items] for task, items in chosen.items()},
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=True,
            fewshot_as_multiturn=True,
        )
    assert results is not None
    return results["samples"]


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    wall, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}


def compared(suite: Any, chosen: Any, samples: Any, table: Any) -> list[dict[str, Any]]:
    """Of each task: items, equal replies, equal scores, and the differing ones."""
    rows = []
    for name, items in chosen.items():
        task = suite.tasks[name]
        wanted = (task.get_config("metadata") or {}).get("filter") or samples[name][0]["filter"]
        theirs = {one["doc_id"]: one for one in samples[name] if one["filter"] == wanted}
        ours = table[table["task"] == name].set_index("item_id")
        others, right = [], {"lm-eval": 0.0, "omsweep": 0.0}
        for item in items:
            sample, mine = theirs[item.index], ours.loc[item.item_id]
            reply, score = sample["filtered_resps"][0], item_score(task, name, sample)
            right["lm-eval"] += score
            right["omsweep"] += mine["score"]
            if score != mine["score"] or (isinstance(reply, str) and reply != mine["completion"]):
                others.append(
                    {
                        "item": item.item_id,
                        "lm-eval": [str(reply), score],
                        "omsweep": [mine["completion"], mine["score"]],
                    }
                )
        rows.append({"task": name, "items": len(items), "differing": others, "right": right})
    return rows


def largest_difference(models: Models, suite: Any, chosen: Any, samples: Any, backend: InProcess, limit: Any) -> float:
    """Of the log-likelihoods of all continuations, in nats; 0 where none is asked."""
    with quiet_libraries():
        asked = requests_of(suite, SPLIT, limit, Reader.of(models.tokenizer), backend.context)
    places = list(asked.continuations)
    ours = dict(zip(places, backend.likelihoods(list(asked.continuations.values())), strict=True))
    theirs: dict[int, float] = {}
    place = 0
    for name, instances in asked.instances.items():
        said = {one["doc_id"]: [reply[0] for reply in one["resps"]] for one in samples[name]}
        for item in chosen[name]:
            for reply in said[item.index]:
                theirs[place] = reply[0] if place in ours else 0.0
                place += 1
        assert place % len(instances) == 0 or len(asked.instances) > 1
    return max((abs(ours[place][0] - theirs[place]) for place in places), default=0.0)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="tiny-llama", choices=sorted(FAMILIES))
    parser.add_argument("--suite", default="tiny", help="a name or folder, as in evaluate.tax")
    parser.add_argument(
        "--gsm8k", type=Path, help="JSON lines of GSM8K's test split, plain or .gz, in place of a suite"
    )
    parser.add_argument("--max-gen-toks", type=int, default=256, help="longest answer to a GSM8K problem")
    parser.add_argument("--limit", type=int, help="items of a task")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = suite_folder(options.suite) if options.gsm8k is None else gsm8k_suite(options, Path(scratch))
        report = measured(options, folder)
    said(report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def gsm8k_suite(options: argparse.Namespace, folder: Path) -> Path:
    packed = options.gsm8k.read_bytes()
    (folder / "gsm8k.jsonl").write_bytes(gzip.decompress(packed) if options.gsm8k.suffix == ".gz" else packed)
    (folder / "gsm8k.yaml").write_text(GSM8K.replace("LONGEST", str(options.max_gen_toks)))
    return folder


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    sft = prepare(FAMILIES[options.family]).sft
    models = Models(load_model(sft), load_tokenizer(sft))
    decoding = resolved_decoding(models.tokenizer, models.policy.generation_config)
    models.policy.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=list(decoding.ends), pad_token_id=models.tokenizer.pad_token_id
    )
    suite = load_suite(folder)
    chosen = suite.chosen(SPLIT, options.limit)
    backend = InProcess(models=models, decoding=decoding, batch_size=options.batch_size)
    sides: dict[str, Callable[[], Any]] = {
        "lm-eval": lambda: lm_eval_loop(models, suite, chosen, options.batch_size),
        "omsweep": lambda: score_tax(
            None, models.tokenizer, suite=str(folder), split=SPLIT, limit=options.limit, backend=backend
        ),
    }
    seconds: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    found: dict[str, Any] = {}
    for turn in range(options.repeats):
        for side in list(sides)[:: 1 if turn % 2 else -1]:
            found[side], took = timed(sides[side])
            seconds[side].append(took)
            sys.stderr.write(f"turn {turn + 1}: {side} {took['wall']:.1f} s, processor {took['processor']:.1f} s\n")
    tasks = compared(suite, chosen, found["lm-eval"], found["omsweep"])
    apart = largest_difference(models, suite, chosen, found["lm-eval"], backend, options.limit)
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "environment": where,
        "versions": {name: version(name) for name in ("lm_eval", "transformers", "torch")},
        "family": options.family,
        "suite": "gsm8k" if options.gsm8k else options.suite,
        "batch_size": options.batch_size,
        "seconds": seconds,
        "tasks": tasks,
        "likelihoods_apart": apart,
    }


def said(report: dict[str, Any]) -> None:
    say = sys.stdout.write
    versions = ", ".join(f"{name} {one}" for name, one in report["versions"].items())
    say(f"{report['date']}  {report['environment']}  {versions}\n")
    say(f"{report['family']} on {report['suite']}, batches of at most {report['batch_size']}, one thread\n")
    for kind in ("wall", "processor"):
        ours, theirs = ([one[kind] for one in report["seconds"][side]] for side in ("omsweep", "lm-eval"))
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        say(
            f"{kind:<10} seconds, median: lm-eval {statistics.median(theirs):.2f}, omsweep"
            f" {statistics.median(ours):.2f}; ratio {statistics.median(ratios):.2f}, first turn {ratios[0]:.2f}\n"
        )
    for row in report["tasks"]:
        right = ", ".join(f"{side} {count:g}" for side, count in row["right"].items())
        say(f"{row['task']:<28} {row['items']:>5} items, {len(row['differing'])} differ; right: {right}\n")
    if report["likelihoods_apart"]:
        say(f"log-likelihoods differ by at most {report['likelihoods_apart']:.1e} nats\n")


if __name__ == "__main__":
    sys.exit(main())
