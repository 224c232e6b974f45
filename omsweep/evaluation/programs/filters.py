"""What lm-eval's tasks call: one filter that runs the programs of all answers at once, and the score that it gave."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lm_eval.api.filter import Filter
from lm_eval.api.registry import filter_registry, register_filter

from omsweep.evaluation.programs.benchmarks import BENCHMARKS, check_modules
from omsweep.evaluation.sandbox.limits import FAILED, REFUSED, Verdict
from omsweep.evaluation.sandbox.run import available, run_all

FILTER = "run_programs"
"""Its name in a task's `filter_list`; `benchmark` names a row of `BENCHMARKS`."""
NO_PROGRAM = Verdict(outcome=FAILED, reason="no program in the answer")


class Judged(str):
    """A model's answer as it is, with the verdict on its program."""

    verdict: Verdict

    def __new__(cls, answer: str, verdict: Verdict) -> "Judged":
        """The answer with its verdict."""
        made = super().__new__(cls, answer)
        made.verdict = verdict
        return made

    def __getnewargs__(self) -> tuple[str, Verdict]:  # type: ignore[override]
        """What a copy in another process is made from."""
        return str(self), self.verdict


def register() -> None:
    """Make the filter known to lm-eval; called before tasks are loaded."""
    if FILTER not in filter_registry:
        register_filter(FILTER)(RunPrograms)


class RunPrograms(Filter):
    """First answers with verdicts; ValueError where the sandbox cannot run programs, as there is no score then."""

    def __init__(self, benchmark: str) -> None:
        super().__init__()
        self.benchmark = benchmark

    def apply(self, resps: Iterable[Sequence[str]], docs: Sequence[Mapping[str, Any]]) -> list[Judged]:
        """One for each document, in their order."""
        answers = [str(each[0]) for each in resps]
        return [
            Judged(answer, verdict)
            for answer, verdict in zip(answers, judge(self.benchmark, docs, answers), strict=True)
        ]


def judge(benchmark: str, docs: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> list[Verdict]:
    """What came of each answer's program, as many at a time as this process has cores.

    Raises:
        ValueError: an unknown benchmark, or the sandbox refuses.
    """
    if benchmark not in BENCHMARKS:
        raise ValueError(f"benchmark must be one of {list(BENCHMARKS)}, got {benchmark!r}")
    if (why := available()) is not None:
        raise ValueError(f"programs of {benchmark} cannot be run here: {why}")
    jobs = [BENCHMARKS[benchmark].job(doc, answer) for doc, answer in zip(docs, answers, strict=True)]
    verdicts = iter(run_all([job for job in jobs if job is not None]))
    found = [NO_PROGRAM if job is None else next(verdicts) for job in jobs]
    refused = [verdict.reason for verdict in found if verdict.outcome == REFUSED]
    if refused:
        raise ValueError(f"{len(refused)} programs of {benchmark} could not be run: {refused[0]}")
    return found


def passed(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """1 for a program whose tests all held, else 0; an empty answer has none."""
    answer = results[0]
    if isinstance(answer, Judged):
        return {"passed": float(answer.verdict.passed)}
    if answer:
        raise ValueError(f"the answer has no verdict: the task's filter_list must hold {FILTER}")
    return {"passed": 0.0}


def ds1000_docs(docs: Any) -> Any:
    """All of them; ValueError where what they import is not here."""
    check_modules("ds1000", docs)
    return docs


def codeapex_docs(docs: Any) -> Any:
    """All of them; ValueError where there is no compiler."""
    check_modules("codeapex", docs)
    return docs
