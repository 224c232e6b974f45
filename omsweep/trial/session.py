"""One trial's work in one process: train with the online merging optimizer, save the policy, score it.

Runs in a Ray Train worker or in the Tune actor itself and knows neither. Rank 0 saves and scores; the others train,
and compute their share of the batches that are scored.
"""

import logging
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from omsweep.align.settings import WHOLE, train_settings_from
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.spread import Models, Spread, alone
from omsweep.foreign import error_line
from omsweep.store.folder import SweepFolder
from omsweep.store.records import TRAINED, Outcome, Part, Prepared, TrialSpec
from omsweep.strict_json import read_json, write_json
from omsweep.trial.gpu_memory import free_gpu_memory, hold_gpu_memory
from omsweep.trial.models import accelerator, placed, sft_model, sft_tokenizer, unplaced_sft_model
from omsweep.trial.progress import ProgressWriter, progress_file
from omsweep.trial.scoring import score_rung, score_splits
from omsweep.trial.split import merge_active, split_of, with_displacement

logger = logging.getLogger(__name__)


def run_session(
    spec: TrialSpec,
    prepared: Prepared,
    folder: Path,
    *,
    started: float,
    rank: int = 0,
    part: Part = "whole",
    resume_from: Path | None = None,
    on_step: Callable[[int, dict], None] | None = None,
    interrupted: Callable[[], bool] | None = None,
    at_rung: Callable[[Mapping[str, Any] | None], bool] | None = None,
) -> Outcome | None:
    """Train, save and score one trial; `stopped` is one that `at_rung` ended on its way, with its numbers there.

    Scoring that raises gives a `failed` outcome that still says what was trained and where the policy is.

    Args:
        spec: the trial.
        prepared: of its SFT model.
        folder: the sweep's.
        started: Unix time at which the trial was started.
        rank: of this process in the trial's worker group.
        part: what of it to do; `train` ends with the reason `TRAINED`, `score` needs the policy that this kept.
        resume_from: checkpoint folder to continue from.
        on_step: called with step and metrics after each optimizer step; None: what `omsweep.trial.progress` does.
        interrupted: asked on every rank after each step; True, on all of them: a checkpoint is written at once, because
            a node will be gone soon.
        at_rung: called on every rank at each of the trial's rungs, on rank 0 with the `Outcome` fields that it would
            have if it ended there, as `outcome`, and the fields of a `Rung` (`omsweep.store.state`), as `rung`, else
            with None; whether training goes on. None: the trial has no rungs.

    Returns:
        The outcome; None from ranks above 0.

    Raises:
        FileNotFoundError: what is to be scored is not there.
    """
    from omsweep.trial.ranks import all_ranks, help_rank_0

    session = TrialSession(spec, prepared, folder)
    begun = time.time()
    trained = session.trained_before()
    if trained is None and part == "score":
        raise FileNotFoundError(f"{session.policy_folder} is gone or changed: `omsweep retry` trains the trial again")
    if trained is None:
        if on_step is None and rank == 0:
            scored_at = {step for _, step, _ in spec.rungs} | {(spec.train or {}).get("steps", 0)}
            on_step = ProgressWriter(progress_file(folder, spec.trial_id), scored_at)

        def stepped(step: int, metrics: dict) -> bool:
            if on_step is not None:
                on_step(step, metrics)
            return interrupted is not None and interrupted()

        trained = session.train(
            resume_from=resume_from,
            on_step=stepped,
            at_rung=None if at_rung is None else partial(_at_rung, session, rank, at_rung),
        )
        start = begun - started + (trained.seconds["start"] or 0.0)
        seconds = {**trained.seconds, "start": start, "evaluate": session.rung_seconds}
        trained = trained.model_copy(update={"seconds": seconds})
    if rank > 0:
        if part != "train":
            help_rank_0(session.models)
        return None
    if part == "train":
        kept = _kept(session, trained)
        return kept.model_copy(update={"reason": TRAINED}) if kept.state == "completed" else kept
    with all_ranks() as spread:
        return _scored(session, trained, spread)


def _scored(session: "TrialSession", trained: Outcome, spread: Spread) -> Outcome:
    scored_from = time.time()
    trained = _kept(session, trained)  # first what was dear: a scorer that fails must not cost the weights
    if trained.state != "completed":
        return trained
    try:
        found = session.evaluate(spread)
    except Exception as error:  # whatever it was, the policy is there and can be scored again
        logger.exception("scoring %s failed", session.spec.trial_id)
        text = f"scoring failed: {error_line(error)}"
        found = {"state": "failed", "error": text, "reason": "scoring failed", "traceback": traceback.format_exc()}
    at_rungs = trained.seconds.get("evaluate") or 0.0
    seconds = {**trained.seconds, "evaluate": at_rungs + time.time() - scored_from}
    return trained.model_copy(update={**found, "seconds": seconds})


def _kept(session: "TrialSession", trained: Outcome) -> Outcome:
    return session.keep(trained) if trained.state == "completed" and trained.policy_path is None else trained


def _at_rung(session: "TrialSession", rank: int, at_rung: Callable[[Mapping[str, Any] | None], bool], now: Any) -> bool:
    from omsweep.trial.ranks import all_ranks, help_rank_0

    models = session.copied(now)
    if rank > 0:
        help_rank_0(lambda: models)
        return at_rung(None)
    with all_ranks() as spread:
        found = session.score_rung(models, now, spread)
    return at_rung(found)


class TrialSession:
    """One trained trial, step by step: `train`, `keep`, `evaluate`.

    `evaluate` needs a policy: the one just trained, or the one that `keep` left in an earlier session, which
    `trained_before` finds.

    Args:
        spec: the trial.
        prepared: of its SFT model.
        folder: the sweep's.
    """

    def __init__(self, spec: TrialSpec, prepared: Prepared, folder: Path) -> None:
        self.spec, self.prepared, self.folder = spec, prepared, folder
        self.policy_folder = policy_folder(folder, spec.trial_id)
        self._model: Any = None
        self.rung_seconds = 0.0
        hold_gpu_memory(prepared.gpu_memory_gib)

    def train(
        self,
        *,
        resume_from: Path | None = None,
        on_step: Callable[[int, dict], bool | None] | None = None,
        at_rung: Callable[[Any], bool] | None = None,
    ) -> Outcome:
        """Train the policy from the SFT model.

        Returns:
            `completed`, `diverged` where a loss or a weight is not finite, or `stopped` where `at_rung`, called with an
            `omsweep.align.outcome.OnTheWay`, said so.
        """
        from omsweep.align.train import train
        from omsweep.optim.task_vector_file import open_task_vector

        entered, spec, prepared = time.time(), self.spec, self.prepared
        assert spec.train is not None, "a post-hoc trial trains nothing"
        settings = train_settings_from(spec.train)
        model = unplaced_sft_model(prepared) if settings.sharded else sft_model(prepared)
        uses_tau = settings.merge.resolved().needs_task_vector
        loading = time.time() - entered
        outcome = train(
            settings,
            model=model,
            tokenizer=self._tokenizer,
            data=Path(prepared.data[spec.data][settings.algorithm]),
            replay=Path(prepared.replay) if settings.replay_share and prepared.replay else None,
            task_vector=open_task_vector(prepared.task_vectors[spec.task_vector]) if uses_tau else None,
            output_dir=training_folder(self.folder, spec.trial_id),
            on_step=on_step,
            resume_from=resume_from,
            rungs=[step for _, step, _ in spec.rungs],
            at_rung=at_rung,
            save_at_rungs=spec.pauses,
        )
        self._model = model
        return Outcome(
            state=outcome.state,
            learning_rate_applied=outcome.learning_rate_applied,
            diagnostics=outcome.diagnostics,
            merge_active=merge_active(outcome.diagnostics),
            steps=outcome.steps,
            tokens=outcome.tokens,
            accelerator=accelerator(),
            error=f"loss or weights not finite after step {outcome.steps}" if outcome.state == "diverged" else None,
            losses=tuple(outcome.losses),
            preflight=outcome.preflight,
            seconds={**outcome.seconds, "start": loading + outcome.seconds["start"]},
        )

    def models(self) -> Models:
        """What is scored at the end: the policy just trained, or the one that `keep` left; on every rank.

        For a server that is the folder that `keep` left, and the models here make room for it.
        """
        if EvaluateSettings(**self.spec.evaluate).backend.serves:
            self._model = None
            self.__dict__.pop("_sft", None)
            free_gpu_memory()
            return Models(None, self._tokenizer, folder=str(self.policy_folder))
        if self._model is None:
            self._model = _saved_policy(str(self.policy_folder), self.prepared)
        self._model = placed(self._model).eval()
        return Models(self._model, self._tokenizer, self._sft)

    def copied(self, now: Any) -> Models:
        """What is scored at a rung: the policy as it is there, in a model of its own; on every rank."""
        model = sft_model(self.prepared)
        now.copy_into(model)
        return Models(model.eval(), self._tokenizer, self._sft)

    def score_rung(self, models: Models, now: Any, spread: Spread = alone) -> dict[str, Any]:
        """Score a copy of the policy on the items of a rung of the search split; see `run_session`."""
        spec, prepared, began = self.spec, self.prepared, time.time()
        level, step, limit = next(one for one in spec.rungs if one[1] == now.step)
        fields, noise = score_rung(EvaluateSettings(**spec.evaluate), prepared, models, limit, spread=spread)
        self.rung_seconds += time.time() - began
        outcome = Outcome(
            **fields,
            state="stopped",
            steps=step,
            tokens=now.tokens,
            losses=tuple(now.losses),
            diagnostics=now.diagnostics,
            merge_active=merge_active(now.diagnostics),
            decoding=prepared.decoding,
            accelerator=accelerator(),
            seconds={"train": now.seconds, "evaluate": self.rung_seconds},
        )
        return {"outcome": outcome.model_dump(), "rung": {"level": level, "step": step, **noise}}

    def keep(self, trained: Outcome) -> Outcome:
        """Write the policy and its tokenizer, measure where it ended, and note that training is done.

        Returns:
            What training gave, with `policy_path`, `weights_hash`, `diagnostics` and `merge_active`.
        """
        from omsweep.families.load import weights_hash

        self._model = placed(self._model).eval()
        self._model.save_pretrained(self.policy_folder)
        self._tokenizer.save_pretrained(self.policy_folder)
        split = split_of(self._model, self._sft, self.prepared)
        found = with_displacement(trained.diagnostics, split["displacement"]) | split
        kept = trained.model_copy(
            update={
                "policy_path": str(self.policy_folder),
                "weights_hash": weights_hash(str(self.policy_folder)),
                "diagnostics": found,
                "merge_active": merge_active(found),
            }
        )
        write_json(self._note, {"spec": self.spec.to_json(), "outcome": kept.to_json()})
        return kept

    def trained_before(self) -> Outcome | None:
        """What `keep` returned in an earlier session of the same trial, None where there was none."""
        from omsweep.families.load import weights_hash

        if not self._note.is_file():
            return None
        note = read_json(self._note)
        outcome = Outcome(**note["outcome"])
        if note["spec"] != self.spec.to_json() or not self.policy_folder.is_dir():
            return None
        return outcome if weights_hash(str(self.policy_folder)) == outcome.weights_hash else None

    @property
    def _note(self) -> Path:
        return trained_note(self.folder, self.spec.trial_id)

    def evaluate(self, spread: Spread = alone) -> dict[str, Any]:
        """Score the policy on the trial's splits and keep the table; returns the numbers of `Scores`."""
        spec = self.spec
        evaluate = EvaluateSettings(**spec.evaluate)
        frame, fields = score_splits(evaluate, self.prepared, self.models(), spec.splits, spread=spread)
        SweepFolder(self.folder.parent, self.folder.name).write_scores(spec.trial_id, frame)
        return fields

    @cached_property
    def _tokenizer(self) -> Any:
        return sft_tokenizer(self.prepared)

    @cached_property
    def _sft(self) -> Any:
        return sft_model(self.prepared)


def last_checkpoint(folder: Path, trial_id: str) -> Path | None:
    """The newest whole checkpoint that earlier attempts at a trial left, None where there is none."""
    found = training_folder(folder, trial_id).glob(f"checkpoint-*/{WHOLE}")
    return max((one.parent for one in found), key=lambda one: int(one.name.rpartition("-")[2]), default=None)


def trained_note(folder: Path, trial_id: str) -> Path:
    """The file that says that a trial is trained, and what its training gave: `spec` and `outcome`."""
    return training_folder(folder, trial_id) / "trained.json"


def training_folder(folder: Path, trial_id: str) -> Path:
    """Where a sweep's folder keeps the training state of a trial's attempts: checkpoints, and that it is trained."""
    return folder / "work" / trial_id


def policy_folder(folder: Path, trial_id: str) -> Path:
    """Where a sweep's folder keeps the policy of a trial."""
    return folder / "policies" / trial_id


def _saved_policy(path: str, prepared: Prepared) -> Any:
    from omsweep.families.load import load_model

    return placed(load_model(path, dtype=prepared.dtype))
