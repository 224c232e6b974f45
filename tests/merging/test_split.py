"""Where a model ended, along tau and beside it, in closed form."""

import math

import pytest
import torch

from omsweep.merging import split as split_module
from omsweep.merging.split import split


def tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in (("a", (7, 5)), ("b", (11,)))}


def flat(given: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in given.values()])


@pytest.mark.parametrize("chunk", [4, 2**20])
def test_a_movement_is_its_part_along_tau_and_one_orthogonal_to_it(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_module, "CHUNK_ENTRIES", chunk)
    start, tau, noise = tensors(0), tensors(1), tensors(2)
    aside = flat(noise) @ flat(tau) / (flat(tau) @ flat(tau))
    beside = {name: noise[name] - aside.float() * tau[name] for name in tau}
    end = {name: start[name] - 0.3 * tau[name] + beside[name] for name in tau}
    found = split(end, start, tau)
    assert found.travel == pytest.approx(-0.3, rel=1e-5)
    assert found.residual == pytest.approx(float(flat(beside).norm()), rel=1e-5)
    assert found.displacement == pytest.approx(math.hypot(0.3 * float(flat(tau).norm()), found.residual), rel=1e-5)


def test_along_tau_alone_nothing_is_left_beside_it() -> None:
    start, tau = tensors(0), tensors(1)
    found = split({name: (start[name] + tau[name]) for name in tau}, start, tau)
    assert found.travel == pytest.approx(1.0, rel=1e-6)
    assert found.residual < 1e-3 * found.displacement
    still = split(start, start, tau)
    assert still == (0.0, 0.0, 0.0)


def test_without_a_task_vector_the_distance_is_known_and_nothing_else() -> None:
    start, end = tensors(0), tensors(3)
    for none in (None, {}, {name: torch.zeros_like(value) for name, value in start.items()}):
        found = split(end, start, none)
        assert math.isnan(found.travel)
        assert math.isnan(found.residual)
        assert found.displacement == pytest.approx(float((flat(end) - flat(start)).norm()))
