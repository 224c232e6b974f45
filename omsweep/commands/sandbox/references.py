"""`omsweep sandbox --references`: do the solutions of a benchmark pass here, and do they fail without their work?"""

import time
from collections.abc import Callable, Sequence

from omsweep.commands import DONE, FAILED
from omsweep.console import say
from omsweep.evaluation.programs.benchmarks import BENCHMARKS, Doc, check_modules
from omsweep.evaluation.sandbox.run import run_all
from omsweep.preferences.files import read_rows

NAMED = 10
"""Problems of each kind that are named."""


def run_references(asked: Sequence[str]) -> int:
    """One line for each file and kind; `FAILED` where a solution fails or what is left of one passes."""
    return max([_run(*one.partition("=")[::2]) for one in asked])


def _run(name: str, path: str) -> int:
    if name not in BENCHMARKS:
        raise ValueError(f"--references takes BENCHMARK=FILE with one of {', '.join(BENCHMARKS)}, got {name!r}")
    docs = read_rows(path, what="benchmark")
    check_modules(name, docs)
    benchmark = BENCHMARKS[name]
    solved = [(doc, answer) for doc in docs if (answer := benchmark.reference(doc)) is not None]
    if not solved:
        raise ValueError(f"{path} has no solutions: there is nothing to run")
    wrong = _passing(name, solved, "solutions", wanted=True)
    wrong += _passing(name, [(doc, benchmark.mutilated(doc)) for doc, _ in solved], "without their work", wanted=False)
    return FAILED if wrong else DONE


def _passing(name: str, answers: Sequence[tuple[Doc, str]], what: str, *, wanted: bool) -> int:
    """Run answers and say how many pass; how many do not as `wanted`."""
    started = time.monotonic()
    jobs = [BENCHMARKS[name].job(doc, answer) for doc, answer in answers]
    verdicts = iter(run_all([job for job in jobs if job], done=_counter(len(jobs))))
    found = [next(verdicts) if job else None for job in jobs]
    passed = [verdict is not None and verdict.passed for verdict in found]
    say(f"{name}, {what}: {sum(passed)} of {len(passed)} pass, {time.monotonic() - started:.1f} s")
    wrong = [number for number, one in enumerate(passed) if one != wanted]
    for number in wrong[:NAMED]:
        verdict = found[number]
        said = "no program in the answer" if verdict is None else f"{verdict.outcome}: {verdict.reason}"
        say(f"  {answers[number][0].get('task_id', f'item {number + 1}')}: {said}")
    return len(wrong)


def _counter(total: int) -> Callable[[], None]:
    count, step = 0, max(1, total // 5)

    def done() -> None:
        nonlocal count
        count += 1
        if count % step == 0 and count < total:
            say(f"  {count} of {total}", error=True)

    return done
