"""A whole sweep, begun or gone on with: prepare, train, merge, rescore the front, write the report."""

import shutil
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.markup import escape

from omsweep.cache import try_out as try_cache
from omsweep.cluster.metrics import shown
from omsweep.cluster.storage import check_tracking
from omsweep.console import Console
from omsweep.engine.capacity import NoRoom
from omsweep.engine.disk import Retention, check_room
from omsweep.engine.executor import Executor, MergeJob, Models, Ready, ScoreJob, Work
from omsweep.engine.forked import fork_of
from omsweep.engine.on_ray import Connected, RayExecutor
from omsweep.engine.opened import answered, create, opened, refuse_other_models, warn_of_nodes
from omsweep.engine.prepare import check_own_data, reference_key
from omsweep.engine.terminal import Terminal
from omsweep.foreign import error_line
from omsweep.plan.attempts import Attempts, TrialQueue
from omsweep.plan.budget import admitted
from omsweep.plan.design import draw
from omsweep.plan.optuna import StudyProposer
from omsweep.plan.posthoc import plan_posthoc
from omsweep.plan.proposer import DesignProposer, Proposer
from omsweep.plan.size import left_of, spent_of, trials_of
from omsweep.plan.stopping import Stopping
from omsweep.redaction import redacted
from omsweep.report.tables import print_answers, print_status
from omsweep.report.write import write_report
from omsweep.secrets import guard, take
from omsweep.sinks.cursor import experiment_of
from omsweep.sinks.first_connection import sqlite_uri
from omsweep.sinks.mlflow import MlflowSink
from omsweep.space.inputs import inputs_of
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import evaluation
from omsweep.store.folder import SweepFolder
from omsweep.store.lease import LeaseLost
from omsweep.store.log import SweepLog
from omsweep.store.records import TrialSpec
from omsweep.store.state import SweepState, family_key
from omsweep.strict_json import plain
from omsweep.trial.merge import SCRATCH

DONE, FAILED, INTERRUPTED = 0, 1, 130
REAL = Work()
FLUSH_SECONDS = 30.0
"""How long a sweep that has ended waits for an MLflow that takes nothing."""


def run_sweep(
    space: SearchSpace,
    name: str,
    storage: Path,
    tracking_uri: str | None = None,
    work: Work = REAL,
    *,
    repair: bool = False,
    extend: bool = False,
    fork: SweepFolder | None = None,
    connected: Connected = RayExecutor.connected,
) -> int:
    """Run a sweep to its end, from wherever earlier drivers left it, and write its report.

    Args:
        space: a checked search space.
        name: of the sweep and its folder.
        storage: absolute folder that all nodes share.
        tracking_uri: of MLflow, default a SQLite file in `storage`.
        work: what the processes do.
        repair: go on with a log that is damaged in the middle.
        extend: the space may ask for more blocks, seeds or trials than the sweep has had.
        fork: an earlier sweep whose results a new one starts from.
        connected: makes the executor, in a `with` statement.

    Returns:
        0 when at least one trial completed, 1 when none did, 130 when interrupted.

    Raises:
        ValueError: another driver runs the sweep, its search space is another one, its log is damaged, or storage,
            cache, tracking store, resources, family, preference data or suite cannot be used, or nothing can be taken
            over from `fork`; nothing was trained.
    """
    console = Console(soft_wrap=True)
    check_tracking(tracking_uri)
    guard()
    take(space.file.secrets, "the driver")
    work = work.holding(space.file.secrets)
    folder = SweepFolder(storage, name)
    answered("the cache ($OMSWEEP_CACHE)", try_cache)  # first: the data are read into it
    check_own_data(space)
    specs = draw(space) if space.file.mode == "compare" else None

    warn = partial(_warn, console)
    inputs = inputs_of(space)
    with opened(folder, space.resolved(), warn, inputs=inputs, repair=repair, extend=extend) as log:
        check_room(space, left_of(space, specs, log.state), storage)
        uri = tracking_uri or sqlite_uri(storage / "mlflow.db")
        forked = fork_of(space, specs, inputs, log.state, fork)
        experiment = experiment_of(log.storage, space.resolved())
        sink = MlflowSink(log.storage, uri, experiment, folder.path, warn, log, required=not log.state.created)
        if log.state.created and forked is None and not unfinished(space, specs, log.state):
            said = spent_of(space, specs, log.state)
            console.print(f"sweep {name} is finished{f': {said}' if said else ''}; its report is written again")
            sink.start()
            return _close(log, sink, folder, console, log.state.closed or "completed")
        with connected(space, console, work, folder, log.epoch) as executor, shown(log.storage, warn):
            try:
                ready = executor.prepare(specs)
            except NoRoom as error:
                console.print(f"[red]stopped[/]: {escape(str(error))}; nothing has begun")
                return FAILED
            refuse_other_models(f"sweep {folder.path}", log.state.prepared, ready)
            warn_of_nodes(ready, warn)
            if forked is not None:
                refuse_other_models(f"sweep {forked.old.path}", forked.state.prepared, ready)
            origin = {} if forked is None else {"forked_from": forked.data}
            create(log, name, space.resolved(), warn, inputs=inputs, **origin)
            keep_prepared(space, log, folder, ready)
            log.patiently(lambda: folder.write_derived(log.state))
            closed = "failed"
            sink.start()
            console.print(*sink.addresses(log.state), sep="\n", highlight=False, markup=False)
            try:
                if forked is not None:
                    forked.take(log, folder)
                    console.print(forked.describe(), highlight=False, markup=False)
                _run(space, specs, log, folder, executor, {key: models for key, (models, _) in ready.items()}, console)
                closed = "completed" if log.state.counts.get("completed") else "failed"
            except KeyboardInterrupt:
                closed = "interrupted"
                console.print("[yellow]interrupted[/]: writing the front so far; the same command goes on from here")
            except LeaseLost as lost:
                console.print(f"[red]stopped[/]: {escape(str(lost))}")
                sink.stop()
                return FAILED
            except NoRoom as error:
                console.print(f"[red]stopped[/]: {escape(str(error))}; the same command goes on from here")
            except Exception as error:  # ours or the machine's: the user's mistakes were found before
                kept = keep_traceback(log, error)
                console.print(
                    f"[red]stopped[/] by {escape(error_line(error))}; the traceback is in {kept}, the same command goes"
                    " on from here"
                )
            shutil.rmtree(folder.path / SCRATCH, ignore_errors=True)
            return _close(log, sink, folder, console, closed)


def keep_traceback(log: SweepLog, error: BaseException) -> str:
    """Write down what stopped the driver; the file's name in the sweep's folder."""
    name = f"tracebacks/driver-{log.epoch}.txt"
    text = redacted("".join(traceback.format_exception(error)))
    log.patiently(lambda: log.storage.write(name, text.encode()))
    return name


def unfinished(space: SearchSpace, specs: Sequence[TrialSpec] | None, state: SweepState) -> bool:
    """Whether anything of a sweep is still to be done."""
    going_on = (one for one in state.trials.values() if one.attempt > 0 or one.fields.get("kind") == "posthoc")
    if left_of(space, specs, state) or any(one.outcome is None for one in going_on):
        return True
    merged = plan_posthoc(space, state.records()).specs.values()
    if any(spec.trial_id not in state.trials for specs_ in merged for spec in specs_):
        return True
    return bool(_members_to_score(state))


def keep_prepared(space: SearchSpace, log: SweepLog, folder: SweepFolder, ready: Ready) -> None:
    """Note what every SFT model is and scored, and keep its table; what is known already is not noted again."""
    for (family, sft_seed), (models, table) in ready.items():
        named = {name: getattr(models, name) for name in ("base", "base_revision", "sft", "sft_revision")}
        key = reference_key(space, sft_seed)
        data = {
            "family": family,
            "sft_seed": key,
            "reference": plain(models.reference.model_dump(exclude_unset=True) | named),
            "models": plain(models.model_dump(exclude={"made"})),
        }
        folder.write_reference_scores(family, table, sft_seed=key)
        known = log.state.prepared.get(family_key(family, key), {})
        if data != {name: known.get(name) for name in data}:
            log.append("prepared", **data, made=models.made)


def _run(
    space: SearchSpace,
    specs: Sequence[TrialSpec] | None,
    log: SweepLog,
    folder: SweepFolder,
    executor: Executor,
    models: Models,
    console: Console,
) -> None:
    total = trials_of(space, specs, log.state)
    done = sum(one.outcome is not None for one in log.state.trials.values())
    if done:
        console.print(f"going on: {done} trials have ended")
    retention = Retention(space.file.keep, log, folder)
    with Terminal.bar(console, total=total, done=done) as terminal:
        attempts = Attempts(log, [terminal, retention])
        state = log.state
        proposer: Proposer = (
            StudyProposer(space, state, partial(_warn, console)) if specs is None else DesignProposer(specs, state)
        )
        stopping = None if space.file.scheduler.algorithm == "none" else Stopping(space, state)
        budget = space.file.budget
        apart = space.file.evaluate.workers is not None
        queue = TrialQueue(attempts, proposer, lambda: admitted(budget, log.state, time.time()), stopping, apart=apart)
        executor.train(queue, models)
        if (said := spent_of(space, specs, log.state)) is not None:
            log.append("spent", said=said, used=log.state.used_until(log.state.time)._asdict())
            console.print(f"[yellow]no more trials[/]: {escape(said)}", highlight=False)
        _merge(space, attempts, folder, executor, models, terminal, console)
    _rescore(space, log, folder, executor, models, console)
    retention.closed()


def _merge(
    space: SearchSpace,
    attempts: Attempts,
    folder: SweepFolder,
    executor: Executor,
    models: Models,
    terminal: Terminal,
    console: Console,
) -> None:
    """Make and score every post-hoc point of the trained trials that has not ended."""
    if not space.posthoc:
        return
    state = attempts.log.state
    plan = plan_posthoc(space, state.records())
    if plan.left_out:
        console.print(f"[yellow]left out[/] {plan.left_out} post-hoc points of trials that did not complete")
    jobs = []
    for trial_id, planned in plan.specs.items():
        parent = state.trials[trial_id].record
        for spec in planned:
            attempts.propose(spec)
        left = [spec for spec in planned if attempts.log.state.trials[spec.trial_id].outcome is None]
        if left:
            prepared = models[parent.family, parent.sft_seed or 0]
            jobs.append(MergeJob(parent=parent, prepared=prepared, folder=str(folder.path), specs=left))
    count = sum(len(job.specs) for job in jobs)
    if count:
        console.print(f"merging {count} post-hoc points of {len(jobs)} trained trials")
        terminal.expect(count)
        executor.merge(jobs, attempts)


def _rescore(
    space: SearchSpace, log: SweepLog, folder: SweepFolder, executor: Executor, models: Models, console: Console
) -> None:
    """Score the front's members that have no numbers on the report split there, which chose nothing.

    A member that was merged after training is merged again: its weights were not kept.
    """
    members = _members_to_score(log.state)
    if not members:
        return
    console.print(f"rescoring the front's {len(members)} members on the report split")
    evaluate, trials = evaluation(space)["evaluate"], log.state.trials
    jobs = [
        ScoreJob(
            trial=trial,
            parent=trials[trial.parent].record if trial.parent else None,
            prepared=models[trial.family, trial.sft_seed or 0],
            folder=folder.path,
            evaluate=evaluate,
            split="report",
        )
        for trial in (trials[trial_id].record for trial_id in members)
    ]
    for job, numbers in executor.score(jobs):
        if isinstance(numbers, str):
            console.print(f"[red]could not rescore {job.trial.trial_id}[/]: {escape(numbers)}")
        else:
            log.append("scored", trial_id=job.trial.trial_id, split=job.split, numbers=plain(numbers))


def _members_to_score(state: SweepState) -> list[str]:
    """Members of the fronts without numbers on the report split."""
    members = (state.trials[one.trial_id] for front in state.fronts.values() for one in front)
    return [one.trial_id for one in members if one.report is None and (one.outcome or {}).get("reward_report") is None]


def _close(log: SweepLog, sink: MlflowSink, folder: SweepFolder, console: Console, closed: str) -> int:
    """Write the report, note how the sweep was left, let MLflow have all of it; the command's exit status."""
    try:
        write_report(folder, log.state._replace(closed=closed))
    except Exception as error:  # the log has everything: `omsweep report` writes it later
        closed = "failed"
        console.print(f"[red]no report[/]: {escape(error_line(error))}; see {keep_traceback(log, error)}")
    log.append("driver", did="stopped", closed=closed)
    sink.flush(FLUSH_SECONDS)
    sink.stop()
    print_status(folder, console)
    print_answers(folder)
    console.print(*sink.addresses(log.state), sep="\n", highlight=False, markup=False)
    return {"completed": DONE, "failed": FAILED, "interrupted": INTERRUPTED}[closed]


def _warn(console: Console, text: str) -> None:
    console.print(f"[yellow]warning[/]: {escape(text)}", highlight=False)
