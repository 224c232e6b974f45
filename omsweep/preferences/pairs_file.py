"""From all samples to the file of pairs and what there is to say about it: counts, margins, lengths."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import fmean, median
from typing import Any

from omsweep.preferences.collection import line_of, replace_lines
from omsweep.preferences.pairing import answers_of, margin, pair_answers, pair_record
from omsweep.preferences.prompts import Prompt
from omsweep.preferences.request import PairSettings


def write_pairs(samples: Iterable[Mapping[str, Any]], target: Path, settings: PairSettings) -> dict[str, Any]:
    """Write the pairs of all samples, in their order, to `target` in one step.

    Returns:
        The summary: counts; of scores, margins and lengths (tokens without the end token) mean, median, least and
        largest; None where there is nothing to take a mean of.
    """
    counts: Counter[str] = Counter()
    scores: list[float] = []
    margins: list[float] = []
    chosen_tokens: list[int] = []
    rejected_tokens: list[int] = []

    def lines() -> Iterator[bytes]:
        for record in samples:
            answers = answers_of(record)
            pairing = pair_answers(answers, comparisons=settings.pairs, min_margin=settings.min_margin)
            counts.update(
                prompts=1,
                prompts_with_pairs=int(bool(pairing.pairs)),
                answers=len(answers),
                answers_unfinished=sum(not answer.finished for answer in answers),
                answers_unscored=sum(answer.score is None for answer in answers),
                answers_left_out=pairing.left_out,
                pairs=len(pairing.pairs),
                ties=pairing.ties,
            )
            scores.extend(answer.score for answer in answers if answer.score is not None)
            prompt = Prompt(id=record["id"], messages=record["prompt"])
            for chosen, rejected in pairing.pairs:
                margins.append(margin(answers, (chosen, rejected)))
                chosen_tokens.append(answers[chosen].tokens)
                rejected_tokens.append(answers[rejected].tokens)
                yield line_of(pair_record(prompt, answers, (chosen, rejected), seed=settings.seed))

    replace_lines(target, lines())
    longer = [chosen > rejected for chosen, rejected in zip(chosen_tokens, rejected_tokens, strict=True)]
    return dict(counts) | {
        "score": _spread(scores),
        "margin": _spread(margins),
        "tokens_chosen": _spread(chosen_tokens),
        "tokens_rejected": _spread(rejected_tokens),
        "chosen_longer_share": fmean(longer) if longer else None,
    }


def _spread(values: list[float] | list[int]) -> dict[str, float] | None:
    if not values:
        return None
    return {"mean": fmean(values), "median": median(values), "min": min(values), "max": max(values)}
