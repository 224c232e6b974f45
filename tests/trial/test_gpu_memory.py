"""A declared GPU memory is the card's, and the process is held to it."""

from types import SimpleNamespace

import pytest
import torch

from omsweep.families.family import GIB
from omsweep.trial.gpu_memory import hold_gpu_memory


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A card of 80 GiB; holds the fractions that were set."""
    fractions: list[float] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(total_memory=80 * GIB))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share, _device: fractions.append(share))
    return fractions


def test_the_process_is_held_to_its_share(held: list[float]) -> None:
    hold_gpu_memory(20)
    hold_gpu_memory(80)
    hold_gpu_memory(None)
    assert held == [0.25, 1.0]


def test_a_smaller_card_is_refused(held: list[float]) -> None:
    with pytest.raises(ValueError, match=r"gpu_memory_gib is 81, and this worker's GPU has 80\.0 GiB"):
        hold_gpu_memory(81)
    assert not held


def test_no_card_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    hold_gpu_memory(None)
    with pytest.raises(ValueError, match="gpu_memory_gib is 8, and this worker sees no GPU"):
        hold_gpu_memory(8)
