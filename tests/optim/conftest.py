"""A toy of three tensors with injected gradients, and every merge setting worth telling apart."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from omsweep.merging.methods import METHODS, RESCALES, SEMANTICS_NAMES, MergeMethod
from omsweep.optim.settings import OnlineMerge

SHAPES = {"body.weight": (7, 5), "body.bias": (5,), "head.weight": (3, 4, 2)}


class Toy:
    """Parameters, task vector and gradients as pure functions of a seed."""

    def tensors(self, seed: int, scale: float = 1.0) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {name: scale * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}

    def parameters(self, seed: int = 0) -> dict[str, torch.nn.Parameter]:
        return {name: torch.nn.Parameter(value) for name, value in self.tensors(seed).items()}

    def task_vector(self) -> dict[str, Tensor]:
        tau = self.tensors(1000, 0.5)
        tau["body.weight"][0] = 0.0
        tau["head.weight"][0, 0, 0] = 3.0  # beyond the released clamp
        return tau

    def set_gradients(self, parameters: dict[str, torch.nn.Parameter], step: int) -> None:
        for name, gradient in self.tensors(2000 + step, 0.1).items():
            parameters[name].grad = gradient

    def run(
        self,
        optimizer: Optimizer,
        parameters: dict[str, torch.nn.Parameter],
        steps: range,
        before_step: Callable[[int], None] | None = None,
    ) -> list[dict[str, Tensor]]:
        """Weights after each step."""
        seen = []
        for step in steps:
            self.set_gradients(parameters, step)
            if before_step:
                before_step(step)
            optimizer.step()
            seen.append({name: value.detach().clone() for name, value in parameters.items()})
        return seen


@pytest.fixture(scope="session")
def toy() -> Toy:
    return Toy()


def merge_cases() -> list[OnlineMerge]:
    """Every method, both semantics, every axis away from its default at least once, K = 1 and 3."""
    cases = [
        OnlineMerge("adamw"),
        OnlineMerge("anchor", alpha=0.05),
        OnlineMerge("ema", alpha=0.1, average_rate=0.2),
    ]
    for k in (1, 3):
        cases.append(OnlineMerge("linear", alpha=0.1, gap_steps=k))
        cases.append(OnlineMerge("linear", alpha={"head.*": 0.2, "*": 0.0}, gap_steps=k))
        for semantics, density in product(("equations", "released"), (0.4, 1.0)):
            cases.append(OnlineMerge("childtuning", semantics=semantics, density=density, gap_steps=k, seed=1))
            for method in ("ondare", "onties"):
                cases.append(OnlineMerge(method, semantics=semantics, alpha=0.1, density=density, gap_steps=k, seed=2))
        for rescale, tau_mask in product(("inverse", "norm"), ("resample", "fixed")):
            for method in ("ondare", "onties"):
                cases.append(
                    OnlineMerge(
                        method,
                        semantics="equations",
                        alpha=0.2,
                        density=0.6,
                        gap_steps=k,
                        rescale=rescale,
                        tau_mask=tau_mask,
                    )
                )
        cases.append(OnlineMerge("ondare", semantics="equations", alpha=0.1, density=0.5, clip=0.3, gap_steps=k))
        cases.append(OnlineMerge("onties", semantics="equations", alpha=0.1, density=0.01, gap_steps=k))
        cases.append(OnlineMerge("onties", semantics="released", alpha=0.1, density=0.01, gap_steps=k))
        cases.append(OnlineMerge("onties", semantics="equations", alpha=0.1, density=0.5, min_kept=4, gap_steps=k))
    written = {case.method for case in cases}
    return cases + [case for method in METHODS if method not in written for case in cases_from_knobs(method)]


def cases_from_knobs(method: str) -> list[OnlineMerge]:
    """For a method without cases of its own: knobs left open at their defaults, and all given, at each rescaling."""
    cases: dict[OnlineMerge, None] = {}
    for semantics, k, rescale in product(SEMANTICS_NAMES, (1, 3), (None, *RESCALES)):
        values = {"semantics": semantics, "alpha": 0.1, "density": 0.4, "gap_steps": k}
        if rescale is not None:
            values |= {"density": 0.6, "rescale": rescale, "elect": "unweighted", "tau_mask": "fixed"}
            values |= {"clip": 0.3, "min_kept": 4, "spread": 0.3, "average_rate": 0.2}
        cases[OnlineMerge(method, **{knob: values[knob] for knob in METHODS[method].knobs if knob in values})] = None
    return list(cases)


@pytest.fixture
def added_cases(monkeypatch: pytest.MonkeyPatch) -> list[OnlineMerge]:
    """Settings of a method `added`, which is one more row of the table and nothing else."""
    added = MergeMethod(
        source="arXiv:0000.00000",
        sparsifier="random",
        consensus="sign",
        knobs=("alpha", "density", "gap_steps", "rescale", "elect", "tau_mask"),
        defaults={"rescale": "inverse", "elect": "weighted", "tau_mask": "resample"},
    )
    monkeypatch.setitem(METHODS, "added", added)  # type: ignore[arg-type]
    return cases_from_knobs("added")


def label(case: OnlineMerge) -> str:
    given = {k: v for k, v in vars(case).items() if v not in (None, case.method) and k != "alpha"}
    return "-".join([case.method, *(f"{k[0]}{v}" for k, v in given.items())])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "merge_case" in metafunc.fixturenames:
        metafunc.parametrize("merge_case", merge_cases(), ids=label)
