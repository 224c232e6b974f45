"""A sweep's folder that tests write as a driver would, in one line a trial and without its lease."""

from omsweep.store.events import Event, encode
from omsweep.store.folder import SweepFolder
from omsweep.store.records import Ended, TrialIdentity
from omsweep.store.state import SweepState, apply


class WrittenSweep(SweepFolder):
    """Finished trials go straight into the log; `trials.jsonl` and the like are written where a test asks for it."""

    def __init__(self, storage, name):
        super().__init__(storage, name)
        self._state = SweepState()

    def happened(self, kind, trial_id=None, attempt=None, **data):
        event = Event(self._state.seq + 1, 1, 1.7e9 + self._state.seq, kind, trial_id, attempt, data)
        self.files.append(encode(event), sync=False)
        self._state = apply(self._state, event)

    def create(self, resolved, contamination=()):
        self.path.mkdir(parents=True)
        self.files.open_log()
        self.happened("created", name=self.name, resolved=resolved, versions={"omsweep": "0"}, git_revision=None)
        if contamination:
            models = {"contamination": contamination}
            self.happened("prepared", family="any", sft_seed=None, reference={}, models=models)

    def write_reference(self, family, reference, *, sft_seed=None):
        self.happened("prepared", family=family, sft_seed=sft_seed, reference=reference, models={})

    def append(self, record):
        content = record.to_json()
        if record.trial_id not in self._state.trials:
            identity = {name: content[name] for name in TrialIdentity.model_fields}
            self.happened("proposed", record.trial_id, trial={k: v for k, v in identity.items() if k != "trial_id"})
        outcome = {name: content[name] for name in Ended.model_fields}
        self.happened("ended", record.trial_id, outcome=outcome)

    def rescored(self, trial_id, **numbers):
        self.happened("scored", trial_id, split="report", numbers=numbers)
