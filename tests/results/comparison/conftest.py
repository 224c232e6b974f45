"""Small sweeps by hand: points of named blocks and arms."""

import numpy as np
import pytest

from omsweep.results.comparison.points import Points


@pytest.fixture
def make_points():
    return points


def points(rows, *, blocks=(), groups=0, noise=0.0, seed=0):
    """Points of rows (block, label, merged, search (reward, tax, kl), report (reward, tax, kl)).

    With groups, the readings without each group scatter by `noise` around those of all items and average to them.
    """
    report = np.array([row[4] for row in rows], dtype=float).reshape(-1, 3)
    scatter = noise * np.random.default_rng(seed).normal(size=(len(rows), groups, 3))
    scatter -= scatter.mean(axis=1, keepdims=True) if groups else 0.0
    return Points(
        block=tuple(row[0] for row in rows),
        label=np.array([row[1] for row in rows]),
        merged=np.array([row[2] for row in rows], dtype=bool),
        search=np.array([row[3] for row in rows], dtype=float).reshape(-1, 3),
        report=report,
        report_without=report[:, None] + scatter,
        blocks=tuple(blocks),
    )
