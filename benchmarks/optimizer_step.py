"""One optimizer step against torch's fused AdamW: path x method x density x dtype, interleaved in one run.

Needs torch and this package alone: `PYTHONPATH=. python benchmarks/optimizer_step.py`. On a CPU the sets are `small`
(27.5 M parameters in 111 tensors shaped like a small Llama) and `one` (one tensor of 50 M); on a GPU also layers of a
1.5 B and an 8 B model. Ratios are medians of interleaved repeats on one thread.
"""

import argparse
import ctypes
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from omsweep.merging import METHODS
from omsweep.optim import OnlineMerge, OnlineMergeAdamW
from omsweep.optim.inductor import given
from omsweep.optim.kernels import Held

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LR, WEIGHT_DECAY, ALPHA = 1e-6, 0.01, 1e-4
RESET_PEAK = Path("/proc/self/clear_refs")
"""Writing 5 there makes the process's high-water mark its present size."""
WARM_UP = 10
"""Steps before the first that is timed: kernels are compiled, and thresholds have stopped changing fast."""


class Row(NamedTuple):
    """What one line of the table times."""

    label: str
    merge: OnlineMerge
    path: str = "compiled"
    precision: str = "auto"


def llama(hidden: int, ffn: int, layers: int, vocabulary: int, *, heads_share: int = 1) -> list[tuple[int, ...]]:
    """Shapes of a Llama's parameters; `heads_share`: query heads per key-value head."""
    key = hidden // heads_share
    layer = [(hidden, hidden), (key, hidden), (key, hidden), (hidden, hidden), (ffn, hidden), (ffn, hidden)]
    layer += [(hidden, ffn), (hidden,), (hidden,)]
    return [(vocabulary, hidden), *layer * layers, (hidden,), (vocabulary, hidden)]


SETS: dict[str, list[tuple[int, ...]]] = {
    "small": llama(384, 1024, 12, 8192),
    "one": [(50_000_000,)],
    "1.5B-layers": llama(2048, 5632, 6, 32000),
    "8B-layers": llama(4096, 14336, 3, 32000, heads_share=4),
}
CPU_SETS = ("small", "one")


def rows(quick: bool) -> list[Row]:
    def ondare(density: float, semantics: str = "equations", **axes: Any) -> OnlineMerge:
        return OnlineMerge("ondare", semantics=semantics, alpha=ALPHA, density=density, **axes)

    def onties(density: float, **axes: Any) -> OnlineMerge:
        return OnlineMerge("onties", semantics="equations", alpha=ALPHA, density=density, **axes)

    found = [
        Row("adamw", OnlineMerge("adamw")),
        Row("linear", OnlineMerge("linear", alpha=ALPHA)),
        Row("ondare p=.5", ondare(0.5)),
        Row("ondare p=.05", ondare(0.05)),
        Row("ondare p=.05 fixed", ondare(0.05, tau_mask="fixed")),
        Row("onties p=.5", onties(0.5)),
        Row("onties p=.05", onties(0.05)),
        Row("onties p=.05 fixed", onties(0.05, tau_mask="fixed")),
        Row("ondare p=.05 stochastic", ondare(0.05), precision="stochastic"),
    ]
    plain = [Row(f"{row.label} (plain)", row.merge, "plain", row.precision) for row in found if "p=.05" in row.label]
    return found[2:4] + found[6:7] if quick else found + plain


class Timed:
    """A set of parameters with one optimizer over it."""

    def __init__(
        self, shapes: list[tuple[int, ...]], dtype: torch.dtype, device: str, build: Callable[..., Any]
    ) -> None:
        generator = torch.Generator(device).manual_seed(0)
        self.parameters = {
            f"p{i}": nn.Parameter((0.02 * torch.randn(shape, generator=generator, device=device)).to(dtype))
            for i, shape in enumerate(shapes)
        }
        self.tau = {
            name: (1e-3 * torch.randn(p.shape, generator=generator, device=device)).to(dtype)
            for name, p in self.parameters.items()
        }
        self.optimizer = build(self.parameters, self.tau)
        self._generator = generator
        for parameter in self.parameters.values():
            parameter.grad = torch.zeros_like(parameter)

    def step(self) -> float:
        """Seconds of one step on fresh gradients, which are not timed: constant ones would tie every magnitude."""
        for parameter in self.parameters.values():
            parameter.grad.normal_(generator=self._generator)
        synchronize()
        began = time.perf_counter()
        self.optimizer.step()
        synchronize()
        return time.perf_counter() - began

    def peak_bytes(self, tau_bytes: float) -> float:
        """Most bytes per parameter during a step: weight, gradient, state, tau, and what the step itself takes.

        That is what the compiled step keeps for itself and what a step allocates beside all that is held: by the
        allocator on a GPU, by the process's high-water mark on Linux, NaN elsewhere.
        """
        held = sum(2 * p.numel() * p.element_size() for p in self.parameters.values()) + self.state_bytes()
        fused = getattr(self.optimizer, "_fused", None)
        kept = [x for x in vars(fused).values() if isinstance(x, Tensor)] if fused is not None else []
        held += sum(x.numel() * x.element_size() for x in kept)
        entries = sum(p.numel() for p in self.parameters.values())
        return (held + self._allocated_by_a_step()) / entries + tau_bytes

    def _allocated_by_a_step(self) -> float:
        if torch.cuda.is_available():
            synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self.step()
            return torch.cuda.max_memory_allocated() - before
        if not RESET_PEAK.exists():
            return math.nan
        self.step()
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)  # what was freed and kept would be taken again unseen
        RESET_PEAK.write_text("5")
        before = resident("VmRSS")
        self.step()
        return max(0, resident("VmHWM") - before)

    def state_bytes(self) -> int:
        """Bytes of the optimizer's state, without 0-dimensional and sampled entries."""
        large = {p.shape for p in self.parameters.values()}
        return sum(
            value.numel() * value.element_size()
            for state in self.optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor) and value.shape in large
        )


def resident(line: str) -> int:
    """A size of /proc/self/status, bytes."""
    (found,) = (row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(f"{line}:"))
    return 1024 * int(found.split()[1])


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def floor_bytes(row: Row, dtype: torch.dtype, tau_bytes: float) -> float:
    """Least bytes per parameter that a step has to move: weight, gradient, moments, tau, for top-p the update too."""
    size = dtype.itemsize
    moved = 3 * size + 16 + (4 if row.precision == "stochastic" and dtype != torch.float32 else 0)
    moved += 8 if METHODS[row.merge.method].sparsifier == "top" else 0
    return moved + tau_bytes


def tau_bytes(row: Row, dtype: torch.dtype) -> float:
    """Bytes per parameter in which the task vector is held."""
    if row.merge.alpha == 0.0:
        return 0.0
    if row.merge.tau_mask == "fixed":
        return 8.0 * row.merge.density
    return float(dtype.itemsize)


def copy_bandwidth(device: str) -> float:
    """Bytes per second that a large copy reads and writes."""
    source = torch.empty(64_000_000, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(7):
        synchronize()
        began = time.perf_counter()
        target.copy_(source)
        synchronize()
        seconds.append(time.perf_counter() - began)
    return 2 * source.numel() * 4 / statistics.median(seconds)


def measure(name: str, dtype_name: str, device: str, repeats: int, quick: bool) -> list[dict[str, Any]]:
    shapes, dtype = SETS[name], DTYPES[dtype_name]

    def fused(parameters: dict[str, nn.Parameter], _tau: dict[str, Tensor]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters.values(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True)

    baseline = Timed(shapes, dtype, device, fused)
    entries, bandwidth, found = sum(p.numel() for p in baseline.parameters.values()), copy_bandwidth(device), []
    for row in rows(quick):

        def ours(parameters: dict[str, nn.Parameter], tau: dict[str, Tensor], row: Row = row) -> torch.optim.Optimizer:
            return OnlineMergeAdamW(
                parameters.items(),
                row.merge,
                tau,
                lr=LR,
                weight_decay=WEIGHT_DECAY,
                path=row.path,
                precision=row.precision,
            )

        candidate = Timed(shapes, dtype, device, ours)
        for _ in range(WARM_UP):
            candidate.step()
            baseline.step()
        seconds: dict[str, list[float]] = {"ours": [], "fused": []}
        for _ in range(repeats):
            seconds["fused"].append(baseline.step())
            seconds["ours"].append(candidate.step())
        ours_median, fused_median = (statistics.median(seconds[key]) for key in ("ours", "fused"))
        floor = floor_bytes(row, dtype, tau_bytes(row, dtype))
        found.append(
            {
                "set": name,
                "dtype": dtype_name,
                "row": row.label,
                "ms": 1e3 * ours_median,
                "fused_ms": 1e3 * fused_median,
                "ratio": statistics.median(a / b for a, b in zip(seconds["ours"], seconds["fused"], strict=True)),
                "state_bytes": candidate.state_bytes() / entries,
                "tau_bytes": tau_bytes(row, dtype),
                "peak_bytes": candidate.peak_bytes(tau_bytes(row, dtype)),
                "floor_bytes": floor,
                "copy_share": floor * entries / ours_median / bandwidth,
            }
        )
        print_row(found[-1])
        del candidate
    return found


def diagnostics_share(name: str, device: str, repeats: int) -> float:
    """Share of a compiled OnDARE step that watching entries for the diagnostics takes: with, against without.

    One optimizer in one place of memory: two alike differ by more than what is measured.
    """
    merge = OnlineMerge("ondare", semantics="equations", alpha=ALPHA, density=0.05)

    def built(parameters: dict[str, nn.Parameter], tau: dict[str, Tensor]) -> OnlineMergeAdamW:
        return OnlineMergeAdamW(parameters.items(), merge, tau, lr=LR, weight_decay=WEIGHT_DECAY, path="compiled")

    timed = Timed(SETS[name], torch.float32, device, built)
    for _ in range(WARM_UP):
        timed.step()
    ledger, fused = timed.optimizer._ledger, timed.optimizer._fused
    record, watching = ledger.record_seen, dict(fused._flats)
    blind = {name: flat._replace(given=tuple(given(nothing_watched(flat.held)))) for name, flat in watching.items()}

    def milliseconds(watched: bool) -> float:
        fused._flats = watching if watched else blind
        ledger.record_seen = record if watched else (lambda: None)
        return timed.step()

    shares = []
    for turn in range(repeats):
        first = turn % 2 == 0
        times = {watched: milliseconds(watched) for watched in (first, not first)}
        shares.append(1.0 - times[False] / times[True])
    return statistics.median(shares)


def nothing_watched(held: Held) -> Held:
    return held._replace(entries=held.entries[:0], merged=held.merged[:0], seen=held.seen[:0])


def print_row(row: dict[str, Any]) -> None:
    sys.stdout.write(
        f"{row['set']:<12} {row['dtype']:<9} {row['row']:<32}"
        f" {row['ms']:8.1f} {row['fused_ms']:8.1f} {row['ratio']:7.2f}"
        f" {row['state_bytes']:6.2f} {row['tau_bytes']:6.2f} {row['peak_bytes']:6.1f} {row['floor_bytes']:6.1f}"
        f" {row['copy_share']:7.0%}\n"
    )
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--sets", nargs="*", choices=list(SETS))
    parser.add_argument("--dtypes", nargs="*", choices=list(DTYPES), default=list(DTYPES))
    parser.add_argument("--quick", action="store_true", help="three rows only")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    hardware = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    where = f"{hardware}, {os.cpu_count()} CPUs, one thread, torch {torch.__version__}"
    date = datetime.now(UTC).date().isoformat()
    sys.stdout.write(f"{date}  {where}\n")
    sys.stdout.write(
        "set          dtype     row                                    ms fused ms   ratio"
        "  state    tau   peak  floor    copy\n(bytes per parameter: held in the state, held for tau, most in a step"
        " with weight and gradient,\nmoved at least; copy: share of the copy bandwidth)\n"
    )
    found = [
        row
        for name in options.sets or (SETS if device == "cuda" else CPU_SETS)
        for dtype in options.dtypes
        for row in measure(name, dtype, device, options.repeats, options.quick)
    ]
    share = diagnostics_share(options.sets[0] if options.sets else "small", device, 8 * options.repeats)
    sys.stdout.write(f"diagnostics: {share:.1%} of a compiled OnDARE step\n")
    if options.json:
        options.json.write_text(
            json.dumps({"date": date, "environment": where, "diagnostics": share, "rows": found}, indent=2) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
