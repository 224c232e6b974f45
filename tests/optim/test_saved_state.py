"""Saving, loading and asking for state: nothing changes the run, and nothing but plain data is saved."""

import copy
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from omsweep.optim.adamw import GROUP_KEYS, STATE_KEYS, OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge

STEPS = 7


def saved_and_read(state_dict: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def test_a_resume_at_any_step_equals_the_uninterrupted_run(toy, merge_case: OnlineMerge) -> None:
    def fresh(parameters):
        return OnlineMergeAdamW(
            parameters.items(), merge_case, toy.task_vector(), toy.tensors(0), lr=0.02, weight_decay=0.1
        )

    whole = toy.parameters()
    uninterrupted = fresh(whole)
    expected = toy.run(uninterrupted, whole, range(1, STEPS + 1))[-1]
    for cut in range(merge_case.gap_steps + 1):
        first = toy.parameters()
        optimizer = fresh(first)
        toy.run(optimizer, first, range(1, cut + 1))
        state = saved_and_read(optimizer.state_dict())
        second = {name: nn.Parameter(value.detach().clone()) for name, value in first.items()}
        resumed = fresh(second)
        resumed.load_state_dict(state)
        weights = toy.run(resumed, second, range(cut + 1, STEPS + 1))[-1]
        assert all(torch.equal(weights[name], expected[name]) for name in expected), cut
        if cut:  # before the first step nobody remembers where the weights started
            assert str(resumed.diagnostics()) == str(uninterrupted.diagnostics()), cut


def test_state_is_plain_and_holds_no_tau(toy, merge_case: OnlineMerge) -> None:
    parameters, tau = toy.parameters(), toy.task_vector()
    optimizer = OnlineMergeAdamW(parameters.items(), merge_case, tau, toy.tensors(0))
    toy.run(optimizer, parameters, range(1, 4))
    saved = optimizer.state_dict()
    for state in saved["state"].values():
        expected = set(STATE_KEYS) - (set() if merge_case.gap_steps > 1 else {"gap_update"})
        assert set(state) == expected | ({"average"} if merge_case.method == "ema" else set())
        assert all(isinstance(value, Tensor) for value in state.values())
        held = [value for value in state.values() if value.shape in {t.shape for t in tau.values()}]
        assert not any(torch.equal(value, other) for value in held for other in tau.values() if value.numel() > 1)
    torch_keys = {"params", "param_names", "lr", "betas", "eps", "weight_decay"}
    for group in saved["param_groups"]:
        assert set(group) == torch_keys | set(GROUP_KEYS)
        plain = {key: value for key, value in group.items() if key not in ("params", "param_names")}
        for value in plain.values():
            assert isinstance(value, int | float | str | tuple)
    assert saved_and_read(saved).keys() == saved.keys()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(x)))


def train(model: Model, optimizer: OnlineMergeAdamW, steps: range) -> None:
    for step in steps:
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


def model_and_optimizer(merge: OnlineMerge) -> tuple[Model, OnlineMergeAdamW]:
    model = Model()
    tau = {
        name: 0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(9))
        for name, value in model.named_parameters()
    }
    start = {name: value.detach() + 0.1 for name, value in model.named_parameters()}
    return model, OnlineMergeAdamW(model.named_parameters(), merge, tau, start, lr=0.02, weight_decay=0.1)


def weights_of(model: Model) -> list[Tensor]:
    return [value.detach().clone() for value in model.parameters()]


def test_being_asked_for_state_changes_nothing(merge_case: OnlineMerge) -> None:
    """torch.distributed.checkpoint steps a fresh optimizer with lr = 0 and zero gradients."""
    asked_model, asked = model_and_optimizer(merge_case)
    before = weights_of(asked_model)
    got = get_optimizer_state_dict(asked_model, asked)
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(asked_model), strict=True))
    set_optimizer_state_dict(asked_model, asked, optim_state_dict=got)
    assert all(torch.equal(a, b) for a, b in zip(before, weights_of(asked_model), strict=True))
    assert asked.param_groups[0]["steps_taken"] == 0
    plain_model, plain = model_and_optimizer(merge_case)
    steps = range(1, 2 * merge_case.gap_steps + 1)
    train(asked_model, asked, steps)
    train(plain_model, plain, steps)
    assert all(torch.equal(a, b) for a, b in zip(weights_of(asked_model), weights_of(plain_model), strict=True))
    assert str(asked.diagnostics()) == str(plain.diagnostics())


@pytest.mark.parametrize("flatten", [False, True])
def test_resume_through_torch_distributed_checkpoint(flatten: bool) -> None:
    merge = OnlineMerge("onties", semantics="equations", alpha=0.1, density=0.5, gap_steps=3)
    options = StateDictOptions(flatten_optimizer_state_dict=flatten)
    whole, optimizer = model_and_optimizer(merge)
    train(whole, optimizer, range(1, 5))
    saved = copy.deepcopy(get_optimizer_state_dict(whole, optimizer, options=options))
    second, resumed = model_and_optimizer(merge)
    second.load_state_dict(copy.deepcopy(whole.state_dict()))
    set_optimizer_state_dict(second, resumed, optim_state_dict=saved, options=options)
    train(whole, optimizer, range(5, 9))
    train(second, resumed, range(5, 9))
    assert all(torch.equal(a, b) for a, b in zip(weights_of(whole), weights_of(second), strict=True))
    assert resumed.diagnostics() == optimizer.diagnostics()


def test_moments_of_low_precision_weights_come_back_in_float32(toy) -> None:
    def make():
        parameters = {n: nn.Parameter(v.bfloat16()) for n, v in toy.tensors(0).items()}
        return parameters, OnlineMergeAdamW(parameters.items(), OnlineMerge("linear", alpha=0.1), toy.task_vector())

    parameters, optimizer = make()
    for name, value in toy.tensors(1, 0.1).items():
        parameters[name].grad = value.bfloat16()
    optimizer.step()
    others, other = make()
    other.load_state_dict(saved_and_read(optimizer.state_dict()))
    for name, parameter in parameters.items():
        state = other.state[others[name]]
        for key in ("exp_avg", "exp_avg_sq", "start_sample", "merged_sample"):
            assert state[key].dtype == torch.float32
            assert torch.equal(state[key], optimizer.state[parameter][key])
        assert state["low_bits"].dtype == torch.int16
        assert torch.equal(state["low_bits"], optimizer.state[parameter]["low_bits"])


def test_wrappers_in_names_change_neither_masks_nor_loading(toy) -> None:
    merge = OnlineMerge("ondare", semantics="equations", alpha=0.1, density=0.5)
    bare, wrapped = toy.parameters(), toy.parameters()
    one = OnlineMergeAdamW(bare.items(), merge, toy.task_vector())
    two = OnlineMergeAdamW([(f"module._orig_mod.{n}", p) for n, p in wrapped.items()], merge, toy.task_vector())
    first, second = toy.run(one, bare, range(1, 4))[-1], toy.run(two, wrapped, range(1, 4))[-1]
    assert all(torch.equal(first[name], second[name]) for name in first)
    two.load_state_dict(one.state_dict())


def test_states_that_do_not_fit_are_refused(toy) -> None:
    parameters = toy.parameters()
    optimizer = OnlineMergeAdamW(parameters.items(), OnlineMerge("linear", alpha=0.1, gap_steps=2), toy.task_vector())
    saved = optimizer.state_dict()
    other = OnlineMergeAdamW(parameters.items(), OnlineMerge("linear", alpha=0.1), toy.task_vector())
    with pytest.raises(ValueError, match="gap_steps must be 2, as when the state was saved, got 1"):
        other.load_state_dict(saved)
    turned = OnlineMergeAdamW(
        list(parameters.items())[::-1], OnlineMerge("linear", alpha=0.1, gap_steps=2), toy.task_vector()
    )
    with pytest.raises(ValueError, match="names other parameters, or in another order, from number 0"):
        turned.load_state_dict(saved)
    with pytest.raises(ValueError, match="not saved by an online merging optimizer"):
        optimizer.load_state_dict(torch.optim.AdamW(parameters.values()).state_dict())


@pytest.mark.slow
def test_trainer_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    """transformers' Trainer: accelerate prepares the optimizer, saves it and loads it with weights_only."""
    from transformers import Trainer, TrainingArguments

    merge = OnlineMerge("ondare", semantics="equations", alpha=0.05, density=0.5, gap_steps=3)
    data = [
        {"x": torch.randn(4, generator=torch.Generator().manual_seed(i)), "labels": torch.zeros(2)} for i in range(32)
    ]

    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Model()

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": (self.inner(x) - labels).square().mean()}

    class MergingTrainer(Trainer):
        def create_optimizer(self, model: Any = None) -> Any:
            if self.optimizer is None:
                pairs = list(self.model.named_parameters())
                groups = [{"params": pairs[:2], "weight_decay": 0.1}, {"params": pairs[2:]}]
                tau = {name: torch.full_like(value, 0.1) for name, value in pairs}
                self.optimizer = OnlineMergeAdamW(groups, merge, tau, lr=0.02)
            return self.optimizer

    def trainer(folder: str) -> Any:
        arguments = TrainingArguments(
            output_dir=str(tmp_path / folder),
            max_steps=8,
            per_device_train_batch_size=4,
            learning_rate=0.02,
            warmup_steps=2,
            save_steps=4,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            logging_strategy="no",
        )
        return MergingTrainer(model=WithLoss(), args=arguments, train_dataset=data)

    whole = trainer("whole")
    whole.train()
    resumed = trainer("resumed")
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    left, right = (t.optimizer.optimizer.diagnostics() for t in (whole, resumed))
    assert left == right
    assert left["tau_travel"] > 0


@pytest.mark.parametrize("precision", ["nearest", "lazy_tau"])
def test_a_loaded_state_can_be_looked_at_before_the_first_step(toy, precision: str) -> None:
    def fresh(parameters):
        merge = OnlineMerge("linear", alpha=0.1)
        return OnlineMergeAdamW(parameters.items(), merge, toy.task_vector(), precision=precision)

    parameters = toy.parameters()
    optimizer = fresh(parameters)
    toy.run(optimizer, parameters, range(1, 4))
    copies = {name: nn.Parameter(value.detach().clone()) for name, value in parameters.items()}
    resumed = fresh(copies)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert resumed.diagnostics() == pytest.approx(optimizer.diagnostics(), nan_ok=True)
    for taken in (optimizer, resumed):
        taken.flush()
    assert all(torch.equal(copies[name], value) for name, value in parameters.items())
    assert resumed.diagnostics() == pytest.approx(optimizer.diagnostics(), nan_ok=True)


def test_a_cleared_state_starts_anew(toy) -> None:
    parameters = toy.parameters()
    optimizer = OnlineMergeAdamW(parameters.items(), OnlineMerge("adamw"))
    toy.run(optimizer, parameters, range(1, 3))
    optimizer.state.clear()
    toy.run(optimizer, parameters, range(3, 4))
    assert float(optimizer.state[parameters["body.bias"]]["step"]) == 1.0
