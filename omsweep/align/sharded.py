"""FSDP2 under the transformers Trainer: the model is cut into shards while it trains, and whole again afterwards.

FSDP2 is turned on in a trainer that stands already. Asked for through its arguments, accelerate would leave it out on
CPUs without a word, and TRL would load a reference model, which prepared data make needless. What is set here is not
public: the tests of this file and of worker groups guard it.
"""

from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType, FullyShardedDataParallelPlugin
from accelerate.state import AcceleratorState, PartialState
from transformers import PreTrainedModel
from transformers.trainer import FSDP_MODEL_NAME

from omsweep.optim.sharding import full


def sharded_arguments() -> dict[str, Any]:
    """Trainer arguments that sharding needs, made anew for each trainer, which writes into them.

    Gradients are reduced after every pass: accumulated first, they would lie whole on every worker.
    """
    return {"accelerator_config": {"gradient_accumulation_kwargs": {"sync_each_batch": True}}}


def shard(trainer: Any) -> None:
    """Have a trainer cut its model into one shard per worker when its training starts.

    One unit per decoder layer; weights are freed after a layer's forward pass and gathered anew for its backward pass.
    Checkpoints are torch.distributed.checkpoint folders, into which each worker writes its part; together they are
    whole, and another number of workers could read them. Nothing is gathered: gloo and NCCL do not take the int16 low
    bits of bfloat16 weights, and no worker could hold the moments of a large model.
    The trainer's arguments must include `sharded_arguments()`.
    """
    AcceleratorState().fsdp_plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2,
        auto_wrap_policy="transformer_based_wrap",
        reshard_after_forward=True,
        state_dict_type="SHARDED_STATE_DICT",
        cpu_ram_efficient_loading=False,
    )
    for state in (PartialState, AcceleratorState):
        state().distributed_type = DistributedType.FSDP
    trainer.is_fsdp_enabled = True


@torch.no_grad()
def gather_weights(sharded: torch.nn.Module, model: PreTrainedModel) -> None:
    """Copy the weights of a sharded model, one after another, into a whole one of the same architecture."""
    whole = dict(model.named_parameters())
    for name, parameter in sharded.named_parameters():
        whole[name].copy_(full(parameter.detach()))


def check_same_sharding(checkpoint: Path, *, sharded: bool) -> None:
    """Refuse a checkpoint of a run that was sharded otherwise: it holds the state under other names.

    Raises:
        ValueError: one of the two runs is sharded and the other is not.
    """
    saved = (checkpoint / f"{FSDP_MODEL_NAME}_0").is_dir()
    if saved != sharded:
        names = {True: "fsdp2", False: "ddp"}
        raise ValueError(f"sharding must be {names[saved]}, as when {checkpoint.name} was saved, got {names[sharded]}")
