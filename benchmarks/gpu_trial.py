"""Trials on one GPU as a plain script: no Ray, no MLflow; torch, transformers, trl, datasets, lm-eval and the scorers.

AdamW, OnDARE and OnTIES at matched learning rates (`match: share`) from SmolLM2-135M's SFT model (extra `smollm2`), in
blocks of one training seed and one learning rate: all methods of a block, then the next rate, then the next seed, as
many as `--minutes` hold. Preparation (SFT model, judge, pairs, reference scores) counts and is cached. Every finished
trial is a line of `trials.jsonl` in `--output`; the same command goes on where it stopped, and other options than the
number of seeds and the learning rates need another `--output`: `space.json` there says which its trials have. At the
end `table.md` has the means over seeds and the methods' differences to AdamW within blocks, from three blocks on with
90 % t intervals.

    PYTHONPATH=. python benchmarks/gpu_trial.py --minutes 25 --output gpu-trials
    PYTHONPATH=. python benchmarks/gpu_trial.py --toy --output toy      # random models, seconds on a CPU

The learning rate is AdamW-equivalent: each method's own is scaled from it. Several processes may share a GPU and the
cache, each with its own `--output` and `--learning-rates`; `--join` makes one table of their outputs, whose other
options must be the same.
"""

import argparse
import json
import math
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from omsweep.families.tiny.architecture import random_family
from omsweep.plan.design import draw
from omsweep.provenance import revision, versions
from omsweep.results.comparison.clusters import clustered_mean
from omsweep.space.load import load_space
from omsweep.space.search_space import SearchSpace
from omsweep.space.specs import preparation
from omsweep.store.records import Prepared, TrialSpec
from omsweep.strict_json import flatten
from omsweep.trial.prepare.family import prepare_family
from omsweep.trial.prepare.reference import score_references
from omsweep.trial.session import policy_folder, run_session
from omsweep.worlds.tiny.preferences import preference_prompts

ROOT = Path(__file__).resolve().parents[1]
SPACE = ROOT / "search_spaces" / "smollm2.yaml"
BASELINE = "adamw"
LEVEL = 0.9
"""Of the intervals: t over a method's blocks."""
FIELDS = ("reward", "reward_se_items", "tax", "tax_se_items", "tax_regressed", "kl", "length_ratio", "tokens", "steps")
COLUMNS = {
    "reward": ("reward", "reward"),
    "tax": ("tax", "tax, points"),
    "kl": ("kl", "KL, nats"),
    "displacement": ("diagnostics", "displacement"),
    "tau_travel": ("diagnostics", "tau travel"),
    "merge_ratio": ("diagnostics", "merge ratio"),
    "train": ("seconds", "train, s"),
    "evaluate": ("seconds", "score, s"),
}
"""Number -> where a line has it, and the table's heading."""
TOY_SIZES = ("steps", "batch_size", "max_length", "dtype", "limit")
"""Options that `--toy` fixes."""
LEVELS = ("name", "design.seeds", "space.learning_rate.choice")
"""Settings that tell no two trials of one id apart: what else a space says is the same for all lines of a table."""

Line = dict[str, Any]


def real_space(options: argparse.Namespace) -> SearchSpace:
    """Search space file and the script's own sizes: sequences of up to 512 tokens, batches of 32."""
    return load_space(SPACE, [
        "preferences=smollm2-large",
        f"space.learning_rate={levels(options.learning_rates)}",
        "design.cross=[learning_rate]",
        f"design.seeds={options.seeds}",
        f"train.steps={options.steps}",
        f"train.batch_size={options.batch_size}",
        f"train.max_length={options.max_length}",
        f"train.dtype={options.dtype}",
        f"evaluate.limit={'null' if options.limit is None else options.limit}",
        "evaluate.samples=4",
        "evaluate.batch_size=256",
    ])  # fmt: skip


def toy_space(options: argparse.Namespace, folder: Path) -> SearchSpace:
    """The same on two untrained tiny models and a few pairs, two steps each."""
    models = {
        kind: random_family(folder / kind, seed=seed, hidden_size=32, intermediate_size=32)
        for seed, kind in enumerate(("base", "sft"))
    }
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in toy_pairs(32)))
    return load_space(SPACE, [
        f"families=[{{name: toy, base: {models['base']}, sft: {models['sft']}}}]",
        f"preferences={{path: {folder / 'pairs.jsonl'}}}",
        f"space.learning_rate={levels(options.learning_rates)}",
        "design.cross=[learning_rate]",
        f"design.seeds={options.seeds}",
        "train.steps=2",
        "train.batch_size=4",
        "evaluate={tax: tiny, reward: tiny, samples: 1, max_new_tokens: 8, limit: 4}",
    ])  # fmt: skip


def levels(rates: Sequence[float]) -> str:
    """Numbers as YAML takes them: `1e-05` is a word there."""
    return "{choice: [" + ", ".join(f"{rate:.6e}" for rate in rates) + "]}"


def toy_pairs(count: int) -> Iterator[Line]:
    for record in preference_prompts(4 * count, seed=0):
        if record["kind"] == "skill" and record["answer"] != record["wrong"]:
            yield {"prompt": record["prompt"], "chosen": record["answer"], "rejected": record["wrong"]}


def blocks_of(space: SearchSpace) -> list[tuple[TrialSpec, ...]]:
    """The design's trials as blocks of all methods at one training seed and learning rate, one seed after another."""

    specs = draw(space)
    seeds = list(dict.fromkeys(spec.seed for spec in specs))

    def place(spec: TrialSpec) -> tuple[int, float]:
        return seeds.index(spec.seed), spec.params["learning_rate"]

    return [tuple(block) for _, block in groupby(sorted(specs, key=place), key=place)]


def settings_of(space: SearchSpace, output: Path) -> Line:
    """What all trials of an output share: key path -> value, without `LEVELS`, paths as seen from the output."""
    content = json.loads(json.dumps(space.resolved()).replace(str(output), "."))
    return {path: value for path, value in flatten(content).items() if path not in LEVELS}


def check_settings(settings: Line, output: Path) -> None:
    """ValueError unless the trials in an output, if any, were made with these settings."""
    if not (output / "trials.jsonl").exists():
        return
    if not (output / "space.json").exists():
        raise ValueError(f"{output} holds trials but no space.json that says with which options they were made")
    kept = json.loads((output / "space.json").read_text())
    others = [key for key in dict.fromkeys([*settings, *kept]) if settings.get(key) != kept.get(key)]
    if others:
        said = "; ".join(f"{key} {kept.get(key)!r}, not {settings.get(key)!r}" for key in others)
        raise ValueError(f"{output} holds trials of other options: {said}")


def begin(space: SearchSpace, output: Path) -> None:
    """Refuse an output whose trials have other settings, and note them in a new one; raises ValueError."""
    settings = settings_of(space, output)
    check_settings(settings, output)
    if not (output / "trials.jsonl").exists():
        (output / "space.json").write_text(json.dumps(settings, indent=2) + "\n")


def run(space: SearchSpace, output: Path, seconds: float) -> list[Line]:
    """Every block that fits into `seconds` from now, preparation included; returns all lines of the output."""
    started, kept = time.monotonic(), output / "trials.jsonl"
    lines = kept_lines([output])
    wanted = preparation(space, space.families[0].name)
    prepared, _ = prepare_family(wanted, tqdm)
    score_references(wanted, prepared, tqdm)
    say(f"prepared in {time.monotonic() - started:.0f} s")
    longest = max((line["wall"] for line in lines), default=0.0)
    for block in blocks_of(space):
        missing = [spec for spec in block if spec.trial_id not in {line["trial_id"] for line in lines}]
        left = seconds - (time.monotonic() - started)
        if missing and left < len(missing) * longest:
            say(f"stopping: {left:.0f} s are left, a block takes {len(block) * longest:.0f} s")
            break
        for spec in missing:
            line = one_trial(spec, prepared, output)
            longest = max(longest, line["wall"])
            lines.append(line)
            with kept.open("a") as stream:
                stream.write(json.dumps(line, allow_nan=False) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            say(
                f"{line['trial_id']}: {line['state']}, reward {line['reward']}, tax {line['tax']}, {line['wall']:.0f} s"
            )
    return lines


def one_trial(spec: TrialSpec, prepared: Prepared, output: Path) -> Line:
    """Train and score a trial; its policy is not kept."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()
    outcome = run_session(spec, prepared, output, started=time.time())
    assert outcome is not None, "there is one rank"
    shutil.rmtree(policy_folder(output, spec.trial_id), ignore_errors=True)
    shutil.rmtree(output / "work", ignore_errors=True)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return {
        **{name: getattr(spec, name) for name in ("trial_id", "method", "seed")},
        "learning_rate": spec.params["learning_rate"],
        **{name: getattr(outcome, name) for name in ("state", "learning_rate_applied", "accelerator", "error")},
        **{name: finite(getattr(outcome, name)) for name in FIELDS},
        "diagnostics": {name: finite(value) for name, value in outcome.diagnostics.items()},
        "seconds": dict(outcome.seconds),
        "gpu_peak_gib": None if peak is None else peak / 2**30,
        "wall": time.monotonic() - began,
    }


def finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(lines: Sequence[Line]) -> str:
    """Markdown: means over seeds per learning rate and method, then differences to AdamW within blocks."""
    done = [line for line in lines if line["state"] == "completed"]
    rates, methods = sorted({line["learning_rate"] for line in done}), list(dict.fromkeys(x["method"] for x in done))
    rows = ["| learning rate | method | trials | " + " | ".join(title for _, title in COLUMNS.values()) + " |"]
    rows.append("|---:|---|---:|" + "---:|" * len(COLUMNS))
    differences = [
        "| learning rate | method | blocks | reward - AdamW's | tax - AdamW's | KL - AdamW's |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    for rate in rates:
        found = {m: {x["seed"]: x for x in done if (x["method"], x["learning_rate"]) == (m, rate)} for m in methods}
        for method, runs in found.items():
            cells = [spread([number(line, name) for line in runs.values()]) for name in COLUMNS]
            rows.append(f"| {rate:g} | {method} | {len(runs)} | " + " | ".join(cells) + " |")
            both = sorted(runs.keys() & found.get(BASELINE, {}).keys())
            if method != BASELINE and both:
                pairs = [(runs[seed], found[BASELINE][seed]) for seed in both]
                cells = [interval(minus(pairs, name)) for name in ("reward", "tax", "kl")]
                differences.append(f"| {rate:g} | {method} | {len(both)} | " + " | ".join(cells) + " |")
    return "\n".join([*rows, "", *differences, ""])


def number(line: Line, name: str) -> float | None:
    where = COLUMNS[name][0]
    value: float | None = line[where].get(name) if isinstance(line[where], dict) else line[name]
    return value


def minus(pairs: Sequence[tuple[Line, Line]], name: str) -> list[float]:
    """A number's differences within pairs of lines, over the pairs that both have it."""
    return [a[name] - b[name] for a, b in pairs if a[name] is not None and b[name] is not None]


def spread(values: Sequence[float | None]) -> str:
    """Mean, and with two or more the standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    deviation = f" (sd {statistics.stdev(known):.2g})" if len(known) > 1 else ""
    return f"{statistics.fmean(known):.3g}{deviation}"


def interval(values: Sequence[float]) -> str:
    """Mean of differences, with three or more the half-width of their t interval."""
    if len(values) < 3:
        return spread(values)
    estimate = clustered_mean(values, {"block": range(len(values))})
    return f"{estimate.value:+.3g} ± {estimate.interval(LEVEL)[1] - estimate.value:.2g}"


def check_alike(outputs: Sequence[Path]) -> None:
    """ValueError unless the trials of all outputs were made with the same settings."""
    first = outputs[0] / "space.json"
    for output in outputs:
        check_settings(json.loads(first.read_text()) if first.exists() else {}, output)


def kept_lines(outputs: Sequence[Path]) -> list[Line]:
    """The lines of outputs, one after another."""
    kept = [output / "trials.jsonl" for output in outputs]
    return [json.loads(line) for file in kept if file.exists() for line in file.read_text().splitlines()]


def environment() -> str:
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    made = {name: version for name, version in versions().items() if name in ("torch", "transformers", "trl")}
    what = ", ".join(f"{name} {version}" for name, version in made.items())
    return f"{datetime.now(UTC).date()}  {where}  {what}  revision {str(revision()['git_revision'])[:7]}"


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of trials.jsonl and table.md")
    parser.add_argument("--minutes", type=float, default=25.0, help="no block is begun that would end later")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[1e-5, 2e-5, 4e-5], metavar="LR")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=32, help="pairs of a step")
    parser.add_argument("--max-length", type=int, default=512, help="longest sequence in tokens")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--limit", type=int, help="items of each skill and prompts; default all")
    parser.add_argument("--toy", action="store_true", help="untrained tiny models, two steps")
    parser.add_argument("--join", type=Path, nargs="+", metavar="OUTPUT", help="no trials: a table of these outputs")
    options = parser.parse_args()
    own = [name for name in TOY_SIZES if options.toy and getattr(options, name) != parser.get_default(name)]
    if own:
        parser.error(
            f"--toy has sizes of its own, leave out {', '.join('--' + name.replace('_', '-') for name in own)}"
        )
    if options.join and not all((output / "trials.jsonl").exists() for output in options.join):
        parser.error("every OUTPUT of --join must hold a trials.jsonl")
    options.output.mkdir(parents=True, exist_ok=True)
    output, space = options.output.resolve(), None
    if not options.join:
        space = toy_space(options, output) if options.toy else real_space(options)
    try:
        check_alike(options.join) if space is None else begin(space, output)
    except ValueError as error:
        parser.error(str(error))
    lines = kept_lines(options.join) if space is None else run(space, output, 60 * options.minutes)
    text = f"{environment()}\n\n{table(lines)}"
    (options.output / "table.md").write_text(text)
    say(text)
    return 0 if any(line["state"] == "completed" for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
