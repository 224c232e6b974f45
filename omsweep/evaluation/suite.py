"""A tax suite: a folder of lm-eval task YAMLs, loaded once per process, with stable item ids and splits."""

import re
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import lm_eval.tasks
from datasets import Dataset, DatasetDict
from lm_eval.tasks import TaskManager

from omsweep.cache import cache_root
from omsweep.evaluation.clusters import SHARED_FIELDS, cluster_ids, cluster_splits, limited
from omsweep.evaluation.data import TaxSuite, Wanted, data_rows
from omsweep.evaluation.isolation import quiet_libraries
from omsweep.evaluation.programs.filters import register as register_programs
from omsweep.evaluation.prompts import content_id
from omsweep.evaluation.settings import SPLITS
from omsweep.evaluation.suite_files import folder_files, linked_folders, suite_code, yaml_problem
from omsweep.evaluation.tasks import check_config, check_task, data_beside, said, use_sandbox

_LOCAL_READERS = ("json", "csv", "parquet", "text", "arrow")
_DECLARES_TASK = re.compile(r"^(task|group|class)\s*:", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One document of a task: its place in the task's documents, stable id, what it belongs to, category and split."""

    index: int
    item_id: str
    cluster: str
    category: str
    split: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Suite:
    """lm-eval task objects by name, each with its items in the documents' order and how many of a split it takes."""

    tasks: Mapping[str, Any]
    items: Mapping[str, tuple[Item, ...]]
    limits: Mapping[str, int | None]

    def chosen(self, split: str, limit: int | None) -> dict[str, tuple[Item, ...]]:
        """Items of `split` for every task, a sample of `limit` or of the task's own limit where that is less.

        ValueError names the tasks that have none.
        """
        found = {}
        for task, items in self.items.items():
            most = min((one for one in (limit, self.limits[task]) if one is not None), default=None)
            found[task] = limited([item for item in items if item.split == split], most)
        empty = sorted(task for task, items in found.items() if not items)
        if empty:
            raise ValueError(f"split {split!r} has no item in tasks {empty[:5]}; splits are {list(SPLITS)}")
        return found


def load_suite(asked: TaxSuite | Path) -> Suite:
    """Load the tasks of a suite, or all of a folder; what has not changed since is not loaded again in this process.

    Relative `data_files` and dataset folders are looked up beside the YAML first. Groups of the folder may name
    lm-eval's own tasks. A task that wants a data file reads that one (`omsweep.evaluation.data`). An item's id is its
    `id` field, else a hash of its content. Its cluster is its `cluster` field, else the text of the field that the
    task's `metadata.cluster` names, or else of the first of `SHARED_FIELDS` it has, where another item of the suite
    has that text too; else its id. Its split is the `split` field of one of its cluster when that is one of ours,
    else a hash of the cluster. Its category is its `category` field, else the task's `metadata.category`, else the
    group that lists the task, else the task's first tag, else the task's name.

    Raises:
        ValueError: with the folder's name: no task in it, an unknown one in a group, a YAML that lm-eval cannot read, a
            task of which no request can be made (see `omsweep.evaluation.tasks`), an id used twice in a task, a
            `metadata.cluster` that no field has, splits that differ within a cluster, or a data file that is not what
            its task wants.
    """
    suite = TaxSuite(name=str(asked), folder=asked) if isinstance(asked, Path) else asked
    try:
        return _load(suite, suite.key())
    except (ValueError, OSError) as error:
        raise ValueError(f"tax suite {suite.folder}: {' '.join(str(error).split())[:2000]}") from error


@lru_cache(maxsize=4)
def _load(suite: TaxSuite, content: str) -> Suite:
    use_sandbox()
    register_programs()
    folder = suite.folder
    include = [str(folder), *map(str, linked_folders(folder))]
    with quiet_libraries():
        manager = _manager(include, include_defaults=False)
        _check_all_read(folder, manager)
        listed = _listed_in_groups(folder, manager, suite.tasks)
        if folders := _lm_evals(listed.keys() - manager.task_index.keys()):
            manager = _manager([*folders, *include], include_defaults=False)
            listed = _listed_in_groups(folder, manager, suite.tasks)
        if not listed.keys() <= manager.task_index.keys():
            manager = _manager(include, include_defaults=True)
            listed = _listed_in_groups(folder, manager, suite.tasks)
        own = _own(folder, manager, manager.all_subtasks)
        names = {name: Listed() for name in own if suite.tasks is None or name in suite.tasks} | listed
        unknown = sorted(names.keys() - manager.task_index.keys())
        if unknown or not names:
            problem = f"lists unknown tasks {unknown[:5]}" if unknown else "holds no lm-eval task (a YAML with `task:`)"
            raise ValueError(problem)
        tasks: dict[str, Any] = {}
        categories: dict[str, str] = {}
        for name in sorted(names):
            for task_name, task in _tasks(suite, content, manager, name, names[name]).items():
                tasks[task_name] = task
                categories[task_name] = _category(manager, task_name, task, names[name].group)
        limits = {name: _limit(name, task, suite) for name, task in tasks.items()}
        return Suite(tasks=tasks, items=_items(tasks, categories), limits=limits)


def _lm_evals(listed: Iterable[str]) -> list[str]:
    """Folders of lm-eval that are called like a listed task: to read them all takes long."""
    every = Path(lm_eval.tasks.__file__).parent
    return [str(every / name) for name in sorted(listed) if (every / name).is_dir()]


def _limit(name: str, task: Any, suite: TaxSuite) -> int | None:
    given = (task.get_config("metadata") or {}).get("limit")
    limit = given.get(Path(suite.name).name) if isinstance(given, Mapping) else given
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"task {name!r}: metadata.limit must be a number of items, or one by suite, got {given!r}")
    return limit


def _manager(include: list[str], *, include_defaults: bool) -> TaskManager:
    try:
        return TaskManager(include_path=include, include_defaults=include_defaults)
    except Exception as error:
        raise ValueError(f"names of tasks, groups and tags must be text: {said(error)}") from error


def _tasks(suite: TaxSuite, content: str, manager: TaskManager, name: str, listed: "Listed") -> dict[str, Any]:
    """The task of a name, or those of one of lm-eval's groups; the suite's own are tried, and those with its data."""
    where, folder, file = f"task {name!r}", suite.folder, dict(suite.files).get(name)
    own = bool(_own(folder, manager, [name]))
    if own:
        code = {one.rpartition(" ")[2] for one in suite_code(folder)}
        check_config(where, {**(manager.task_index[name].cfg or {}), **listed.changes}, code)
    data = _given_data(manager, name, file, suite.wanted[name]) if file else _local_data(folder, content, manager, name)
    spec = _spec(data, manager, name, listed)
    try:
        tasks: dict[str, Any] = manager.load([spec])["tasks"]
    except Exception as error:
        raise ValueError(f"{where}, {said(error)}") from error
    for task in tasks.values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        if own or file:
            check_task(where, task)
    return tasks


@dataclass(frozen=True, kw_only=True)
class Listed:
    """How a group of the suite lists a task: the group's name, and what it changes in the task's YAML."""

    group: str | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)


def _listed_in_groups(folder: Path, manager: TaskManager, kept: Container[str] | None) -> dict[str, Listed]:
    """Tasks that the folder's groups list, or those `kept`, tags opened; groups inside groups count as their own."""
    listed: dict[str, Listed] = {}
    groups = _own(folder, manager, manager.all_groups)
    for group in groups:
        members = (manager.task_index[group].cfg or {}).get("task") or []
        for member in [members] if isinstance(members, str) else members:
            changes = dict(member) if isinstance(member, Mapping) else {"task": member}
            name = changes.pop("task", None)
            if name is None:
                raise ValueError(f"group {group!r} in {folder}: members must name a task, got {member!r}")
            if name in groups or (kept is not None and name not in kept):
                continue
            entry = manager.task_index.get(name)
            opened = sorted(entry.tags) if entry is not None and name in manager.all_tags else [name]
            for task in opened:
                listed.setdefault(task, Listed(group=group, changes=changes))
    return listed


def _own(folder: Path, manager: TaskManager, names: Iterable[str]) -> list[str]:
    """Those of `names` whose YAML lies in the folder, or is a link there."""
    paths = {name: manager.task_index[name].yaml_path for name in names if name in manager.task_index}
    return [name for name, path in paths.items() if path and path.is_relative_to(folder)]


def _spec(data: Mapping[str, Any], manager: TaskManager, name: str, listed: Listed) -> str | dict[str, Any]:
    """What to ask of lm-eval for a listed task, whose `data` lie here, or for one of lm-eval's own groups."""
    if name in manager.all_subtasks:
        # Only as a member of a group may a registered task be given with changes to its YAML.
        return {"group": f"only {name}", "task": [{**data, **listed.changes, "task": name}]}
    if listed.changes:
        raise ValueError(
            f"group {listed.group!r} changes {sorted(listed.changes)} of the group {name!r}: list its tasks"
        )
    return name


def _given_data(manager: TaskManager, name: str, file: Path, want: Wanted) -> dict[str, Any]:
    """Changes that make a task read a data file in place of what its YAML names."""
    config = (manager.task_index[name].cfg or {}) if name in manager.task_index else {}
    split = config.get("test_split") or config.get("validation_split") or "test"
    rows = data_rows(file, want)
    columns = {key: [row.get(key) for row in rows] for key in dict.fromkeys(key for row in rows for key in row)}
    try:
        read = DatasetDict({split: Dataset.from_dict(columns)})
    except Exception as error:  # pyarrow's, of fields that hold numbers here and texts there
        raise ValueError(f"task {name!r}: {file} {said(error)}") from error

    def dataset(**_: Any) -> DatasetDict:
        return read

    others = dict.fromkeys(("training_split", "fewshot_split", "dataset_path", "dataset_kwargs"))
    return {**others, "custom_dataset": dataset}


def _local_data(folder: Path, content: str, manager: TaskManager, name: str) -> dict[str, Any]:
    """Changes that make a task read the data beside its YAML, and build it in our cache under their content.

    The datasets library tells a local file by its time stamp.
    """
    entry = manager.task_index[name]
    config = entry.cfg
    if not config or entry.yaml_path is None or "class" in config:
        return {}
    beside, kwargs = entry.yaml_path.parent, dict(config.get("dataset_kwargs") or {})
    kwargs.setdefault("cache_dir", str(cache_root() / "datasets" / content))
    if config.get("dataset_path") in _LOCAL_READERS:
        if "data_files" in kwargs:
            kwargs["data_files"] = data_beside(f"task {name!r}", beside, folder, kwargs["data_files"])
        return {"dataset_kwargs": kwargs}
    if isinstance(config.get("dataset_path"), str) and (beside / config["dataset_path"]).is_dir():
        return {"dataset_path": str(beside / config["dataset_path"]), "dataset_kwargs": kwargs}
    return {}


def _items(tasks: Mapping[str, Any], categories: Mapping[str, str]) -> dict[str, tuple[Item, ...]]:
    docs = {name: list(task.eval_docs) for name, task in tasks.items()}
    ids = {name: _item_ids(name, docs[name]) for name in tasks}
    often = Counter(item_id for task_ids in ids.values() for item_id in task_ids)
    alone = [item if often[item] == 1 else f"{name}/{item}" for name in tasks for item in ids[name]]
    every = [doc for name in tasks for doc in docs[name]]
    shared = [value for name, task in tasks.items() for value in _shared(name, task, docs[name])]
    clusters = cluster_ids(alone, [doc.get("cluster") for doc in every], shared)
    places = iter(zip(clusters, cluster_splits(clusters, [doc.get("split") for doc in every]), strict=True))
    return {
        name: tuple(
            Item(
                index=index,
                item_id=item_id,
                cluster=cluster,
                category=str(doc.get("category") or categories[name]),
                split=split,
            )
            for index, (doc, item_id) in enumerate(zip(docs[name], ids[name], strict=True))
            for cluster, split in [next(places)]
        )
        for name in tasks
    }


def _shared(name: str, task: Any, docs: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What others may have too: each document's field that the task names, else the first of `SHARED_FIELDS`."""
    field = (task.get_config("metadata") or {}).get("cluster")
    if field is None:
        return [next((doc[key] for key in SHARED_FIELDS if doc.get(key)), None) for doc in docs]
    for doc in docs:
        if field not in doc:
            raise ValueError(
                f"task {name!r}: metadata.cluster must be a field of every document, {sorted(doc)}, got {field!r}"
            )
    return [doc[field] for doc in docs]


def _item_ids(task: str, docs: Sequence[Mapping[str, Any]]) -> list[str]:
    ids: dict[str, None] = {}
    for doc in docs:
        ids[_item_id(task, doc, ids)] = None
    return list(ids)


def _item_id(task: str, doc: Mapping[str, Any], seen: Container[str]) -> str:
    declared = doc.get("id")
    if declared is not None:
        if str(declared) in seen:
            raise ValueError(f"task {task!r} has two items with id {declared!r}; ids must be unique in a task")
        return str(declared)
    item_id = twin = f"{task}/{content_id(doc)}"
    count = 1
    while twin in seen:
        count += 1
        twin = f"{item_id}#{count}"
    return twin


def _category(manager: TaskManager, name: str, task: Any, group: str | None) -> str:
    metadata = task.get_config("metadata") or {}
    tags = sorted(tag for tag in manager.all_tags if name in manager.task_index[tag].tags)
    return str(metadata.get("category") or group or (tags[0] if tags else name))


def _check_all_read(folder: Path, manager: TaskManager) -> None:
    read = {entry.yaml_path.resolve() for entry in manager.task_index.values() if entry.yaml_path}
    for path in folder_files(folder):
        declares = path.suffix == ".yaml" and path.resolve() not in read
        if declares and _DECLARES_TASK.search(path.read_text(encoding="utf-8", errors="replace")):
            problem = yaml_problem(path) or "a name that another one has"
            raise ValueError(f"{path} declares a task that lm-eval did not take: {problem}")
