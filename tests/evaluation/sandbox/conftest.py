"""Tests here run programs in namespaces; where the kernel allows none they are skipped, with its reason."""

import pytest

from omsweep.evaluation.sandbox.run import available


@pytest.fixture
def sandbox() -> None:
    """Skip unless programs can be run."""
    if (why := available()) is not None:
        pytest.skip(why)
