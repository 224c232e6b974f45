import torch
from transformers import Trainer, TrainingArguments

from omsweep.align.isolation import isolated_training
from omsweep.align.optimizer import OnlineMergeFactory, decay_groups
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge


def test_groups_are_those_of_the_trainers_own_optimizer(policy, tmp_path):
    with isolated_training(policy):
        trainer = Trainer(policy, TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", weight_decay=0.1))
        theirs = trainer.create_optimizer().param_groups
        ours = decay_groups(policy, decaying=trainer.get_decay_parameter_names(policy), weight_decay=0.1)
    assert [group["weight_decay"] for group in ours] == [group["weight_decay"] for group in theirs] == [0.1, 0.0]
    for our, their in zip(ours, theirs, strict=True):
        assert [id(parameter) for _, parameter in our["params"]] == [id(parameter) for parameter in their["params"]]


def test_the_trainer_calls_the_factory_with_the_model(policy, tmp_path):
    with isolated_training(policy):
        trainer = Trainer(policy, TrainingArguments(str(tmp_path), use_cpu=True, report_to="none"))
        trainer.optimizer_cls_and_kwargs = (
            OnlineMergeFactory,
            {
                "merge": OnlineMerge("adamw"),
                "task_vector": None,
                "reference": None,
                "decays": trainer.get_decay_parameter_names,
                "lr": 0.5,
                "weight_decay": 0.0,
            },
        )
        optimizer = trainer.create_optimizer()
    assert isinstance(optimizer, OnlineMergeAdamW)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5}


def test_frozen_parameters_and_empty_groups_are_left_out():
    model = torch.nn.Linear(2, 2)
    model.weight.requires_grad_(False)
    groups = decay_groups(model, decaying=["weight"], weight_decay=0.1)
    assert groups == [{"params": [("bias", model.bias)], "weight_decay": 0.0}]
