"""The same masks, thresholds and weights however parameters are spread over ranks: gloo groups of 1 to 4 processes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("sharded_process.py")


# A group of ranks costs more to start than its tasks take, so that each size runs all of its own.
GROUPS = {
    1: ("weights:plain", "weights:cut", "weights:fsdp2"),
    2: ("weights:fsdp2", "swapped:fsdp2", "save:fsdp2"),
    3: ("weights:cut", "weights:fsdp2", "load:fsdp2"),
    4: ("weights:fsdp2", "weights:hsdp", "collectives:hsdp"),
}


def run_group(folder: Path, world: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder), str(rank), str(world), *GROUPS[world]],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    errors = [rank.communicate(timeout=300)[1] for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), "\n".join(errors)


class Found:
    """What rank 0 of each group wrote, by task; a group runs when it is asked for first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ran: set[int] = set()

    def __call__(self, world: int, task: str, how: str) -> dict[str, Any]:
        for size in (2, 3) if world == 3 else (world,):  # three load what two saved
            if size not in self._ran:
                run_group(self._folder, size)
                self._ran.add(size)
        found: dict[str, Any] = torch.load(self._folder / f"{task}-{how}-{world}.pt")
        return found


@pytest.fixture(scope="module")
def found_by(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return Found(tmp_path_factory.mktemp("sharded"))


@pytest.fixture(scope="module")
def unsharded(found_by: Found) -> dict[str, Any]:
    return found_by(1, "weights", "plain")


@pytest.mark.parametrize(
    ("world", "how"), [(1, "cut"), (1, "fsdp2"), (2, "fsdp2"), (3, "cut"), (3, "fsdp2"), (4, "fsdp2"), (4, "hsdp")]
)
def test_weights_are_bit_identical_on_any_number_of_ranks(
    found_by: Found, unsharded: dict[str, Any], world: int, how: str
) -> None:
    found = found_by(world, "weights", how)
    assert found.keys() == unsharded.keys()
    for case, expected in unsharded.items():
        if case.endswith("/diagnostics"):
            assert found[case] == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True), case
        else:
            for name, weights in expected.items():
                # across columns no kernel steps a shard: the plain path does, within rounding
                plain = case == "compiled" and how == "cut" and name.startswith("e")
                rounding = {"rtol": 0.0, "atol": 1e-6 if plain else 0.0}
                torch.testing.assert_close(found[case][name], weights, **rounding, msg=f"{case} {name}")


def test_parameters_may_be_swapped_for_sharded_ones_before_the_first_step(
    found_by: Found, unsharded: dict[str, Any]
) -> None:
    found = found_by(2, "swapped", "fsdp2")
    for name, weights in unsharded["onties"].items():
        assert torch.equal(found["onties"][name], weights), name


def test_a_checkpoint_of_two_ranks_goes_on_on_three(found_by: Found, unsharded: dict[str, Any]) -> None:
    found = found_by(3, "load", "fsdp2")
    for case in ("onties-released-k3", "ondare", "bfloat16"):
        for name, weights in unsharded[case].items():
            assert torch.equal(found[case][name], weights), (case, name)
        expected = unsharded[f"{case}/diagnostics"]
        assert found[f"{case}/diagnostics"] == pytest.approx(expected, rel=1e-6, abs=1e-9, nan_ok=True)


def test_thresholds_take_three_collectives_and_three_more_for_ties(found_by: Found) -> None:
    """Over the sharding dimension only: two ranks each in a group of four that replicates twice."""
    found = found_by(4, "collectives", "hsdp")
    assert found["adamw"] == found["ondare"] == [[]] * 4
    assert found["onties"][0] == [2] * 6  # the first step ties everywhere
    assert all(step in ([2] * 3, [2] * 6) for step in found["onties"])  # tau has ties of its own
    assert found["della"] == [[2]] * 4
