"""Diagnostics against sums over every entry: OnDARE at five densities, both semantics, on 1 to 3 shards.

Needs torch and this package alone: `PYTHONPATH=. python benchmarks/diagnostics_exact.py`. Random gradients over 1.5 M
entries, tau of 1e-3 an entry. Two tables. What a trial records (`omsweep.merging.split`, from the weights at the end)
beside float64 sums over the concatenated weights. What the optimizer notes on the way from the entries it watches, with
its standard error, beside sums over every entry of every merge; nan where it has seen too few.
"""

import argparse
import math
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from omsweep.merging.split import split
from omsweep.optim import OnlineMerge, OnlineMergeAdamW
from omsweep.optim.sharding import full, local

SHAPES = {"a": (1000, 700), "b": (600_000,), "c": (400, 500)}
DENSITIES = (1.0, 0.5, 0.05, 5e-4, 1e-5)
ALPHA, LR = 2e-3, 3e-5


class Row(NamedTuple):
    """One run: `exact` and `found` by quantity; `error` is the standard error of what is sampled."""

    semantics: str
    density: float
    shards: int
    exact: dict[str, float]
    found: dict[str, float]
    error: dict[str, float]


def tensors(seed: int, scale: float, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def measured(semantics: str, density: float, shards: int, steps: int, shapes: dict[str, tuple[int, ...]]) -> Row:
    """One run in the process group at hand, which has `shards` ranks."""
    mesh = init_device_mesh("cpu", (shards,))
    start, tau = tensors(0, 0.02, shapes), tensors(1, 1e-3, shapes)
    parameters = {name: nn.Parameter(distribute_tensor(x.clone(), mesh, [Shard(0)])) for name, x in start.items()}
    merge = OnlineMerge("ondare", semantics=semantics, alpha=ALPHA, density=density)
    optimizer = OnlineMergeAdamW(parameters.items(), merge, tau, lr=LR, precision="nearest", path="plain")
    merged = {name: torch.zeros_like(local(p.detach()), dtype=torch.float64) for name, p in parameters.items()}
    own = optimizer._merger.merge

    def watched(name: str, *args: Any, **kwargs: Any) -> Any:
        found = own(name, *args, **kwargs)
        merged[name] += found.tau_kept
        return found

    optimizer._merger.merge = watched  # type: ignore[method-assign]
    for step in range(steps):
        for name, gradient in tensors(100 + step, 1.0, shapes).items():
            parameters[name].grad = distribute_tensor(gradient, mesh, [Shard(0)])
        optimizer.step()
    noted, end = optimizer.diagnostics(), {name: full(p.detach()) for name, p in parameters.items()}
    whole = {name: full(distribute_like(value, parameters[name])) for name, value in merged.items()}
    moved, direction, brought = flat(end) - flat(start), flat(tau), flat(whole)
    square = float(direction @ direction)
    travel, named = float(moved @ direction) / square, split(end, start, tau)
    exact = {
        "travel": travel,
        "residual": float((moved - travel * direction).norm()),
        "displacement": float(moved.norm()),
        "tau_travel": float(brought @ direction) / square,
        "merged_norm": float(brought.norm()),
        "sampled displacement": float(moved.norm()),
    }
    found = named._asdict() | {name: noted[name] for name in ("tau_travel", "merged_norm")}
    found |= {"sampled displacement": noted["displacement"]}
    error = {"tau_travel": noted["tau_travel_se"], "sampled displacement": noted["displacement_se"]}
    return Row(semantics, density, shards, exact, found, error)


def distribute_like(piece: Tensor, parameter: Any) -> Tensor:
    """The DTensor of which every rank holds `piece`, cut as `parameter` is."""
    return type(parameter.data).from_local(
        piece, parameter.device_mesh, parameter.placements, shape=parameter.shape, stride=parameter.stride()
    )


def flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.double().flatten() for value in tensors.values()])


def ranks(rank: int, shards: int, folder: str, steps: int, densities: tuple[float, ...], shapes: Any) -> None:
    """One rank of a group; rank 0 writes the rows."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", store=dist.FileStore(f"{folder}/store-{shards}", shards), rank=rank, world_size=shards
    )
    cases = [(semantics, density) for semantics in ("equations", "released") for density in densities]
    rows = [measured(semantics, density, shards, steps, shapes) for semantics, density in cases]
    if rank == 0:
        torch.save([tuple(row) for row in rows], f"{folder}/rows-{shards}.pt")
    dist.destroy_process_group()


def table(
    shards: tuple[int, ...],
    steps: int,
    densities: tuple[float, ...] = DENSITIES,
    shapes: dict[str, tuple[int, ...]] = SHAPES,
) -> list[Row]:
    """A row for every semantics, density and number of shards; each number of shards is a process group of its own."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in shards:
            torch.multiprocessing.spawn(ranks, (count, folder, steps, densities, shapes), nprocs=count)
            rows += [Row(*row) for row in torch.load(Path(folder) / f"rows-{count}.pt")]
    return rows


def lines(rows: list[Row], names: tuple[str, ...]) -> list[str]:
    """A Markdown table of exact and found values."""
    heads = [f"{name}: exact | found" for name in names]
    said = [f"| semantics | density | shards | {' | '.join(heads)} |", "|---" * (3 + 2 * len(names)) + "|"]
    for row in rows:
        cells = [row.semantics, f"{row.density:g}", str(row.shards)]
        for name in names:
            error = f" +- {row.error[name]:.1g}" if row.error.get(name, 0.0) > 0.0 else ""
            cells += [f"{row.exact[name]:.5g}", f"{row.found[name]:.5g}{error}"]
        said.append(f"| {' | '.join(cells)} |")
    return said


def worst(rows: list[Row], names: tuple[str, ...]) -> float:
    """The largest relative difference of what was found to the exact value."""
    return max(abs(row.found[name] / row.exact[name] - 1.0) for row in rows for name in names)


RECORDED = ("travel", "residual", "displacement")
NOTED = ("tau_travel", "merged_norm", "sampled displacement")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--shards", type=int, nargs="*", default=[1, 2, 3])
    options = parser.parse_args()
    rows = table(tuple(options.shards), options.steps)
    hardware = platform.processor() or platform.machine()
    say = sys.stdout.write
    say(f"{datetime.now(UTC).date().isoformat()}  {hardware}, {os.cpu_count()} CPUs, torch {torch.__version__}\n")
    entries = sum(math.prod(shape) for shape in SHAPES.values())
    say(f"{entries:,} entries, {options.steps} steps, alpha {ALPHA:g}, learning rate {LR:g}\n\n")
    say("What a trial records, from the weights at the end:\n\n")
    say("\n".join(lines(rows, RECORDED)) + f"\n\nlargest relative difference {worst(rows, RECORDED):.1g}\n\n")
    say("What the optimizer notes, from the entries it watches:\n\n")
    say("\n".join(lines(rows, NOTED)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
