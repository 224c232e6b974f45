"""What a sweep and its trials are made from, as MLflow's data sets: preferences, tax suite and reward prompts."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any, NamedTuple

from omsweep.sinks.fields import clean
from omsweep.store.state import SweepState
from omsweep.strict_json import plain


class DataSet(NamedTuple):
    """Data that a run reads.

    Attributes:
        name: of the data; of a file or folder its last part.
        digest: 16 hexadecimal digits: of the content where the sweep took a hash of it, else of what says which data
            they are, with the version of omsweep for built-in data.
        kind: `file`, `hub` or `built-in`.
        source: path, hub id or name.
        context: what they are for: `preferences`, `tax suite` or `reward prompts`.
        counts: numbers that are known of them.
    """

    name: str
    digest: str
    kind: str
    source: str
    context: str
    counts: Mapping[str, Any]


def data_sets(state: SweepState, trial_id: str | None = None) -> tuple[DataSet, ...]:
    """What a trial reads, or with None all that the trials of the families that are ready read."""
    if trial_id is not None:
        key = state.trials[trial_id].fields.get("data")
        return (*([_preferences(state, key)] if key else []), *_scored_on(state))
    prepared = state.prepared.values()
    keys = dict.fromkeys(key for one in prepared for key in one.get("models", {}).get("data") or {})
    return (*(_preferences(state, key) for key in keys), *_scored_on(state))


def as_inputs(data: Iterable[DataSet]) -> list[Any]:
    """The same as MLflow's inputs of a run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(one.name, one.digest, one.kind, clean(one.source), profile=json.dumps(dict(one.counts))),
            [InputTag("mlflow.data.context", one.context)],
        )
        for one in data
    ]


def _preferences(state: SweepState, key: str) -> DataSet:
    which = json.loads(key) if key.startswith("{") else {"name": key}
    source = str(which.get("path") or which.get("hub") or which.get("name"))
    kind = "file" if which.get("path") else "hub" if which.get("hub") else "built-in"
    summaries = (found for one in state.prepared.values() for found in one.get("models", {}).get("records") or ())
    last = PurePath(source).name
    known = (one for one in summaries if PurePath(one["source"]).name.removeprefix("preferences ") == last)
    counts = {name: value for name, value in next(known, {}).items() if name in ("records", "taken", "dropped")}
    hashed = next((one for one in state.created.get("inputs", {}).values() if one["path"] == source), None)
    return _data_set(state, "preferences", kind, source, counts, hashed, which)


def _scored_on(state: SweepState) -> list[DataSet]:
    """The tax suite, with its categories, and the reward prompts."""
    evaluate = state.resolved.get("evaluate")
    if evaluate is None:
        return []
    reward, limit = evaluate["reward"], {"limit": evaluate.get("limit")}
    prompts = reward.get("prompts", "tiny") if isinstance(reward, Mapping) else "tiny"
    ready: Mapping[str, Any] = next(iter(state.prepared.values()), {})
    scores = (ready.get("reference") or {}).get("scores") or {}
    contamination: Mapping[str, Any] = next(iter(ready.get("models", {}).get("contamination") or ()), {})
    of_suite = {"categories": len(scores), "items_and_prompts": contamination.get("items"), **limit}
    return [
        _scored(state, "tax suite", "evaluate.tax", evaluate["tax"], of_suite),
        *(
            _scored(state, "tax data", key, one["path"], limit)
            for key, one in state.created.get("inputs", {}).items()
            if key.startswith("evaluate.data.")
        ),
        _scored(
            state, "reward prompts", "evaluate.reward.prompts", prompts, {"samples": evaluate.get("samples"), **limit}
        ),
    ]


def _scored(state: SweepState, context: str, key: str, source: str, counts: Mapping[str, Any]) -> DataSet:
    hashed = state.created.get("inputs", {}).get(key)
    kind = "built-in" if hashed is None else "file"
    return _data_set(state, context, kind, source, counts, hashed, source)


def _data_set(
    state: SweepState,
    context: str,
    kind: str,
    source: str,
    counts: Mapping[str, Any],
    hashed: Mapping[str, str] | None,
    which: object,
) -> DataSet:
    name = PurePath(source).name if kind == "file" else source
    if hashed is not None:
        digest = hashed.get("sha256") or hashed["folder_sha256"]
    else:
        built_in = state.created.get("versions", {}).get("omsweep") if kind == "built-in" else None
        said = json.dumps([context, plain(which), built_in], sort_keys=True)
        digest = hashlib.sha256(said.encode()).hexdigest()
    shown = name if context == "preferences" else f"{name} {context}"
    known = {name: count for name, count in counts.items() if count is not None}
    return DataSet(shown, digest[:16], kind, source, context, known)
