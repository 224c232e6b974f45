"""What former versions wrote: sweeps from before the log as the events that their files amount to, and keys of data."""

import json
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from omsweep.store.events import DamagedLog, Event
from omsweep.store.records import TWINS, Ended, TrialIdentity, TrialRecord
from omsweep.strict_json import read_json


def former_events(path: Path) -> Iterator[Event]:
    """The events of a folder with `sweep.json` and `trials.jsonl`, and no log.

    Scores on the report split are taken from `front.json`, where only the front's members have them.

    Raises:
        DamagedLog: a line of `trials.jsonl` that is no trial, named with its number.
        ValueError: `sweep.json` or `references.json` is broken.
    """
    for seq, (kind, trial_id, data) in enumerate(_happened(path), start=1):
        yield Event(seq=seq, epoch=0, time=data.pop("time", 0.0), kind=kind, trial_id=trial_id, data=data)


def data_key(logged: str) -> str:
    """The key of a trial's preference data as this version writes it, from a log of any.

    Keys have held the path as it was given, relative to the working directory, and a share that changes no record.
    """
    if not logged.startswith("{"):
        return logged
    content = json.loads(logged)
    content.pop("max_dropped_share", None)
    if content.get("path") is not None:
        content["path"] = str(Path(content["path"]).expanduser().absolute())
    return json.dumps(content, sort_keys=True)


def _happened(path: Path) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    description = _object(path / "sweep.json")
    created = description.pop("created", None)
    yield "created", None, {**description, "time": _seconds(created)}
    references = path / "references.json"
    for key, reference in (_object(references) if references.is_file() else {}).items():
        family, _, sft_seed = key.partition("#")
        whose = {"family": family, "sft_seed": int(sft_seed) if sft_seed else None}
        models = {"contamination": description.get("contamination", ())}
        yield "prepared", None, {**whose, "reference": reference, "models": models}
    trials = path / "trials.jsonl"
    for trial in _records(trials) if trials.is_file() else ():
        fields, content = type(trial).model_fields, trial.to_json()
        identity = {name: content[name] for name in fields if name in TrialIdentity.model_fields}
        outcome = {name: content[name] for name in fields if name in Ended.model_fields}
        yield "proposed", trial.trial_id, {"trial": identity}
        if trial.mlflow_run_id is not None:
            yield "tracked", trial.trial_id, {"run_id": trial.mlflow_run_id}
        yield "ended", trial.trial_id, {"outcome": outcome}
    for member in _members(path / "front.json"):
        numbers = {name: member.get(twin) for name, twin in TWINS.items()}
        if any(value is not None for value in numbers.values()):
            yield "scored", member["trial_id"], {"split": "report", "numbers": numbers}
    yield "driver", None, {"closed": "completed"}


def _object(source: Path) -> dict[str, Any]:
    content = read_json(source)
    if not isinstance(content, dict):
        raise ValueError(f"{source} must hold a JSON object, got {content!r:.60}")
    return content


def _members(source: Path) -> list[Mapping[str, Any]]:
    """Of `front.json`; where it is broken the scores on the report split are gone, and all else can be read."""
    if not source.is_file():
        return []
    try:
        return [{"trial_id": member["trial_id"], **member} for member in read_json(source)["members"]]
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(f"{source} cannot be read, scores on the report split are missing: {error}", stacklevel=2)
        return []


def _records(source: Path) -> list[TrialRecord]:
    """Of a trial that was repeated the last record counts; a torn line is skipped with a warning."""
    records: dict[str, TrialRecord] = {}
    for number, line in enumerate(source.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError:
            warnings.warn(f"{source}:{number}: torn line skipped: the trial is not in the results", stacklevel=2)
            continue
        if not isinstance(content, Mapping):
            raise DamagedLog(f"{source}:{number}: a trial must be a JSON object, got {content!r:.60}")
        try:
            record = TrialRecord.from_json(content)
        except ValueError as error:
            raise DamagedLog(f"{source}:{number}: {error}") from None
        records.pop(record.trial_id, None)
        records[record.trial_id] = record
    return list(records.values())


def _seconds(created: str | None) -> float:
    try:
        return datetime.fromisoformat(created or "").timestamp()
    except ValueError:
        return 0.0
