"""What rounding leaves of small movements: bfloat16 weights, lr 1e-6, alpha * tau = 1e-10, 500 steps.

Weights are N(0, 0.02), gradients fresh N(0, 1) each step, tau +-1e-3 at alpha 1e-7. Survival of a part is
<applied, intended> / <intended, intended> in the weights as they are held (weights plus low bits), sums in float64: of
the update part and of the merged-in part, each after taking off what the other intended.
"""

import argparse
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from omsweep.optim import OnlineMerge, OnlineMergeAdamW
from omsweep.optim.precision import read_weights

LR, ALPHA, TAU = 1e-6, 1e-7, 1e-3
ROWS = (
    (torch.bfloat16, "nearest"),
    (torch.float32, "nearest"),
    (torch.bfloat16, "stochastic"),
    (torch.float32, "stochastic"),
    (torch.bfloat16, "lazy_tau"),
    (torch.float32, "lazy_tau"),
)


def survival(dtype: torch.dtype, precision: str, steps: int, entries: int) -> tuple[float, float]:
    """(update part, merged-in part)."""
    generator = torch.Generator().manual_seed(0)
    start = (0.02 * torch.randn(entries, generator=generator)).to(dtype)
    tau = {"w": TAU * torch.randn(entries, generator=generator).sign()}
    weight = nn.Parameter(start.clone())
    optimizer = OnlineMergeAdamW(
        [("w", weight)], OnlineMerge("linear", alpha=ALPHA), tau, lr=LR, precision=precision, path="plain"
    )
    moved = torch.zeros(entries, dtype=torch.float64)
    for _ in range(steps):
        weight.grad = torch.randn(entries, generator=generator).to(dtype)
        optimizer.step()
        moved += (1 - ALPHA) * optimizer.updates()["w"].double()
    optimizer.flush()
    applied = read_weights(weight, optimizer.state[weight]).double() - start.double()
    merged = steps * ALPHA * tau["w"].double()
    update_part = ((applied - merged) * moved).sum() / moved.square().sum()
    return float(update_part), float(((applied - moved) * merged).sum() / merged.square().sum())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--entries", type=int, default=4_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}"
    date = datetime.now(UTC).date().isoformat()
    sys.stdout.write(f"{date}  {where}  {options.entries} entries, {options.steps} steps\n")
    sys.stdout.write("weights         precision    update part  merged-in part  seconds\n")
    rows = []
    for dtype, precision in ROWS:
        began = time.perf_counter()
        update, merged = survival(dtype, precision, options.steps, options.entries)
        seconds = time.perf_counter() - began
        name = str(dtype).removeprefix("torch.")
        sys.stdout.write(f"{name:<15} {precision:<12} {update:11.2%} {merged:15.2%} {seconds:8.0f}\n")
        sys.stdout.flush()
        rows.append({"weights": name, "precision": precision, "update": update, "merged": merged})
    if options.json:
        options.json.write_text(json.dumps({"date": date, "environment": where, "rows": rows}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
