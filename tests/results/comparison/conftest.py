"""Sweeps by hand: arms on curves that are known."""

import math

import numpy as np
import pytest

from omsweep.results.comparison.points import Points

LADDER = (0.25, 0.5, 1.0, 2.0)
WEIGHTS = (0.25, 0.5, 0.75)
LABELS = ("adamw", "ondare", "shuffled")
GROUPS = 5


@pytest.fixture(scope="session")
def make_points():
    return points


def points(
    *, gains=None, reach=None, sft_seeds=3, runs=4, families=("one", "two"), scatter=0.03, seed=0, kl=True, lost=()
):
    """Arms on one curve: a run at dose d moves x = d, a merge of weight w lies at w x.

    Reward is gain (1 - exp(-1.5 x)), tax 5 x^2, KL 12 x^2, of `gains` and with x times `reach` by label. `lost` are
    (block number, label, dose) without a policy, and without its merges.
    """
    rng, rows, blocks = np.random.default_rng(seed), [], []
    for family in families:
        blocks += [(family, str(s), f"b0-s{r}") for s in range(sft_seeds) for r in range(runs)]
    for number, block in enumerate(blocks):
        common = math.exp(0.05 * rng.normal())
        for label in LABELS:
            for dose in LADDER:
                if (number, label, dose) in lost:
                    continue
                for weight in (1.0, *(WEIGHTS if label != "shuffled" else ())):
                    x = weight * dose * common * (reach or {}).get(label, 1.0)
                    gain = (gains or {}).get(label, 1.0)
                    mean = np.array([gain * (1 - math.exp(-1.5 * x)), 5 * x**2, 12 * x**2 if kl else math.nan])
                    noise = scatter * rng.normal(size=(GROUPS + 1, 3)) * [1.0, 5.0, 5.0]
                    rows.append((block, label, dose, "" if weight == 1 else "path", weight, mean, noise))
    groups = np.stack([row[5] + row[6][1:] for row in rows])
    whole = groups.mean(axis=1, keepdims=True)
    return Points(
        block=tuple(row[0] for row in rows),
        label=np.array([row[1] for row in rows]),
        dose=np.array([row[2] for row in rows]),
        grid=np.array([row[3] for row in rows]),
        weight=np.array([row[4] for row in rows]),
        search=np.stack([row[5] + row[6][0] for row in rows]),
        report=np.concatenate([whole, (GROUPS * whole - groups) / (GROUPS - 1)], axis=1),
        blocks=tuple(blocks),
    )
