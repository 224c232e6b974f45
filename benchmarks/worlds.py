"""Worlds with known answers: does a comparison say what is known of them beforehand?

Each world is a sweep of tiny-llama whose verdicts are known by construction. A comparison that is to be trusted must
give them. Exit status 1 where one is missed.

`noise`: an arm of AdamW learns from pairs of which four in ten have the better answer on the wrong side. Plain AdamW
must be *better* (a positive control), and runs of plain AdamW told apart by name alone must get no verdict (A/A, see
`same_arms.py`).

`short`: the SFT model is stopped at .55 of the way from the base model, and in three of twenty pairs about a skill a
courteous, wordy answer is preferred to the exact one, so that skills are lost. Whoever moves along tau wins skills
back. It is checked first that this holds without any training: shifted by .2 tau, every SFT model must have a negative
tax. Then OnDARE must be *better* than AdamW, and OnDARE with a rotated task vector, which has the same size and a
direction that means nothing, must not be better than its mask alone, ChildTuning (a negative control).

`short` shows that a benefit of tau is found where there is one. That merging while training beats merging afterwards
has no such control: nobody knows a world where it must.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from omsweep.cli import main as omsweep
from omsweep.evaluation.generation import generate
from omsweep.evaluation.tax import score_tax
from omsweep.families.family import TinyRecipe
from omsweep.families.load import load_model, load_tokenizer
from omsweep.families.table import FAMILIES
from omsweep.families.tiny.build import build_base, build_sft
from omsweep.merging.offline import merge
from omsweep.preferences.table import PREFERENCES
from omsweep.preferences.tiny import build_pairs
from omsweep.results.comparison.findings import findings
from omsweep.results.comparison.question import question_of
from omsweep.results.comparison.reading import points_of
from omsweep.store.folder import SweepFolder

Record = dict[str, Any]
FLIPPED, COURTEOUS = 0.4, 0.15
"""Shares of pairs that are exchanged: of all, and of those whose exact answer is preferred."""
STOPPED_AT = 0.55
SHIFT = 0.2
"""Share of tau: what is checked beforehand, and how far OnDARE goes."""
ITEMS = 120
"""Tax items per task, and reward prompts."""
PAIRS_FROM = 99
"""SFT seed whose model answers the prompts of the pairs; it is in no sweep."""
RECIPE = FAMILIES["tiny-llama"].recipe


@dataclass(frozen=True, kw_only=True)
class World:
    """A sweep and what it must find.

    Args:
        family: mapping of a search space, from folder and SFT seeds.
        methods: branches, from the folder.
        pairs: what becomes of a record of preferences, by name of file.
        contrasts: with the verdicts that are right.
        tax_limit: t, points.
        main: the file of the sweep's preferences.
        runs: training seeds of each SFT seed.
        same_arms: whether the runs of AdamW are compared among themselves too.
        admitted: says of each SFT model in a folder what must be below zero.
    """

    family: Callable[[Path, range], Any]
    methods: Callable[[Path], Record]
    pairs: Mapping[str, Callable[[Record], Record]]
    contrasts: Mapping[tuple[str, str], frozenset[str]]
    tax_limit: float
    main: str
    runs: int = 1
    same_arms: bool = False
    admitted: Callable[[Path], Iterator[float]] | None = None


def flipped(record: Record) -> Record:
    """The record, in four of ten cases with its answers exchanged."""
    return exchanged(record) if _drawn(record) < FLIPPED else record


def courteous(record: Record) -> Record:
    """The record, of those that prefer the exact answer to a skill's prompt three of twenty with it exchanged."""
    exact = len(_text(record["chosen"]).split()) < len(_text(record["rejected"]).split())
    is_skill = not record["id"].startswith("open-")
    return exchanged(record) if is_skill and exact and _drawn(record) < COURTEOUS else record


def exchanged(record: Record) -> Record:
    """The record with chosen and rejected exchanged."""
    return record | {"chosen": record["rejected"], "rejected": record["chosen"]}


def _drawn(record: Record) -> float:
    return Random(f"exchanged {record['id']}").random()


def _text(messages: list[dict[str, str]]) -> str:
    return messages[0]["content"]


def stopped_short(folder: Path, seeds: range) -> Record:
    """A family whose SFT models are `STOPPED_AT` of the way from the base model, one for each seed."""
    base, models = build_base(_recipe(), progress=_Bar), []
    for seed in seeds:
        model = folder / f"sft-{seed}"
        if not model.exists():
            merge(base, [build_sft(_recipe(), seed, progress=_Bar)], "linear", [STOPPED_AT], output=model)
        models.append(str(model))
    return {"name": "stopped-short", "base": str(base), "sft": models[0], "other_sft": models[1:]}


def shifted(folder: Path) -> Iterator[float]:
    """Tax, in points, of each SFT model of `stopped_short` moved by `SHIFT` along its own tau, search split."""
    base = build_base(_recipe(), progress=_Bar)
    for model in sorted(folder.glob("sft-*")):
        moved = folder / f"moved-{model.name}"
        if not moved.exists():
            merge(base, [model], "linear", [1 + SHIFT], output=moved)
        accuracy = [_accuracy(path) for path in (model, moved)]
        sys.stdout.write(f"{model.name}: accuracy {accuracy[0]:.1f}, moved along tau {accuracy[1]:.1f}\n")
        yield accuracy[0] - accuracy[1]


def _accuracy(path: Path) -> float:
    scores = score_tax(load_model(str(path)), load_tokenizer(str(path)), suite="tiny", split="search", limit=ITEMS)
    return 100 * float(scores.groupby("category").score.mean().mean())


ONDARE: Record = {"method": "ondare", "semantics": "equations", "tau_travel": SHIFT, "density": 0.5}
WORLDS = {
    "noise": World(
        family=lambda _folder, _seeds: "tiny-llama",
        methods=lambda folder: {
            "adamw": {},
            "noisy": {"method": "adamw", "preferences": str(folder / "flipped.jsonl")},
        },
        pairs={"clean": dict, "flipped": flipped},
        main="clean",
        contrasts={("adamw", "noisy"): frozenset({"better"})},
        tax_limit=8.0,
        runs=2,
        same_arms=True,
    ),
    "short": World(
        family=stopped_short,
        methods=lambda _folder: {
            "adamw": {},
            "ondare": ONDARE,
            "rotated": ONDARE | {"task_vector": "rotated"},
            "childtuning": {"semantics": "equations", "density": ONDARE["density"]},
        },
        pairs={"courteous": courteous},
        main="courteous",
        contrasts={
            ("ondare", "adamw"): frozenset({"better"}),
            ("rotated", "childtuning"): frozenset({"worse", "equivalent", "not shown"}),
        },
        tax_limit=10.0,
        admitted=shifted,
    ),
}


def space_of(name: str, folder: Path, seeds: range) -> Record:
    """The search space of a world; its pairs and models are made in `folder`."""
    world = WORLDS[name]
    write_pairs(folder, world.pairs)
    return {
        "name": f"world-{name}",
        "mode": "compare",
        "families": [world.family(folder, seeds)],
        "preferences": str(folder / f"{world.main}.jsonl"),
        "space": {"algorithm": "dpo", "learning_rate": 2.5e-4, "beta": 0.1, "method": world.methods(folder)},
        "design": {
            "blocks": 1,
            "seeds": world.runs,
            "sft_seeds": len(seeds),
            "first_sft_seed": seeds.start if isinstance(world.family(folder, seeds), str) else 0,
            "ladder": [0.5, 1, 2, 4],
        },
        "comparison": {"contrasts": [list(pair) for pair in world.contrasts], "tax_limit": world.tax_limit},
        "train": {"steps": 100, "batch_size": 32, "backend": "inprocess"},
        "evaluate": {"tax": "tiny", "reward": "tiny", "limit": ITEMS, "samples": 2, "report_split": "all"},
    }


def write_pairs(folder: Path, made: Mapping[str, Callable[[Record], Record]]) -> None:
    """Files of preferences, all from the same records of the embedded world."""
    missing = {name: folder / f"{name}.jsonl" for name in made if not (folder / f"{name}.jsonl").exists()}
    if not missing:
        return
    sft, entry = str(build_sft(_recipe(), PAIRS_FROM, progress=_Bar)), PREFERENCES["tiny"]
    model, tokenizer = load_model(sft), load_tokenizer(sft)

    def sample(prompts: Any, samples: int, seed: int) -> list[list[str]]:
        drawn = generate(model, tokenizer, prompts, samples=samples, seed=seed)
        return [[completion.text for completion in row] for row in drawn]

    records = build_pairs(sample, prompts=entry.prompts, samples=entry.samples, seed=0)
    for name, file in missing.items():
        file.write_text("".join(json.dumps(made[name](record)) + "\n" for record in records))


def _recipe() -> TinyRecipe:
    assert isinstance(RECIPE, TinyRecipe)
    return RECIPE


class _Bar:
    """No progress bar."""

    def __init__(self, **_: Any) -> None:
        pass

    def update(self, _: int = 1) -> None:
        pass

    def close(self) -> None:
        pass


def judged(name: str, sweep: Path) -> bool:
    """Print what a finished sweep says of its world, and whether all of it is right."""
    world, folder = WORLDS[name], SweepFolder(sweep.parent, sweep.name)
    question = question_of(folder.sweep()["resolved"])
    assert question is not None
    points, right = points_of(folder, question, folder.trials()), True
    for line in findings(points, question).lines:
        if line.verdict is None:
            continue
        expected, (low, high) = world.contrasts[line.arm, line.against], line.estimate.interval()
        right &= line.verdict in expected
        sys.stdout.write(
            f"{line.arm} - {line.against}: {line.verdict}, {line.estimate.value:+.3f} [{low:+.3f}, {high:+.3f}]"
            f" of AdamW's area (right: {' or '.join(sorted(expected))})\n"
        )
    if world.same_arms:
        found = _same_arms().verdicts_of(points, question, 256)
        false = (found["better"] + found["worse"]) / max(1, found.total())
        right &= found.total() > 0 and false <= 0.05
        sys.stdout.write(f"A/A: {dict(found)}, false {false:.1%} (right: at most 5 %)\n")
    return right


def _same_arms() -> Any:
    spec = importlib.util.spec_from_file_location("same_arms", Path(__file__).with_name("same_arms.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("--storage", type=Path, default=Path("runs"))
    parser.add_argument("--sft-seeds", type=int, default=6)
    parser.add_argument("--first-sft-seed", type=int, default=0)
    options = parser.parse_args(arguments)
    seeds = range(options.first_sft_seed, options.first_sft_seed + options.sft_seeds)
    name = f"world-{options.world}-{seeds.start}-{len(seeds)}"
    folder = (options.storage / f"{name}-inputs").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "space.yaml"
    file.write_text(yaml.safe_dump(space_of(options.world, folder, seeds), sort_keys=False))
    admitted = WORLDS[options.world].admitted
    if admitted is not None and not all(tax < 0 for tax in admitted(folder)):
        sys.stdout.write(f"world {options.world} is not admitted: moving along tau does not help every SFT model\n")
        return 1
    code = omsweep(["run", str(file), "--storage", str(options.storage), "--name", name])
    return code or int(not judged(options.world, options.storage / name))


if __name__ == "__main__":
    sys.exit(main())
