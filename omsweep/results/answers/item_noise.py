"""How the items that trials were scored on make their numbers err, together where their tables of scores say so.

Policies scored on the same items err together: what groups of items add to an error is known for each of them, so that
a difference of two is surer than their error bars say. The groups are left out in turn, as in comparisons of arms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omsweep.store.folder import SweepFolder
from omsweep.store.records import TrialRecord

Noise = NDArray[np.float64]
"""[2, G]: what each group of items adds to the errors of tax and reward; its squares add up to their variances."""
GROUPS = 40
MOST_TABLES = 200
"""Of a family and split: reading more would take longer than a report should."""
_COLUMNS = ("kind", "task", "category", "item_id", "split", "decoder", "score", "kl")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Both objectives of a trial on one split, with standard errors over items; None where one is not known."""

    split: str
    reward: float
    tax: float
    reward_error: float | None = None
    tax_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class ItemNoise:
    """What the groups of a split's items add to the errors of trials, by id; of others only standard errors are known.

    The SFT model needs none: reward and tax are differences to it.
    """

    split: str = "search"
    of: Mapping[str, Noise] = field(default_factory=dict)

    def difference_errors(self, one: str, first: Reading, other: str, second: Reading) -> tuple[float, float]:
        """Standard errors of the differences in reward and tax of two trials, or of a trial and the SFT model.

        NaN where nothing is known of one of them.
        """
        if one in self.of and other in self.of:
            tax, reward = np.linalg.norm(self.of[one] - self.of[other], axis=1)
            return float(reward), float(tax)
        errors = np.array(
            [[read.reward_error, read.tax_error] for read in (first, second)], dtype=np.float64
        )  # None becomes NaN
        both = np.linalg.norm(errors, axis=0)
        return float(both[0]), float(both[1])


def paired_noise(folder: SweepFolder, trials: Sequence[TrialRecord], split: str) -> dict[str, Noise]:
    """By trial of one family what the groups of a split's items add to the errors of its `tax` and `reward`.

    Returns:
        Nothing where the tables of scores do not tell it of every one of the trials: there are too many, one is gone or
        broken or holds other items, or there are too few items for groups.
    """
    from omsweep.results.comparison.items import item_readings, item_table  # pandas, only where tables are read

    tables: dict[int | None, Any] = {}
    found: dict[str, Noise] = {}
    if len(trials) > MOST_TABLES:
        return {}
    try:
        for trial in trials:
            if trial.sft_seed not in tables:
                reference = folder.reference_scores(trial.family, trial.sft_seed)
                if not (reference["split"] == split).any():
                    return {}
                tables[trial.sft_seed] = item_table(reference, split, GROUPS)
            read = item_readings(folder.scores(trial.trial_id, _COLUMNS), tables[trial.sft_seed], split)
            found[trial.trial_id] = jackknife_noise(read[1:, [1, 0]]).T
    except (OSError, KeyError, ValueError):
        return {}
    told = all(noise.size and np.isfinite(noise).all() for noise in found.values())
    return found if told and len({noise.shape for noise in found.values()}) == 1 else {}


def jackknife_noise(without: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each group adds to the error of a mean, from the means without each of them, both [G, ...].

    sqrt((G - 1) / G) x (mean without the group - mean of these): the squares add up to the jackknife's variance.
    """
    groups = max(len(without), 1)
    return np.asarray((without - without.mean(axis=0)) * np.sqrt((groups - 1) / groups)) if len(without) else without
