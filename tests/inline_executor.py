"""An executor without Ray: all in the calling process, one after another, by the stand-ins of stub_work."""

import time
from contextlib import contextmanager
from pathlib import Path

from omsweep.engine.failures import failed
from omsweep.space.specs import preparation


class InlineExecutor:
    """`ran` notes what was done: (what, trial id)."""

    def __init__(self, space, work, ran, folder):
        self._space, self._work, self._ran, self._folder = space, work, ran, folder

    @classmethod
    def connected(cls, ran):
        """What `run_sweep` takes as `connected`."""

        @contextmanager
        def connect(space, console, work, folder, epoch):
            yield cls(space, work, ran, folder)

        return connect

    def prepare(self, specs):
        design = self._space.design
        return {
            (name, seed): self._work.prepare(preparation(self._space, name, sft_seed=seed, trials=specs), None)
            for name in self._space.family_names
            for seed in design.sft_range
        }

    def train(self, queue, models):
        while (job := queue.next()) is not None:
            queue.start(job)
            self._ran.append(("train", job.spec.trial_id))
            prepared = models[job.spec.family, job.spec.sft_seed or 0]
            try:
                outcome = self._work.session(job.spec, prepared, Path(self._folder.path), started=time.time())
            except Exception as error:
                outcome = failed(error)
            queue.end(job.spec.trial_id, outcome)
        assert queue.finished

    def merge(self, jobs, attempts):
        for job in jobs:
            score = self._work.points(job.parent, job.prepared, Path(job.folder))
            for spec in job.specs:
                ended = False
                while not ended:
                    attempts.start(attempts.job(spec.trial_id))
                    self._ran.append(("merge", spec.trial_id))
                    try:
                        outcome = score(spec)
                    except Exception as error:
                        outcome = failed(error)
                    ended = attempts.end(spec.trial_id, outcome)

    def score(self, jobs):
        for job in jobs:
            self._ran.append(("score", job.trial.trial_id))
            yield job, self._work.rescore(job.trial, job.parent, job.prepared, job.folder, job.evaluate, job.split)
