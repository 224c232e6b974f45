"""The files and folders that a search space names, and what tells their content. Torch-free."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from omsweep.cache.manifest import SMALL_BYTES, sha256_of
from omsweep.evaluation.judges.settings import SFT
from omsweep.evaluation.rewards.reward_models import REWARD_MODELS
from omsweep.evaluation.settings import REWARD_PROMPTS, TAX_SUITES
from omsweep.evaluation.suite_files import folder_files
from omsweep.space.knobs import SpaceError
from omsweep.space.search_space import SearchSpace

Inputs = Mapping[str, Mapping[str, str]]
"""By key of the search space: `path`, absolute, and `sha256` of a file or `folder_sha256` of a folder."""
PILOT = "report.pilot"
PILOT_FILE = "comparison.json"
"""What is read of an earlier sweep's folder."""


def places(space: SearchSpace) -> dict[str, str]:
    """Every value of a space that may be a path, by key; names of embedded things left out."""
    reward = space.evaluate.reward
    found = {f"families.{f.name}.{key}": getattr(f, key) for f in space.families for key in ("base", "sft")}
    found |= {f"families.{f.name}.other_sft.{i}": m for f in space.families for i, m in enumerate(f.other_sft)}
    found["preferences.path"] = space.preferences.path
    found |= {
        f"space.method.{branch.origin}.preferences.path": branch.preferences.path
        for branch in space.branches
        if branch.preferences is not None
    }
    found["replay.path"] = space.replay.path if space.replay is not None else None
    found["evaluate.tax"] = None if space.evaluate.tax in TAX_SUITES else space.evaluate.tax
    found |= {f"evaluate.data.{task}": str(path) for task, path in space.evaluate.suite.files}
    rewards = {"evaluate.reward": reward} | {f"evaluate.rewards.{k}": one for k, one in space.evaluate.rewards.items()}
    for key, one in rewards.items():
        found[f"{key}.prompts"] = None if one.prompts in REWARD_PROMPTS else one.prompts
        found[f"{key}.model"] = None if one.model in REWARD_MODELS else one.model
        if one.judge is not None:
            found[f"{key}.judge.template"] = one.judge.template
            found[f"{key}.judge.against"] = None if one.judge.against == SFT else one.judge.against
    found[PILOT] = space.file.report.pilot
    return {key: value for key, value in found.items() if value}


def check_files(space: SearchSpace) -> None:
    """Whether the files of records that a space names are there; raises SpaceError."""
    for key, value in places(space).items():
        path = Path(value).expanduser().absolute()
        if key.endswith(".path") and not path.is_file():
            problem = "is no file" if path.exists() else "does not exist"
            raise SpaceError(
                key, f"{path} {problem}; a path is relative to the search space file, in --set to the working directory"
            )


def inputs_of(space: SearchSpace) -> dict[str, dict[str, str]]:
    """The files and folders of this machine that a space names, as they are now; hub ids are none.

    A file counts with its bytes. A folder counts with the names, sizes and bytes of its files, links followed, but
    hidden ones and compiled Python; of a file of more than `SMALL_BYTES` the bytes are left out: large weights have a
    hash of their own, which is taken when a family is prepared.
    """
    found: dict[str, dict[str, str]] = {}
    for key, value in places(space).items():
        path = Path(value).expanduser().absolute()
        path = path / PILOT_FILE if key == PILOT and path.is_dir() else path
        if path.is_file():
            found[key] = {"path": str(path), "sha256": sha256_of(path)}
        elif path.is_dir():
            found[key] = {"path": str(path), "folder_sha256": _folder_sha256(path)}
    return found


def changed(there: Inputs, here: Inputs) -> list[str]:
    """What is said of every input that holds something else than it did: its key, path and both hashes."""
    return [
        f"{key} {_path(there, here, key)} has {_hash(here.get(key))} and had {_hash(there.get(key))}"
        for key in sorted({*there, *here})
        if _hash(there.get(key)) != _hash(here.get(key))
    ]


def _path(there: Inputs, here: Inputs, key: str) -> str:
    return (here.get(key) or there[key])["path"]


def _hash(one: Mapping[str, str] | None) -> str:
    if one is None:
        return "no file"
    return f"SHA-256 {one['sha256']}" if "sha256" in one else f"SHA-256 of a folder {one['folder_sha256']}"


def _folder_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in folder_files(folder):
        size = file.stat().st_size
        content = sha256_of(file) if size <= SMALL_BYTES else ""
        digest.update(f"{file.relative_to(folder).as_posix()}\0{size}\0{content}\n".encode())
    return digest.hexdigest()
