"""The tax side of a policy: item scores on a benchmark suite, by lm-eval's tasks."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from lm_eval.api.instance import Instance
from lm_eval.defaults import DEFAULT_OTHER_SEED
from lm_eval.models.utils import postprocess_generated_text

from omsweep.evaluation.backends.in_process import InProcess
from omsweep.evaluation.backends.interface import Backend
from omsweep.evaluation.data import TaxSuite
from omsweep.evaluation.isolation import own_random_state, quiet_libraries
from omsweep.evaluation.requests import Reader, Requests, requests_of, templated
from omsweep.evaluation.settings import check_split, suite_folder
from omsweep.evaluation.spread import Models, Spread, alone
from omsweep.evaluation.suite import Item, load_suite
from omsweep.evaluation.tasks import item_score
from omsweep.families.decoding import Decoding, resolved_decoding


def score_tax(
    model: Any,
    tokenizer: Any,
    *,
    suite: str | TaxSuite,
    split: str,
    limit: int | None = None,
    batch_size: int = 256,
    decoding: Decoding | None = None,
    spread: Spread = alone,
    backend: Backend | None = None,
) -> pd.DataFrame:
    """Item scores of one split of a suite; only its items are run.

    lm-eval's tasks make the requests (see `omsweep.evaluation.requests`), filter the replies and score them; a backend
    replies. Of a task's `generation_kwargs` the stop texts and the longest length count. Seeds are lm-eval's own;
    global random states are put back.

    Args:
        model: a causal model of transformers, already built; its mode is put back. None with a `backend`.
        tokenizer: its tokenizer; one without chat template asks in plain text, with a warning.
        suite: a name in `TAX_SUITES` or a folder of lm-eval task YAMLs; with data files of its own as a `TaxSuite`.
        split: `search` or `report`.
        limit: items per task, a random sample of the split; None = all.
        batch_size: most requests at a time.
        decoding: of generated answers, as for `score_reward`; None: that of tokenizer and model.
        spread: who computes the batches.
        backend: who replies; None: `model` in this process.

    Returns:
        One row per item in the columns of `score.COLUMNS`. `score` is in [0, 1], more is better: the task's
        `metadata.metric`, by default its first metric, under `metadata.filter`, by default its first filter.
        `length`, `kl` and `kl_sampled` are NaN.

    Raises:
        ValueError: unknown suite or split, a task without items in the split, or a metric that gives no
            number in [0, 1] for each item or is better when lower; what `requests_of` and the backend raise.
    """
    check_split(split)
    loaded = load_suite(suite if isinstance(suite, TaxSuite) else suite_folder(suite))
    if not templated(tokenizer):
        warnings.warn("the tokenizer has no chat template: tax items are given as plain text", stacklevel=2)
    if backend is None:
        decoding = decoding or resolved_decoding(tokenizer, model.generation_config)
        models = Models(model, tokenizer)
        backend = InProcess(models=models, decoding=decoding, batch_size=batch_size, spread=spread)
    with quiet_libraries(), own_random_state(DEFAULT_OTHER_SEED):
        asked = requests_of(loaded, split, limit, Reader.of(tokenizer), backend.context)
        replies = iter(_replies(asked, backend, tokenizer))
        rows: list[dict[str, Any]] = []
        for name, items in loaded.chosen(split, limit).items():
            replied = [  # copies: the instances themselves are kept for the next model
                replace(one, resps=[next(replies)] * (one.repeats or 1), filtered_resps={})
                for one in asked.instances[name]
            ]
            rows += _rows(loaded.tasks[name], name, items, replied)
    return pd.DataFrame(rows)


def _replies(asked: Requests, backend: Backend, tokenizer: Any) -> list[Any]:
    """The reply to each instance: text cut as lm-eval cuts it, or a log-probability and whether it is greedy."""
    replies: dict[int, Any] = {}
    end = tokenizer.decode(tokenizer.eos_token_id)
    for kind, questions in asked.questions.items():
        stop = [text for text in kind.until if text]
        completions = backend.answers(list(questions.values()), longest=kind.longest, stop=stop)
        cut = [*stop, *([end] if end not in stop else [])]
        for place, completion in zip(questions, completions, strict=True):
            replies[place] = postprocess_generated_text(completion.text, cut, None)
    if asked.continuations:
        found = backend.likelihoods(list(asked.continuations.values()))
        replies |= dict(zip(asked.continuations, found, strict=True))
    return [replies[place] for place in range(len(replies))]


def _rows(task: Any, name: str, items: Sequence[Item], replied: Sequence[Instance]) -> list[dict[str, Any]]:
    task._instances = list(replied)  # where a task's filters look for them
    task.apply_filters()
    wanted = (task.get_config("metadata") or {}).get("filter") or next(iter(replied[0].filtered_resps))
    if wanted not in replied[0].filtered_resps:
        found = sorted(replied[0].filtered_resps)
        raise ValueError(f"task {name!r}: metadata.filter must be one of {found}, got {wanted!r}")
    of_item: dict[int, list[Instance]] = {}
    for one in replied:
        of_item.setdefault(one.doc_id, []).append(one)
    rows = []
    for place, item in enumerate(items):
        mine = sorted(of_item[place], key=lambda one: one.idx)
        said = [one.filtered_resps[wanted] for one in mine]
        metrics = task.process_results(mine[0].doc, said)
        rows.append(
            {
                "kind": "tax",
                "task": name,
                "category": item.category,
                "item_id": item.item_id,
                "cluster": item.cluster,
                "split": item.split,
                "decoder": "greedy",
                "sample": 0,
                "score": item_score(task, f"task {name!r}", {**metrics, "metrics": list(metrics)}),
                "length": math.nan,
                "kl": math.nan,
                "kl_sampled": math.nan,
                "completion": said[0] if isinstance(said[0], str) else "",
            }
        )
    return rows
