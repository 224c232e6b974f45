"""What was exported, how it came about and by which settings."""

from collections.abc import Sequence
from dataclasses import dataclass

from omsweep.families.family import ModelFamily
from omsweep.families.licences import Rule
from omsweep.results.front import label_of
from omsweep.results.numbers import short
from omsweep.store.records import Prepared, TrialRecord
from omsweep.store.state import SweepState
from omsweep.strict_json import flatten


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was exported.

    Attributes:
        name: of the model.
        trial: whose policy; of a post-hoc trial its own.
        scored: the trial whose numbers are those of this model, None where it was not scored.
        weight: w of the interpolation that was made of the policy, None for the policy itself.
        chosen: how it was chosen, a sentence.
        prepared: of its SFT model.
        family: as the search space has it; None where that cannot be read.
        licence: as the hub calls it.
        rule: what that licence asks.
        files: names of licences and notices that go along.
        weights_hash: of what was written.
        command: that makes it again.
    """

    name: str
    trial: TrialRecord
    scored: TrialRecord | None
    weight: float | None
    chosen: str
    prepared: Prepared
    family: ModelFamily | None
    licence: str
    rule: Rule | None
    files: Sequence[str]
    weights_hash: str
    command: str

    @property
    def is_merged(self) -> bool:
        """Whether its weights are a merge of finished models."""
        return self.weight is not None or self.trial.kind == "posthoc"

    def what(self) -> str:
        """What the model is, in a sentence."""
        trial = self.trial
        if trial.kind == "posthoc":
            point = trial.params.get("posthoc", {})
            made = f"{point.get('method')} with weight {point.get('weight')}"
            return (
                f"`{trial.trial_id}`: made without training of the policy `{trial.parent}` and its SFT model, {made}."
            )
        how = f"{(trial.algorithm or 'unknown').upper()} with `{label_of(trial)}`"
        policy = f"the policy `{trial.trial_id}`, trained by {how}"
        if self.weight is None:
            return f"This is {policy}, from its SFT model."
        return f"SFT model + {self.weight:g} x (policy - SFT model), of {policy}, made without further training."

    def recipe(self, state: SweepState) -> list[tuple[str, str]]:
        """Every setting that made it and is not None: of the training, then of what was made of its policy."""
        trial = self.trial
        trained = state.trials[trial.parent or trial.trial_id]
        rows = {**flatten(dict(trained.fields.get("train") or trial.params)), "task_vector": trial.task_vector}
        rows["learning_rate_applied"] = trial.learning_rate_applied
        point = {"method": "linear", "weight": self.weight} if self.weight is not None else trial.params.get("posthoc")
        rows |= {f"merge afterwards: {name}": value for name, value in flatten(dict(point or {})).items()}
        return [
            (name, short(one) if isinstance(one, bool) else str(one)) for name, one in rows.items() if one is not None
        ]
