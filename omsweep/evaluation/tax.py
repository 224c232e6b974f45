"""The tax side of a policy: item scores on a benchmark suite, by lm-eval."""

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from functools import partial, partialmethod
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pandas as pd
import torch
from lm_eval.defaults import DEFAULT_OTHER_SEED
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils_hf import stop_sequences_criteria
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from omsweep.evaluation.generation import extend
from omsweep.evaluation.isolation import evaluation_mode, own_random_state, quiet_libraries
from omsweep.evaluation.settings import check_split, suite_folder
from omsweep.evaluation.spread import Models, Spread, alone
from omsweep.evaluation.suite import Item, Suite, load_suite
from omsweep.evaluation.tasks import item_score
from omsweep.families.chat_template import check_prompts, template_of
from omsweep.families.decoding import Decoding, resolved_decoding


class QuietHFLM(HFLM):
    """lm-eval's Hugging Face model around one that is already built, without progress bars.

    It generates as `omsweep.evaluation.generation` does, greedily; of a task's `generation_kwargs` the stop texts and
    the longest length count.
    """

    def __init__(self, *, decoding: Decoding, **settings: Any) -> None:
        super().__init__(**settings)
        self.decoding = decoding
        self._template = template_of(self.tokenizer)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """As lm-eval's, which leaves out a system turn that the template refuses; ValueError here."""
        called = f"tax item {chat_history[-1]['content']!r:.80}"
        check_prompts(self._template, [(called, chat_history)], self.tokenizer.name_or_path or "the tokenizer")
        return str(super().apply_chat_template(chat_history, add_generation_prompt))

    generate_until = partialmethod(HFLM.generate_until, disable_tqdm=True)
    loglikelihood = partialmethod(HFLM.loglikelihood, disable_tqdm=True)
    loglikelihood_rolling = partialmethod(HFLM.loglikelihood_rolling, disable_tqdm=True)

    def _model_generate(
        self, context: Tensor, max_length: int, stop: list[str], *, attention_mask: Tensor, **asked: Any
    ) -> Tensor:
        """Contexts `[rows, longest]` with their answers after them, filled up with the pad token, no stop token."""
        if asked.get("do_sample") or set(asked) - {"do_sample", "temperature"}:
            warnings.warn(
                f"tax items are answered greedily under the family's decoding, generation_kwargs {asked} do not count",
                stacklevel=2,
            )
        rows = extend(
            self.model,
            context,
            attention_mask,
            steps=max_length - context.shape[1],
            decoding=self.decoding,
            stopping=stop_sequences_criteria(self.tokenizer, stop, context.shape[1], context.shape[0]),
        )
        answers = [torch.tensor([t for t in row if t not in self.decoding.ends], dtype=context.dtype) for row in rows]
        filled = pad_sequence(answers, batch_first=True, padding_value=self.tokenizer.pad_token_id)
        return torch.cat([context, filled.to(context.device)], dim=1)


class SpreadHFLM(QuietHFLM):
    """As `QuietHFLM`, whose batches are formed here, as lm-eval forms them, and computed where `spread` says.

    Rolling log-likelihoods come a batch at a time, so that there is nothing to spread.
    """

    def __init__(self, *, spread: Spread, models: Models, batch_size: int, decoding: Decoding, **settings: Any) -> None:
        how: dict[str, Any] = {"batch_size": batch_size, "decoding": decoding, **settings}
        super().__init__(pretrained=models.policy, tokenizer=models.tokenizer, **how)
        self._spread, self._models, self._how, self._rows = spread, models, how, batch_size

    def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
        """As lm-eval's: from the longest context to the shortest, those with the same settings together."""
        asked = [request.args for request in requests]
        lengths = [len(self.tok_encode(context)) for context, _ in asked]
        kinds = list(dict.fromkeys(str(settings) for _, settings in asked))
        batches = []
        for kind in kinds:
            rows = [row for row, (_, settings) in enumerate(asked) if str(settings) == kind]
            rows.sort(key=lambda row: (-lengths[row], asked[row][0]))
            batches += [rows[start : start + self._rows] for start in range(0, len(rows), self._rows)]
        return self._each(_answers, asked, batches)

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = True, override_bs: int | None = None
    ) -> list[Any]:
        """As lm-eval's: from the longest to the shortest, those that differ in their last token in one row."""
        together: dict[Hashable, list[int]] = {}
        for row, (_, context, continuation) in enumerate(requests):
            together.setdefault((*context, *continuation[:-1]), []).append(row)
        order = sorted(together.values(), key=lambda rows: _longest_first(requests[rows[0]]))
        batches = [[*chain(*order[start : start + self._rows])] for start in range(0, len(order), self._rows)]
        return self._each(_likelihoods, requests, batches)

    def _each(self, compute: Callable[..., list[Any]], asked: Sequence[Any], batches: Sequence[list[int]]) -> list[Any]:
        work = [[asked[row] for row in batch] for batch in batches]
        answers: list[Any] = [None] * len(asked)
        found = self._spread(partial(compute, how=self._how), self._models, work)
        for batch, of_batch in zip(batches, found, strict=True):
            for row, answer in zip(batch, of_batch, strict=True):
                answers[row] = answer
        return answers


def _longest_first(request: tuple[Any, list[int], list[int]]) -> tuple[int, list[int]]:
    tokens = request[1] + request[2]
    return -len(tokens), tokens


def _answers(models: Models, batch: list[Any], *, how: dict[str, Any]) -> list[str]:
    with quiet_libraries(), evaluation_mode(models.policy):
        return _one_batch(models, how).generate_until([SimpleNamespace(args=asked) for asked in batch])


def _likelihoods(models: Models, batch: list[Any], *, how: dict[str, Any]) -> list[Any]:
    with quiet_libraries(), evaluation_mode(models.policy):
        return _one_batch(models, how)._loglikelihood_tokens(batch, disable_tqdm=True)


def _one_batch(models: Models, how: dict[str, Any]) -> QuietHFLM:
    return QuietHFLM(pretrained=models.policy, tokenizer=models.tokenizer, **how)


def score_tax(
    model: Any,
    tokenizer: Any,
    *,
    suite: str,
    split: str,
    limit: int | None = None,
    batch_size: int = 256,
    decoding: Decoding | None = None,
    spread: Spread = alone,
) -> pd.DataFrame:
    """Item scores of one split of a suite; only its items are run.

    Runs `lm_eval.evaluate`, which is what `simple_evaluate` calls once it has loaded tasks and set seeds;
    that function itself spends seconds of every call on describing the machine. Requests use the
    tokenizer's chat template; without one they are plain text, with a warning. Seeds are lm-eval's own;
    global random states are put back.

    Args:
        model: a causal model of transformers, already built; its mode is put back.
        tokenizer: its tokenizer.
        suite: a name in `TAX_SUITES` or a folder of lm-eval task YAMLs.
        split: `search` or `report`.
        limit: items per task, a random sample of the split; None = all.
        batch_size: items at a time.
        decoding: of generated answers, as for `score_reward`; None: that of tokenizer and model.
        spread: who computes the batches.

    Returns:
        One row per item in the columns of `score.COLUMNS`. `score` is in [0, 1], more is better: the task's
        `metadata.metric`, by default its first metric, under `metadata.filter`, by default its first filter.
        `length`, `kl` and `kl_sampled` are NaN.

    Raises:
        ValueError: unknown suite or split, a task without items in the split, or a metric that gives no
            number in [0, 1] for each item or is better when lower.
    """
    check_split(split)
    loaded = load_suite(suite_folder(suite))
    chosen = loaded.chosen(split, limit)
    templated = bool(getattr(tokenizer, "chat_template", None))
    if not templated:
        warnings.warn("the tokenizer has no chat template: tax items are given as plain text", stacklevel=2)
    for task in loaded.tasks.values():
        task.set_fewshot_seed(seed=DEFAULT_OTHER_SEED)
    with quiet_libraries(), own_random_state(DEFAULT_OTHER_SEED), evaluation_mode(model):
        results = evaluate(
            lm=SpreadHFLM(
                spread=spread,
                models=Models(model, tokenizer),
                batch_size=batch_size,
                # the template writes the BOS, as in training and for reward prompts
                add_bos_token=False if templated else None,
                decoding=decoding or resolved_decoding(tokenizer, model.generation_config),
            ),
            task_dict={"tasks": dict(loaded.tasks), "groups": {}, "group_map": {}},
            samples={task: [item.index for item in items] for task, items in chosen.items()},
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=templated,
            fewshot_as_multiturn=templated,
        )
    assert results is not None
    return _frame(loaded, chosen, results["samples"], split)


def _frame(
    suite: Suite, chosen: dict[str, tuple[Item, ...]], samples: dict[str, list[dict[str, Any]]], split: str
) -> pd.DataFrame:
    rows = []
    for name, items in chosen.items():
        task = suite.tasks[name]
        wanted_filter = (task.get_config("metadata") or {}).get("filter") or samples[name][0]["filter"]
        by_index = {sample["doc_id"]: sample for sample in samples[name] if sample["filter"] == wanted_filter}
        if not by_index:
            found = sorted({sample["filter"] for sample in samples[name]})
            raise ValueError(f"task {name!r}: metadata.filter must be one of {found}, got {wanted_filter!r}")
        for item in items:
            sample = by_index[item.index]
            reply = sample["filtered_resps"][0]
            rows.append(
                {
                    "kind": "tax",
                    "task": name,
                    "category": item.category,
                    "item_id": item.item_id,
                    "cluster": item.cluster,
                    "split": split,
                    "decoder": "greedy",
                    "sample": 0,
                    "score": item_score(task, f"task {name!r}", sample),
                    "length": math.nan,
                    "kl": math.nan,
                    "kl_sampled": math.nan,
                    "completion": reply if isinstance(reply, str) else "",
                }
            )
    return pd.DataFrame(rows)
