"""From all samples to the file of pairs and what there is to say about it: counts, margins, lengths."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

from omsweep.preferences.collection import line_of, replace_lines
from omsweep.preferences.pairing import Answer, Pairing, answers_of, margin, pair_answers, pair_record
from omsweep.preferences.prompts import Prompt
from omsweep.preferences.request import PairSettings


@dataclass
class Tally:
    """What is counted while pairs are written; lengths are in tokens without the end token."""

    prompts: int = 0
    prompts_with_pairs: int = 0
    answers: int = 0
    unfinished: int = 0
    unscored: int = 0
    left_out: int = 0
    ties: int = 0
    scores: list[float] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    chosen_tokens: list[int] = field(default_factory=list)
    rejected_tokens: list[int] = field(default_factory=list)

    def add(self, answers: list[Answer], pairing: Pairing) -> None:
        """Count one prompt."""
        self.prompts += 1
        self.prompts_with_pairs += bool(pairing.pairs)
        self.answers += len(answers)
        self.unfinished += sum(not answer.finished for answer in answers)
        self.unscored += sum(answer.score is None for answer in answers)
        self.left_out += pairing.left_out
        self.ties += pairing.ties
        self.scores += [answer.score for answer in answers if answer.score is not None]
        for pair in pairing.pairs:
            self.margins.append(margin(answers, pair))
            self.chosen_tokens.append(answers[pair[0]].tokens)
            self.rejected_tokens.append(answers[pair[1]].tokens)

    def summary(self) -> dict[str, Any]:
        """Plain data; None where there is nothing to take a mean of."""
        longer = [chosen > rejected for chosen, rejected in zip(self.chosen_tokens, self.rejected_tokens, strict=True)]
        return {
            "prompts": self.prompts,
            "prompts_with_pairs": self.prompts_with_pairs,
            "answers": self.answers,
            "answers_unfinished": self.unfinished,
            "answers_unscored": self.unscored,
            "answers_left_out": self.left_out,
            "pairs": len(self.margins),
            "ties": self.ties,
            "score": _spread(self.scores),
            "margin": _spread(self.margins),
            "tokens_chosen": _spread(self.chosen_tokens),
            "tokens_rejected": _spread(self.rejected_tokens),
            "chosen_longer_share": fmean(longer) if longer else None,
        }


def write_pairs(samples: Iterable[Mapping[str, Any]], target: Path, settings: PairSettings) -> dict[str, Any]:
    """Write the pairs of all samples, in their order, to `target` in one step; returns the summary."""
    tally = Tally()

    def lines() -> Iterator[bytes]:
        for record in samples:
            answers = answers_of(record)
            pairing = pair_answers(answers, comparisons=settings.pairs, min_margin=settings.min_margin)
            tally.add(answers, pairing)
            prompt = Prompt(id=record["id"], messages=record["prompt"])
            for pair in pairing.pairs:
                yield line_of(pair_record(prompt, answers, pair, seed=settings.seed))

    replace_lines(target, lines())
    return tally.summary()


def _spread(values: list[float] | list[int]) -> dict[str, float] | None:
    if not values:
        return None
    return {"mean": fmean(values), "median": median(values), "min": min(values), "max": max(values)}
