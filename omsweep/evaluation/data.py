"""The data files that a suite's tasks want: which, where they are, what is wrong with them. Torch-free.

A task says in its `metadata.data` which file it reads, what its lines hold and where it comes from. Such files lie
outside of the suite's folder, because their licences or sizes let nobody ship them.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from omsweep.cache import recipe_hash
from omsweep.cache.manifest import sha256_of
from omsweep.evaluation.suite_files import content_hash
from omsweep.preferences.files import read_rows

SAMPLES = "samples"
"""As `data_root`: the items that a suite has in its folder `samples` for trying things out, `<task>.jsonl` each."""
KINDS: Mapping[str, tuple[type, ...]] = {"text": (str,), "number": (int, float), "list": (list,), "object": (dict,)}
"""What a field holds, by the first word that describes it."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """`metadata.data` of a task.

    Args:
        file: name below `data_root`; with `.gz` behind it, it is read too.
        fields: what each line has, by name; a description begins with one of `KINDS`.
        licence: of the data.
        hub: id of a data set there that has these fields; with `config`, `split` and `revision` of it.
        source: where else the file comes from, and what to do with it.
        items: lines of the published file.
        twins: lines of it that repeat an earlier one.
    """

    file: str
    fields: Mapping[str, str]
    licence: str
    hub: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    source: str | None = None
    items: int | None = None
    twins: int = 0

    @property
    def origin(self) -> str:
        """Where it comes from, in words."""
        if self.hub is None:
            return self.source or "the user"
        return f"{self.hub} on the hub ({', '.join(one for one in (self.config, self.split) if one)})"

    @property
    def shape(self) -> str:
        """What it holds, in words."""
        count = "" if self.items is None else f"{self.items:,} "
        return f"{count}JSON lines with {'; '.join(f'{name}: {what}' for name, what in self.fields.items())}"


@dataclass(frozen=True, kw_only=True)
class TaxSuite:
    """A suite as it is scored: its folder, which of its tasks count, and the data files that they read.

    Args:
        name: a name in `TAX_SUITES` or the folder's path; by it a task's `metadata.limit` may differ.
        folder: of lm-eval task YAMLs.
        tasks: those that count; None: all.
        files: of every task that wants one.
    """

    name: str
    folder: Path
    tasks: tuple[str, ...] | None = None
    files: tuple[tuple[str, Path], ...] = ()

    @property
    def wanted(self) -> dict[str, Wanted]:
        """What the files hold, by task."""
        every = wants(self.folder)
        return {task: every[task] for task, _ in self.files}

    @property
    def modules(self) -> dict[str, tuple[str, ...]]:
        """Modules that tasks need beside omsweep's own packages (`omsweep.extras`), by task: its `metadata.modules`."""
        kept = declared(self.folder).items()
        return {
            task: tuple(metadata["modules"])
            for task, metadata in kept
            if metadata.get("modules") and (self.tasks is None or task in self.tasks)
        }

    def key(self) -> str:
        """Sixteen hex digits of everything that decides what is scored; no path and no time stamp counts."""
        folder = content_hash(self.folder)
        if self.tasks is None and not self.files:
            return folder
        said = {"folder": folder, "name": Path(self.name).name, "tasks": self.tasks and sorted(self.tasks)}
        return recipe_hash({**said, "files": {task: file_hash(path) for task, path in self.files}})


def tax_suite(
    name: str, folder: Path, *, data_root: str | None, data: Mapping[str, str], tasks: Sequence[str] | None
) -> TaxSuite:
    """A suite with its data files found.

    Args:
        name, folder: of the suite.
        data_root: folder of the files, or `SAMPLES`.
        data: files by task, which count before `data_root`.
        tasks: names of tasks to keep.

    Raises:
        ValueError: unknown tasks, data for a task that reads none, files that are missing: all of them at once.
    """
    every, names = wants(folder), named(folder, tasks)
    if no_data := sorted({*data} - {*every}):
        raise ValueError(f"data takes {', '.join(every) or 'no task of this suite'}; got unknown {no_data}")
    kept = {task: one for task, one in every.items() if task in names}
    if data_root is not None and not every:
        raise ValueError(f"data_root is of no use here: no task of the suite {name} reads a file there")
    root = None if data_root is None else Path(data_root).expanduser()
    found, missing = [], []
    for task, want in kept.items():
        if task in data:
            there, where = _file(Path(data[task]).expanduser()), data[task]
        elif data_root == SAMPLES:
            there, where = _file(folder / SAMPLES / f"{task}.jsonl"), f"{SAMPLES}/{task}.jsonl"
        else:
            there, where = None if root is None else place(root, want), want.file
        if there is None:
            missing.append(f"  {task}: {where}\n    {_described(want)}")
        else:
            found.append((task, there.absolute()))
    if missing:
        left = [task for task in names if task not in kept or task in dict(found)]
        raise ValueError(_refusal(name, data_root, missing, left))
    return TaxSuite(name=name, folder=folder, tasks=None if tasks is None else tuple(tasks), files=tuple(found))


def named(folder: Path, tasks: Sequence[str] | None) -> list[str]:
    """The tasks of a folder, or those that are asked for; ValueError names the unknown ones, and those there are."""
    known = list(declared(folder))
    if tasks is None:
        return known
    unknown = sorted({*tasks} - {*known})
    if unknown or not tasks:
        got = f"unknown {', '.join(unknown)}" if unknown else "none"
        raise ValueError(f"tasks must be some of {', '.join(known)}; got {got}")
    return list(dict.fromkeys(tasks))


def place(root: Path, want: Wanted) -> Path | None:
    """Where a file lies in a folder, as it is or compressed; None where it does not."""
    return _file(root / want.file) or _file(root / f"{want.file}.gz")


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _described(want: Wanted) -> str:
    return f"{want.shape}\n    licence {want.licence}; from {want.origin}"


def _refusal(name: str, data_root: str | None, missing: Sequence[str], there: Sequence[str]) -> str:
    where = "must be given, the folder" if data_root is None else f"{data_root} must be the folder"
    return "\n".join(
        [
            f"data_root {where} of the data files of the suite {name}, of which {len(missing)} are missing:",
            *missing,
            f"`omsweep data fetch --suite {name} --data-root DIR` gets what is on the hub;",
            "evaluate.data: {TASK: PATH} names single files; evaluate.tasks: [...] leaves tasks out"
            f" (the others: {', '.join(there) or 'none'});",
            f"data_root: {SAMPLES} is for trying things out: ten made-up items a task, no measurement.",
        ]
    )


def declared(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The metadata of every task that the YAMLs of a folder declare, or list in a group, in their files' order."""
    yamls = sorted({*folder.glob("**/*.yaml")})
    return dict(_declared(tuple((file, file.read_bytes()) for file in yamls if file.is_file())))


@lru_cache(maxsize=16)
def _declared(yamls: tuple[tuple[Path, bytes], ...]) -> Mapping[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for _, content in yamls:
        for name, metadata in _tasks_of(content):
            if isinstance(name, str):
                found[name] = {**found.get(name, {}), **(metadata if isinstance(metadata, Mapping) else {})}
    return found


def _tasks_of(content: bytes) -> Iterator[tuple[Any, Any]]:
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Reads task YAMLs without importing the functions they name."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: suffix)
    try:
        read = yaml.load(content, Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        return  # lm-eval says where
    if not isinstance(read, Mapping):
        return
    if "group" in read:
        members = read.get("task") or []
        for member in members if isinstance(members, list) else [members]:
            yield (member.get("task"), member.get("metadata")) if isinstance(member, Mapping) else (member, None)
    elif "task" in read:
        yield read["task"], read.get("metadata")


def wants(folder: Path) -> dict[str, Wanted]:
    """What each task of a folder wants as data that lie elsewhere; ValueError for one that says it wrongly."""
    found = {task: metadata["data"] for task, metadata in declared(folder).items() if metadata.get("data") is not None}
    return {task: _wanted(task, data) for task, data in found.items()}


def _wanted(task: str, data: Any) -> Wanted:
    known = [field.name for field in fields(Wanted)]
    if not isinstance(data, Mapping) or not {"file", "fields", "licence"} <= {*data} <= {*known}:
        raise ValueError(f"task {task!r}: metadata.data takes {known}, the first three always; got {data!r:.200}")
    asked = data["fields"]
    if not isinstance(asked, Mapping) or not all(str(what).split()[0].strip(",;") in KINDS for what in asked.values()):
        raise ValueError(
            f"task {task!r}: metadata.data.fields describes each field, beginning with {[*KINDS]}; got {asked}"
        )
    return Wanted(**data)


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a data file holds: its lines, how many repeat an earlier one, and the first thing wrong with each field."""

    items: int
    twins: int
    problems: tuple[str, ...]


def look(path: Path, want: Wanted) -> Looked:
    """Read a file and compare its lines with what a task wants; a file that cannot be read is a problem."""
    try:
        rows = data_rows(path, want)
    except ValueError as error:
        return Looked(items=0, twins=0, problems=(str(error),))
    often = Counter(json.dumps(row, sort_keys=True, default=str) for row in rows)
    return Looked(items=len(rows), twins=len(rows) - len(often), problems=())


def data_rows(path: Path, want: Wanted) -> list[dict[str, Any]]:
    """The lines of a data file; ValueError with its path, line and field where it is not what the task wants."""
    rows = read_rows(str(path), what="data")
    if not rows:
        raise ValueError(f"{path} holds no item; wanted: {want.shape}")
    for number, row in enumerate(rows, start=1):
        for name, what in want.fields.items():
            value, kinds = row.get(name), KINDS[what.split()[0].strip(",;")]
            if not isinstance(value, kinds) or isinstance(value, bool):
                got = f"{value!r:.60}" if name in row else f"only {', '.join(row)}"
                raise ValueError(f"{path}, item {number}: {name} must be {what}, got {got}")
    return rows


def check_data(suite: TaxSuite) -> None:
    """Read every data file of a suite; ValueError that names all which are not what their tasks want."""
    wanted = suite.wanted
    wrong = [f"  {task}: {problem}" for task, path in suite.files for problem in look(path, wanted[task]).problems]
    if wrong:
        raise ValueError("\n".join([f"data files of the suite {suite.name} that cannot be used:", *wrong]))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hex; read again once it has another inode, size or time of change."""
    found = path.stat()
    return _hash(path, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=256)
def _hash(path: Path, stamp: tuple[int, ...]) -> str:
    return sha256_of(path)
