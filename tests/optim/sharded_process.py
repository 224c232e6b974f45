"""One rank of a gloo group: steps sharded toys and writes full weights, diagnostics and collective counts to a folder.

Run as `python sharded_process.py FOLDER RANK WORLD TASK:HOW ...`; used by `test_sharding.py`.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from omsweep.optim import OnlineMerge, OnlineMergeAdamW, OnlineMergeOptimizer, compiled, diagnostics
from omsweep.optim.inductor import on_given
from omsweep.optim.kernels import Held, Kind

SHAPES = {"a": (7, 5), "b": (5,), "c": (3, 4, 2), "d": (257, 3), "e": (2, 33)}
CUTS = {"a": 0, "b": 0, "c": 0, "d": 0, "e": 1}  # the dimension along which each is sharded
STEPS = 8
CASES = {
    "adamw": OnlineMerge("adamw"),
    "ondare": OnlineMerge("ondare", semantics="equations", alpha=0.1, density=0.4),
    "ondare-released-k3": OnlineMerge("ondare", semantics="released", alpha=0.1, density=0.4, gap_steps=3),
    "onties": OnlineMerge("onties", semantics="equations", alpha=0.1, density=0.3),
    "onties-released-k3": OnlineMerge("onties", semantics="released", alpha=0.1, density=0.3, gap_steps=3),
    "onties-norm": OnlineMerge("onties", semantics="equations", alpha=0.1, density=0.3, rescale="norm"),
    "della": OnlineMerge("della", alpha=0.1, density=0.4),
    "anchor": OnlineMerge("anchor", alpha=0.1),
    "ema": OnlineMerge("ema", alpha=0.1, average_rate=0.3),
}


class Toy(nn.Module):
    """The same parameters, task vector and gradients on every rank and in every world."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        for name, value in tensors(0).items():
            self.register_parameter(name, nn.Parameter(value.to(dtype)))


def tensors(seed: int, scale: float = 1.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def task_vector() -> dict[str, Tensor]:
    tau = tensors(1, 0.5)
    tau["d"] = (4 * tau["d"]).round() / 4  # ties, and zeros
    return tau


def gradients(step: int) -> dict[str, Tensor]:
    found = tensors(100 + step, 0.1)
    if step == 1:
        found = {name: value.sign() for name, value in found.items()}  # every magnitude ties
    return found


def sharded(model: Toy, how: str) -> Toy:
    """`cut`: each parameter along its dimension; `fsdp2`: fully_shard; `hsdp`: replicated twice, then sharded."""
    world = dist.get_world_size()
    if how == "plain":
        return model
    if how == "cut":
        mesh = init_device_mesh("cpu", (world,))
        for name, dim in CUTS.items():
            parameter = nn.Parameter(distribute_tensor(getattr(model, name).detach(), mesh, [Shard(dim)]))
            setattr(model, name, parameter)
        return model
    mesh = init_device_mesh("cpu", (world,))
    if how == "hsdp":
        mesh = init_device_mesh("cpu", (2, world // 2), mesh_dim_names=("replicate", "shard"))
    fully_shard(model, mesh=mesh)
    return model


def set_gradients(model: Toy, step: int) -> None:
    for name, full in gradients(step).items():
        parameter = getattr(model, name)
        grad = full.to(parameter.dtype)
        if isinstance(parameter, DTensor):
            grad = distribute_tensor(grad, parameter.device_mesh, parameter.placements)
        parameter.grad = grad


def full(model: Toy) -> dict[str, Tensor]:
    return {
        name: (p.full_tensor() if isinstance(p, DTensor) else p).detach().clone()
        for name, p in model.named_parameters()
    }


def run(model: Toy, optimizer: torch.optim.Optimizer, steps: range) -> dict[str, Tensor]:
    for step in steps:
        set_gradients(model, step)
        optimizer.step()
    return full(model)


def optimizer_for(model: Toy, merge: OnlineMerge, **settings: Any) -> OnlineMergeAdamW:
    return OnlineMergeAdamW(
        model.named_parameters(), merge, task_vector(), tensors(0), lr=0.02, weight_decay=0.1, **settings
    )


def weights_task(how: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, merge in CASES.items():
        model = sharded(Toy(), how)
        optimizer = optimizer_for(model, merge)
        found[name] = run(model, optimizer, range(1, STEPS + 1))
        found[f"{name}/diagnostics"] = optimizer.diagnostics()
    low = sharded(Toy(torch.bfloat16), how)
    found["compiled"] = compiled_weights(how)
    lower = optimizer_for(low, CASES["ondare"])
    found["bfloat16"] = run(low, lower, range(1, STEPS + 1))
    found["bfloat16/diagnostics"] = lower.diagnostics()
    inner = sharded(Toy(), how)
    wrapped = OnlineMergeOptimizer(
        torch.optim.SGD(inner.parameters(), lr=0.1), inner.named_parameters(), CASES["onties"], task_vector()
    )
    found["wrapper"] = run(inner, wrapped, range(1, STEPS + 1))
    return found


def compiled_weights(how: str) -> dict[str, Tensor]:
    """Weights and what was merged in of the compiled path, its kernels not compiled."""
    with mock.patch.multiple(compiled, kernel=interpreted), mock.patch.object(diagnostics, "vectors_kernel", called):
        model = sharded(Toy(), how)
        optimizer = optimizer_for(model, CASES["ondare"], path="compiled")
        weights = run(model, optimizer, range(1, STEPS + 1))
        optimizer.state_dict()  # makes samples whole
    samples = {name: optimizer.state[p]["merged_sample"] for name, p in model.named_parameters()}
    return weights | {f"{name}/merged": sample.clone() for name, sample in samples.items()}


def interpreted(function: Any, kind: Kind, held: Held, *others: Tensor) -> Any:
    of_given = on_given(function, kind, [tensor is not None for tensor in (*held, *others)])
    return lambda given: of_given(*given)


def called(function: Any, *rows: Tensor) -> Tensor:
    return function(*rows)


def swapped_task(how: str) -> dict[str, Any]:
    """As accelerate does under FSDP2: built over plain parameters, whose places sharded ones take later."""
    plain = Toy()
    optimizer = optimizer_for(plain, CASES["onties"])
    model = sharded(Toy(), how)
    optimizer.param_groups[0]["params"] = list(model.parameters())
    return {"onties": run(model, optimizer, range(1, STEPS + 1))}


def saved_cases() -> Iterator[tuple[str, OnlineMerge, Toy]]:
    yield "onties-released-k3", CASES["onties-released-k3"], Toy()
    yield "ondare", CASES["ondare"], Toy()
    yield "bfloat16", CASES["ondare"], Toy(torch.bfloat16)


def save_task(folder: Path, how: str) -> dict[str, Any]:
    for name, merge, toy in saved_cases():
        model = sharded(toy, how)
        optimizer = optimizer_for(model, merge)
        run(model, optimizer, range(1, 5))
        state = {"model": model.state_dict(), "optimizer": get_optimizer_state_dict(model, optimizer)}
        dcp.save(state, checkpoint_id=folder / f"checkpoint-{name}")
    return {}


def load_task(folder: Path, how: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, merge, toy in saved_cases():
        model = sharded(toy, how)
        optimizer = optimizer_for(model, merge)
        state = {"model": model.state_dict(), "optimizer": get_optimizer_state_dict(model, optimizer)}
        dcp.load(state, checkpoint_id=folder / f"checkpoint-{name}")
        model.load_state_dict(state["model"])
        set_optimizer_state_dict(model, optimizer, optim_state_dict=state["optimizer"])
        found[name] = run(model, optimizer, range(5, STEPS + 1))
        found[f"{name}/diagnostics"] = optimizer.diagnostics()
    return found


def collectives_task(how: str) -> dict[str, Any]:
    """All-reduces of each step, and over how many ranks."""
    found: dict[str, Any] = {}
    plain = dist.all_reduce
    for name in ("adamw", "ondare", "onties", "della"):
        model = sharded(Toy(), how)
        optimizer = optimizer_for(model, CASES[name])
        per_step = []
        for step in range(1, 5):
            sizes: list[int] = []

            def counted(tensor: Tensor, *a: Any, sizes: list[int] = sizes, **k: Any) -> Any:
                sizes.append(dist.get_world_size(k.get("group")))
                return plain(tensor, *a, **k)

            set_gradients(model, step)
            optimizer._items()  # laying the state out gathers the samples of the diagnostics
            dist.all_reduce = counted
            optimizer.step()
            dist.all_reduce = plain
            per_step.append(sizes)
        found[name] = per_step
    return found


TASKS = {"weights": weights_task, "swapped": swapped_task, "collectives": collectives_task}
SAVING = {"save": save_task, "load": load_task}


def main(folder: Path, rank: int, world: int, asked: list[str]) -> None:
    store = dist.FileStore(str(folder / f"store-{world}"), world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    torch.set_num_threads(1)
    for task, how in (pair.split(":") for pair in asked):
        found = TASKS[task](how) if task in TASKS else SAVING[task](folder, how)
        if rank == 0:
            torch.save(found, folder / f"{task}-{how}-{world}.pt")
        dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
