"""Peak memory and time of offline merging from folder to folder: random bfloat16 models of 494 M parameters.

Shapes are Qwen2.5-0.5B's: the largest tensor is its embedding, 136 M entries. Each merge runs in a process of its own.
The peak is the kernel's VmHWM: all resident pages, file-backed ones (torch's libraries) included, nothing taken off.
ru_maxrss would be the parent's where that was larger; page cache that no process maps is in neither.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import torch

from omsweep.merging.offline import merge_point
from omsweep.merging.posthoc import POSTHOC_METHODS, PosthocPoint
from omsweep.merging.safetensors_file import METADATA, data_bytes, header_bytes

LAYERS, HIDDEN, INNER, KEYS, VOCABULARY = 24, 896, 4864, 128, 151_936
NOISE_ENTRIES = 1 << 22
MEGABYTE = 1e6


def shapes(layers: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        for name, rows in (("q", HIDDEN), ("k", KEYS), ("v", KEYS), ("o", HIDDEN)):
            yield f"{prefix}.self_attn.{name}_proj.weight", (rows, HIDDEN)
        yield f"{prefix}.mlp.gate_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}.mlp.up_proj.weight", (INNER, HIDDEN)
        yield f"{prefix}.mlp.down_proj.weight", (HIDDEN, INNER)
        yield f"{prefix}.input_layernorm.weight", (HIDDEN,)
        yield f"{prefix}.post_attention_layernorm.weight", (HIDDEN,)
    yield "model.norm.weight", (HIDDEN,)


def write_model(folder: Path, seed: int, layers: int) -> None:
    """Random weights, streamed; the same noise again and again, shifted by one entry from tensor to tensor."""
    folder.mkdir()
    noise = (0.02 * torch.randn(NOISE_ENTRIES, generator=torch.Generator().manual_seed(seed))).bfloat16()
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(header_bytes({name: ("BF16", shape) for name, shape in shapes(layers)}, METADATA))
        for number, (_, shape) in enumerate(shapes(layers)):
            left = torch.Size(shape).numel()
            while left > 0:
                piece = noise[number : number + left]
                stream.write(data_bytes(piece))
                left -= piece.numel()
    (folder / "config.json").write_text("{}")


def resident() -> tuple[float, float]:
    """(peak, present) resident memory of this process, MB."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak, present = (int(fields[name].split()[0]) * 1024 / MEGABYTE for name in ("VmHWM", "VmRSS"))
    return peak, present


def measure_here(method: str, folder: Path) -> dict[str, float | str]:
    row = POSTHOC_METHODS[method]
    weight = {"input": 0.2, "*": 0.5} if row.by_name else 0.5
    point = PosthocPoint(method=method, weight=weight, density=0.3 if row.sparse else 1.0)
    _, before = resident()
    started = time.perf_counter()
    models = {model: folder / model for model in row.models}
    merge_point(point, models, output=folder / method)
    return {
        "method": method,
        "folders": len(row.models),
        "seconds": time.perf_counter() - started,
        "before_mb": before,
        "peak_mb": resident()[0],
    }


def measure(method: str, folder: Path) -> dict[str, float | str]:
    """The same in a process of its own."""
    command = [sys.executable, __file__, "--here", method, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    shutil.rmtree(folder / method)
    found: dict[str, float | str] = json.loads(done.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(POSTHOC_METHODS), choices=list(POSTHOC_METHODS))
    parser.add_argument("--layers", type=int, default=LAYERS, help="fewer make smaller models of the same embedding")
    parser.add_argument("--folder", type=Path, help="where 4 GB of models are written (default: a temporary folder)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--here", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure_here(options.here, options.folder)))
        return 0
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, OMP_NUM_THREADS {threads}, torch {torch.__version__}"
    largest = max(torch.Size(shape).numel() for _, shape in shapes(options.layers)) * 2 / MEGABYTE
    bound = 3 * largest + 300
    parameters = sum(torch.Size(shape).numel() for _, shape in shapes(options.layers))
    print(f"{datetime.now(UTC):%Y-%m-%d}  {machine}")
    print(
        f"{parameters:,} parameters in bfloat16, largest tensor {largest:.0f} MB, bound 3 x that + 300 = {bound:.0f} MB"
    )
    print(f"{'method':16} {'folders':>7} {'seconds':>8} {'before MB':>10} {'peak MB':>8}")
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        wanted = {model for method in options.methods for model in POSTHOC_METHODS[method].models}
        for seed, model in enumerate(sorted(wanted)):
            write_model(Path(scratch) / model, seed, options.layers)
        for method in options.methods:
            row = measure(method, Path(scratch))
            rows.append(row)
            print(
                f"{method:16} {row['folders']:7} {row['seconds']:8.1f} {row['before_mb']:10.0f} {row['peak_mb']:8.0f}",
                flush=True,
            )
    if options.json:
        content = {"machine": machine, "largest_mb": largest, "bound_mb": bound, "rows": rows}
        options.json.write_text(json.dumps(content, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
