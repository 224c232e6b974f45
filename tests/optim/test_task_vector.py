"""Task vectors of models, their controls, and the check that one fits."""

import pytest
import torch
from torch import nn

from omsweep.merging.randomness import entry_bits, mask_key
from omsweep.optim.task_vector import check_task_vector, flipped, permuted, task_vector


class Tied(nn.Module):
    def __init__(self, fill: float) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(3, 2), nn.Linear(2, 3, bias=False)
        self.head.weight = self.embed.weight
        nn.init.constant_(self.embed.weight, fill)


def test_tau_is_sft_minus_base_with_tied_weights_once() -> None:
    tau = task_vector(Tied(1.0), Tied(1.5).bfloat16())
    assert list(tau) == ["embed.weight"]
    assert tau["embed.weight"].dtype == torch.float32
    assert torch.equal(tau["embed.weight"], torch.full((3, 2), 0.5))
    assert not tau["embed.weight"].requires_grad


def test_models_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match=r"missing weight, bias; extra embed.weight"):
        task_vector(Tied(1.0), nn.Linear(2, 2))


def test_up_to_five_names_are_listed() -> None:
    parameters = {f"p{i}": nn.Parameter(torch.zeros(2)) for i in range(8)}
    with pytest.raises(ValueError, match=r"missing p0, p1, p2, p3, p4 and 3 more$"):
        check_task_vector({}, parameters)
    tau = {name: torch.zeros(2) for name in parameters}
    check_task_vector(tau, parameters)
    with pytest.raises(ValueError, match="extra q"):
        check_task_vector({**tau, "q": torch.zeros(1)}, parameters)
    with pytest.raises(ValueError, match=r"of another shape p3 \(3,\) instead of \(2,\)"):
        check_task_vector({**tau, "p3": torch.zeros(3)}, parameters)


def test_frozen_parameters_need_no_entry_but_may_have_one() -> None:
    parameters = {"a": nn.Parameter(torch.zeros(2)), "b": nn.Parameter(torch.zeros(2), requires_grad=False)}
    check_task_vector({"a": torch.zeros(2)}, parameters)
    check_task_vector({"a": torch.zeros(2), "b": torch.zeros(2)}, parameters)


def test_permuted_is_one_order_per_name() -> None:
    tau = torch.arange(10_000.0).view(100, 100)
    mixed = permuted(tau, "w")
    assert mixed.shape == tau.shape
    assert torch.equal(mixed, permuted(tau.clone(), "w"))
    assert torch.equal(mixed.flatten().sort().values, tau.flatten())
    assert not torch.equal(mixed, permuted(tau, "v"))
    assert torch.equal(permuted(2 * tau, "w"), 2 * mixed)  # the order does not look at the values
    assert abs(torch.corrcoef(torch.stack([tau.flatten(), mixed.flatten()]))[0, 1]) < 0.04  # 4 standard errors
    # golden: the cache of one version serves the next
    assert permuted(torch.arange(8.0), "w").tolist() == [7, 1, 2, 3, 5, 0, 6, 4]


def test_permuted_is_the_order_of_the_bits() -> None:
    tau = torch.randn(37, generator=torch.Generator().manual_seed(0))
    key = mask_key(0, 0, "permutation", "w")
    bits = [int(entry_bits(torch.tensor([i]), key)) for i in range(37)]
    assert permuted(tau, "w").tolist() == [tau[i].item() for i in sorted(range(37), key=bits.__getitem__)]


def test_flipped_is_the_other_way() -> None:
    assert flipped(torch.tensor([1.0, -2.0, 0.0]), "w").tolist() == [-1.0, 2.0, 0.0]
