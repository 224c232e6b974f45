"""Twenty steps against an oracle written from the formulas of the method, in float64, on fresh random gradients.

Three warm-up steps at learning rate 1e-12 come first, because Adam's first updates tie in magnitude.
"""

import shutil

import pytest
import torch
from torch import Tensor, nn

from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("g++", "clang++", "c++")), reason="no C++ compiler"
)
SHAPES = {"a": (40, 30), "b": (301,)}
WARM_UP, STEPS, LR, ALPHA = 3, 20, 1e-3, 0.01


def tensors(seed: int, scale: float) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


class AdamOracle:
    """Bias-corrected AdamW updates in float64."""

    def __init__(self) -> None:
        self.m = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
        self.v = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in SHAPES.items()}

    def update(self, name: str, grad: Tensor, t: int, lr: float) -> Tensor:
        g = grad.double()
        self.m[name] = 0.9 * self.m[name] + 0.1 * g
        self.v[name] = 0.999 * self.v[name] + 0.001 * g * g
        m_hat, v_hat = self.m[name] / (1 - 0.9**t), self.v[name] / (1 - 0.999**t)
        return -lr * m_hat / (v_hat.sqrt() + 1e-8)


def top(x: Tensor, p: float) -> Tensor:
    """int(p n) entries of largest magnitude (all where that is 0), by sorting."""
    k = int(p * x.numel()) or x.numel()
    kept = x.abs().reshape(-1).argsort(descending=True)[:k]
    mask = torch.zeros(x.numel(), dtype=torch.bool)
    mask[kept] = True
    return torch.where(mask.view(x.shape), x, 0.0)


def released_onties(update: Tensor, tau: Tensor, p: float) -> Tensor:
    d, t = top(update, p), top(tau, p)
    elected = torch.where(d + t >= 0, 1.0, -1.0)
    kept_d = torch.where(torch.sign(d) == elected, (1 - ALPHA) * d, 0.0)
    return kept_d + torch.where(torch.sign(t) == elected, ALPHA * t, 0.0)


def dense_ondare(update: Tensor, tau: Tensor, p: float) -> Tensor:
    assert p == 1.0
    return (1 - ALPHA) * update + ALPHA * tau.clamp(-1.0, 1.0)


@pytest.mark.parametrize("path", ["plain", pytest.param("compiled", marks=[pytest.mark.slow, needs_compiler])])
@pytest.mark.parametrize(
    ("method", "density", "formula"),
    [
        ("onties", 1.0, released_onties),
        ("onties", 0.5, released_onties),
        ("onties", 0.05, released_onties),
        ("ondare", 1.0, dense_ondare),
    ],
)
def test_released_follows_the_formulas(method: str, density: float, formula, path: str) -> None:
    merge = OnlineMerge(method, semantics="released", alpha=ALPHA, density=density)
    tau, start, adam = tensors(1, 0.01), tensors(0, 0.02), AdamOracle()
    parameters = {name: nn.Parameter(value.clone()) for name, value in start.items()}
    optimizer = OnlineMergeAdamW(parameters.items(), merge, tau, lr=1e-12, path=path)
    expected = {name: value.double() for name, value in start.items()}
    for t in range(1, WARM_UP + STEPS + 1):
        lr = 1e-12 if t <= WARM_UP else LR
        optimizer.param_groups[0]["lr"] = lr
        for name, grad in tensors(100 + t, 1.0).items():
            parameters[name].grad = grad
            expected[name] += formula(adam.update(name, grad, t, lr), tau[name].double(), density)
        optimizer.step()
    for name, value in expected.items():
        movement = value - start[name].double()
        error = parameters[name].detach().double() - value
        assert float(error.norm() / movement.norm()) < 1e-5, name
