"""One lm-eval task: what is wrong with it, said once before anything is scored, and the score of an item."""

import difflib
import math
import re
import traceback
from collections.abc import Container, Mapping
from dataclasses import fields
from functools import lru_cache
from os.path import normpath
from pathlib import Path
from typing import Any

import lm_eval.utils
from jinja2 import Template
from jinja2.sandbox import SandboxedEnvironment
from lm_eval.api.registry import filter_registry, metric_registry
from lm_eval.config.task import TaskConfig

from omsweep.evaluation.programs.filters import FILTER as RUN_PROGRAMS

_OF_THE_INDEX = ("tag", "group", "task_list", "include", "class")
"""Keys of a task's YAML that are not of the task itself."""
_PRINTED = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_KEYS = ("doc_to_text", "doc_to_target", "doc_to_choice")
"""Keys of a task's YAML that make a prompt, an answer and choices of a document."""
LONGEST = 600
"""Characters of another library's message that are passed on."""


class _Sandbox(SandboxedEnvironment):
    """Jinja's sandbox; a template that is asked for again, as lm-eval does with each document, is compiled once."""

    @lru_cache(maxsize=256)  # noqa: B019 - there is one for the whole process
    def from_string(self, source: str) -> Template:  # type: ignore[override]
        return super().from_string(source)


def use_sandbox() -> None:
    """Have lm-eval render templates in jinja's sandbox from now on: a template reaches a document, not Python."""
    plain = lm_eval.utils.env
    if not plain.sandboxed:
        lm_eval.utils.env = _Sandbox(undefined=plain.undefined, keep_trailing_newline=True)
        lm_eval.utils.env.filters |= plain.filters


def check_config(where: str, config: Mapping[str, Any], code: Container[str]) -> None:
    """Names that are text, splits that there are, known metrics and filters; ValueError.

    Args:
        where: suite and task, for the message.
        config: a task's YAML as lm-eval indexes it, functions by the path of their file.
        code: names of the suite's own functions.
    """
    known = {*(field.name for field in fields(TaskConfig)), *_OF_THE_INDEX}
    for key in config if "class" not in config else ():
        if key not in known:
            raise ValueError(f"{where}: unknown key {key!r:.80}{_nearest(key, known)}")
    shots = config.get("num_fewshot")
    if shots is not None and (isinstance(shots, bool) or not isinstance(shots, int) or shots < 0):
        raise ValueError(f"{where}: num_fewshot must be a whole number of at least 0, got {shots!r:.80}")
    metadata = config.get("metadata")
    category = metadata.get("category") if isinstance(metadata, Mapping) else None
    for key, name in (("task", config.get("task")), ("metadata.category", category)):
        if name is not None and not isinstance(name, str):
            raise ValueError(f"{where}: {key} must be text, got {name!r:.80}: YAML reads it so, quote it")
    kwargs = config.get("dataset_kwargs") or {}
    if not isinstance(kwargs, Mapping):
        raise ValueError(f"{where}: dataset_kwargs must be a mapping, got {kwargs!r:.80}")
    files = kwargs.get("data_files")
    for key in ("training_split", "validation_split", "test_split", "fewshot_split"):
        if isinstance(files, Mapping) and config.get(key) not in (None, *files):
            raise ValueError(f"{where}: {key}: data_files has {', '.join(map(str, files))}, got {config[key]!r:.80}")
    for entry in _mappings(where, "metric_list", config.get("metric_list")):
        metric = entry.get("metric")
        named = isinstance(metric, str) and (metric in metric_registry or Path(metric).name in code)
        if not (named or config.get("process_results") or entry.get("hf_evaluate")):
            raise ValueError(f"{where}: metric_list: unknown metric {metric!r:.80}{_nearest(metric, metric_registry)}")
    _check_generation(where, config.get("generation_kwargs") or {})
    for pipeline in _mappings(where, "filter_list", config.get("filter_list")):
        for entry in _mappings(where, "filter_list.filter", pipeline.get("filter")):
            if entry.get("function") == RUN_PROGRAMS and not (
                isinstance(metadata, Mapping) and metadata.get("executes")
            ):
                raise ValueError(
                    f"{where}: metadata.executes must say what the programs are written in that {RUN_PROGRAMS} runs"
                )
            if isinstance(name := entry.get("function"), str) and name not in filter_registry:
                raise ValueError(
                    f"{where}: filter_list: unknown function {name!r:.80}{_nearest(name, filter_registry)}"
                )


def _check_generation(where: str, given: Any) -> None:
    until = given.get("until", []) if isinstance(given, Mapping) else None
    longest = given.get("max_gen_toks", 1) if isinstance(given, Mapping) else None
    if not isinstance(until, str) and not (isinstance(until, list) and all(isinstance(one, str) for one in until)):
        raise ValueError(
            f"{where}: generation_kwargs must be a mapping, its until text or a list of it, got {given!r:.80}"
        )
    if isinstance(longest, bool) or not isinstance(longest, int) or longest < 1:
        raise ValueError(f"{where}: generation_kwargs.max_gen_toks must be at least 1, got {longest!r:.80}")


def _mappings(where: str, key: str, given: Any) -> list[Mapping[str, Any]]:
    entries = [] if given is None else given
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise ValueError(f"{where}: {key} must be a list of mappings, got {given!r:.80}")
    return entries


def _nearest(name: Any, known: Any) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=3)
    return f"; is {' or '.join(map(repr, close))} meant?" if close else f"; known: {', '.join(sorted(known))}"


def check_task(where: str, task: Any) -> None:
    """Build every document's texts, one request, and the score of an answer that says nothing; ValueError.

    Args:
        where: suite and task, for the message.
        task: of lm-eval.
    """
    sample: Mapping[str, Any] = {}
    for index, doc in enumerate(task.eval_docs):
        place = f"{where}, document {index}{_id(doc)}"
        empty = [f"{key}: {name}" for key in _KEYS for name in _printed(task, key) if doc.get(name, "") is None]
        if empty:
            raise ValueError(f"{place}: {empty[0]} is null, or missing there")
        try:
            task.doc_to_text(doc)
            target = task.doc_to_target(doc)
            choices = task.doc_to_choice(doc) if task.get_config("doc_to_choice") is not None else ["any"]
            sample = sample or task.process_results(doc, [_silent(task)] * len(_request(task, doc)))
        except Exception as error:
            raise ValueError(f"{where}, {said(error, index)}") from error
        if not isinstance(choices, list) or not choices:
            raise ValueError(f"{place}: doc_to_choice must give a list of choices, got {choices!r:.80}")
        if task.OUTPUT_TYPE == "multiple_choice" and not getattr(task, "multiple_input", 0):
            for gold in target if isinstance(target, list) else [target]:
                if gold not in choices and not (isinstance(gold, int) and 0 <= gold < len(choices)):
                    raise ValueError(f"{place}: doc_to_target: {gold!r:.80} is none of the {len(choices)} choices")
    if not sample:
        raise ValueError(f"{where}: has no document, or its metrics give nothing")
    metadata = task.get_config("metadata") or {}
    filters = [one.name for one in getattr(task, "_filters", [])]
    if metadata.get("filter") not in (None, *filters):
        raise ValueError(f"{where}: metadata.filter must be one of {filters}, got {metadata['filter']!r}")
    item_score(task, where, {**sample, "metrics": list(sample)})


def _request(task: Any, doc: Mapping[str, Any]) -> list[Any]:
    context = task.fewshot_context(doc, task.get_config("num_fewshot") or 0)
    made = task.construct_requests(doc, context, metadata=(task.task_name, 0, 1))
    return made if isinstance(made, list) else [made]


def _silent(task: Any) -> Any:
    """What a model answers that says nothing."""
    return "" if task.OUTPUT_TYPE == "generate_until" else (-1.0, False)


def _printed(task: Any, field: str) -> list[str]:
    """Fields of a document that a template prints as they are, whatever they hold."""
    template = task.get_config(field)
    if not isinstance(template, str) or "{%" in template:
        return []
    return [template] if template in getattr(task, "features", []) else _PRINTED.findall(template)


def said(error: BaseException, number: int = 0) -> str:
    """What another library raised, in one line; where it read document `number`, with the YAML's key and the fields."""
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    text = ": ".join(f"{type(one).__name__}: {' '.join(str(one).split())}" for one in causes)
    for frame, _ in traceback.walk_tb(error.__traceback__):
        key, doc = frame.f_code.co_name, frame.f_locals.get("doc")
        if key in _KEYS and isinstance(doc, Mapping):
            text = f"document {number}{_id(doc)}: {key}: {text}; the document has the fields {', '.join(map(str, doc))}"
    return text[:LONGEST]


def _id(doc: Any) -> str:
    return f" (id {doc['id']!r})" if isinstance(doc, Mapping) and doc.get("id") is not None else ""


def item_score(task: Any, where: str, sample: Mapping[str, Any]) -> float:
    """The score of an item in [0, 1], more is better: the task's `metadata.metric`, by default its first metric.

    Raises:
        ValueError: an unknown metric, one that is better when lower, or one that gives no such number for an item.
    """
    declared = [entry["metric"] for entry in task.get_config("metric_list") or [] if entry["metric"] in sample]
    metric = (task.get_config("metadata") or {}).get("metric") or (declared or sample["metrics"])[0]
    if metric not in sample["metrics"]:
        raise ValueError(f"{where}: metric must be one of {sample['metrics']}, got {metric!r}")
    if task.higher_is_better().get(metric) is False:
        raise ValueError(f"{where}: metric {metric!r} is better when lower; a tax needs more to be better")
    try:
        value = float(sample[metric])
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"{where}: metric {metric!r} must be in [0, 1] for each item, got {sample[metric]!r}")
    return value


def data_beside(where: str, folder: Path, suite: Path, files: Any) -> Any:
    """`data_files` as lm-eval takes them, with local ones by their path, looked up beside the YAML.

    Raises:
        ValueError: a local file that is missing, empty, or outside of the suite, where a change would not be noticed.
    """
    if isinstance(files, Mapping):
        return {key: data_beside(where, folder, suite, value) for key, value in files.items()}
    if isinstance(files, list):
        return [data_beside(where, folder, suite, value) for value in files]
    if not isinstance(files, str) or "://" in files:
        return files
    try:
        found = [folder / files] if (folder / files).is_file() else sorted(folder.glob(files))
    except (ValueError, NotImplementedError, IndexError):  # no pattern, or an absolute one
        found = []
    if not found:
        raise ValueError(f"{where}: data_files: {folder / files} does not exist")
    for file in found:
        inside = any(Path(normpath(file)).is_relative_to(one) for one in (suite.absolute(), suite.resolve()))
        if not inside:
            raise ValueError(
                f"{where}: data_files: {file} is outside of the suite's folder; put it, or a link to it, there"
            )
        if file.is_file() and not file.stat().st_size:
            raise ValueError(f"{where}: data_files: {file} is empty")
    return str(folder / files)
