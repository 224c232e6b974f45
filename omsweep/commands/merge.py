"""What `omsweep merge` does: one post-hoc model from folders or hub ids to a folder."""

import argparse
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.progress import track

from omsweep.commands import DONE
from omsweep.console import Console, say
from omsweep.merging.posthoc import POSTHOC_METHODS, NamedWeights, PosthocPoint
from omsweep.merging.safetensors_header import weight_files


def execute(options: argparse.Namespace) -> int:
    """Check the request, then compute it and say what was written; a progress bar goes to the terminal.

    Raises:
        ValueError: what is wrong with the request, before anything is read; or models that do not fit each other.
    """
    method, output = options.method, options.output
    models = {"base": options.base, "sft": options.sft, "policy": options.policy}
    point = read_point(method, options.weights, options.density, options.seed)
    needed = point.row.models
    missing = [f"--{model}" for model in needed if models.get(model) is None]
    if missing:
        raise ValueError(f"method {method} needs {', '.join(f'--{m}' for m in needed)}; missing {', '.join(missing)}")

    from omsweep.families.load import find
    from omsweep.merging.checkpoint import check_output
    from omsweep.merging.offline import merge_point

    check_output(Path(output))
    started = time.monotonic()
    found = {model: find(str(models[model])) for model in needed}
    merge_point(
        point,
        {model: folder for model, (folder, _) in found.items()},
        output=output,
        inputs={model: {"path": models[model], "revision": revision} for model, (_, revision) in found.items()},
        track=_progress,
    )
    size = sum(file.stat().st_size for file in weight_files(Path(output)))
    seconds = time.monotonic() - started
    settings = ", ".join(f"{name} {value}" for name, value in point.as_data().items() if name != "method")
    say(f"{output}: {point.row.formula}, {settings}; {size / 1e9:.2f} GB in {seconds:.0f} s")
    for model in sorted(model for model, folder in models.items() if folder is not None and model not in needed):
        say(f"omsweep: note: method {method} has no use for --{model}", error=True)
    return DONE


def read_point(method: str, weights: Sequence[str], density: str, seed: str) -> PosthocPoint:
    """The point that texts from a command line describe; ValueError naming what is wrong and what is allowed."""
    if method not in POSTHOC_METHODS:
        raise ValueError(f"method must be one of {', '.join(POSTHOC_METHODS)}, got {method!r}")
    pairs = [_pair(text) for text in weights]
    weight: float | NamedWeights
    if POSTHOC_METHODS[method].by_name:
        unnamed = [text for text, (part, _) in zip(weights, pairs, strict=True) if not part]
        if unnamed:
            raise ValueError(f"--weight of {method} must be PART=NUMBER, got {unnamed[0]!r}")
        weight = tuple(pairs)
    elif len(pairs) == 1 and not pairs[0][0]:
        weight = pairs[0][1]
    else:
        raise ValueError(f"--weight of {method} must be one number, got {' '.join(weights)!r}")
    if not seed.isdecimal():
        raise ValueError(f"--seed must be a whole number >= 0, got {seed!r}")
    return PosthocPoint(method=method, weight=weight, density=_number("--density", density), seed=int(seed))


def _pair(text: str) -> tuple[str, float]:
    part, _, number = text.rpartition("=")
    return part, _number("--weight", number)


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{option} must be a number, got {text!r}") from None


def _progress(names: Sequence[str]) -> Iterable[str]:
    console = Console(stderr=True)
    return track(names, "tensors", console=console, transient=True, disable=not console.is_terminal)
