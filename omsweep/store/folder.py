"""The folder of a sweep: its log, the tables beside it, and the files that are written from them for people.

The log (`omsweep.store.log`) is the truth. `sweep.json`, `trials.jsonl`, `trials.csv`, `references.json`, `front.json`,
`front.png`, `answers.json`, `report.html`, of a search `optuna.log`, of a study `study.*` and of a comparison
`comparison.*` are made from it and can be deleted; `scores/` and `references/` hold the tables that its events name.
Imports neither torch nor Ray, pandas only for scores.
"""

import io
import itertools
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omsweep.foreign import calling
from omsweep.redaction import without_values
from omsweep.store.former import former_events
from omsweep.store.log import read_state
from omsweep.store.records import TrialRecord, check_file_name
from omsweep.store.state import SweepState, family_key, fold
from omsweep.store.storage import EVENTS, FolderStorage
from omsweep.strict_json import plain, read_json, write_json

if TYPE_CHECKING:
    from pandas import DataFrame


class SweepFolder:
    """The folder `<storage>/<name>` of one sweep.

    Constructing it touches nothing on disk, so that a reader may look at a folder that is being written.

    Args:
        storage: local folder that holds sweeps.
        name: the sweep's name: letters, digits, `.`, `_`, `+` and `-`, starting with a letter or digit.

    Raises:
        ValueError: a name that cannot be a folder's, or storage given as a URI.
    """

    def __init__(self, storage: str | Path, name: str) -> None:
        check_file_name("name", name)
        if "://" in str(storage):
            raise ValueError(f"storage must be a local folder, got {str(storage)!r}")
        self.name = name
        self.storage = Path(storage).expanduser().absolute()
        self.path = self.storage / name
        self.events_jsonl = self.path / EVENTS
        self.sweep_json = self.path / "sweep.json"
        self.trials_jsonl = self.path / "trials.jsonl"
        self.trials_csv = self.path / "trials.csv"
        self.scores_folder = self.path / "scores"
        self.references_json = self.path / "references.json"
        self.references_folder = self.path / "references"
        self.front_json = self.path / "front.json"
        self.front_png = self.path / "front.png"
        self.answers_json = self.path / "answers.json"
        self.report_html = self.path / "report.html"
        self.optuna_log = self.path / "optuna.log"
        self.study_md = self.path / "study.md"
        self.study_tex = self.path / "study.tex"
        self.study_png = self.path / "study.png"
        self.comparison_json = self.path / "comparison.json"
        self.comparison_md = self.path / "comparison.md"
        self.comparison_tex = self.path / "comparison.tex"
        self.comparison_png = self.path / "comparison.png"

    @cached_property
    def files(self) -> FolderStorage:
        """The folder as the log's storage."""
        return FolderStorage(self.path)

    def exists(self) -> bool:
        """Whether a sweep of this name has been created here; a driver may have been killed before it was."""
        try:
            with self.events_jsonl.open("rb") as log:
                return log.readline().endswith(b"\n") or self.sweep_json.is_file()
        except FileNotFoundError:
            return self.sweep_json.is_file()

    def state(self) -> SweepState:
        """What has happened so far, of a sweep from before the log as far as its files say.

        Raises:
            FileNotFoundError: there is no such sweep.
            DamagedLog: the log, or a file of a sweep from before, is broken; the message names the line.
        """
        if self.events_jsonl.is_file():
            state = read_state(self.files)
        elif self.sweep_json.is_file():
            state = fold(former_events(self.path))
        else:
            state = SweepState()
        if not state.created:
            raise FileNotFoundError(f"no sweep in {self.path}: it has no {EVENTS}")
        return state

    def sweep(self) -> dict[str, Any]:
        """What `sweep.json` says; errors as `state`."""
        return describe(self.state())

    def trials(self) -> list[TrialRecord]:
        """The finished trials in the order they ended; errors as `state`."""
        return self.state().records()

    def write_derived(self, state: SweepState) -> None:
        """Write `sweep.json`, `trials.jsonl` and `references.json` from the state; OSError where refused."""
        write_json(self.sweep_json, describe(state))
        lines = (json.dumps(one.to_json(), allow_nan=False, ensure_ascii=False) + "\n" for one in state.records())
        self.files.write(self.trials_jsonl.name, "".join(lines).encode())
        if state.prepared:
            write_json(self.references_json, dict(state.references()))

    def write_scores(self, trial_id: str, frame: "DataFrame") -> Path:
        """Write the per-item scores of a trial to `scores/<trial_id>.parquet` and return the path."""
        check_file_name("trial_id", trial_id)
        return self._write_table(self.scores_folder / f"{trial_id}.parquet", frame)

    def scores(self, trial_id: str, columns: Sequence[str] | None = None) -> "DataFrame":
        """The per-item scores of a trial, all columns or those named.

        Raises:
            FileNotFoundError: it has none.
            ValueError: the file is broken.
        """
        check_file_name("trial_id", trial_id)
        return _read_table(self.scores_folder / f"{trial_id}.parquet", columns)

    def references(self) -> dict[str, Mapping[str, Any]]:
        """What each SFT model scored, by family or `family#sft_seed`."""
        return self.state().references()

    def write_reference_scores(self, family: str, frame: "DataFrame", *, sft_seed: int | None = None) -> Path:
        """Keep the SFT model's per-item scores, as `references/<key>.parquet`, the key as for `write_reference`."""
        return self._write_table(self.references_folder / f"{family_key(family, sft_seed)}.parquet", frame)

    def reference_scores(self, family: str, sft_seed: int | None = None) -> "DataFrame":
        """The per-item scores of the SFT model that a trial is measured against; errors as `scores`."""
        file = self.references_folder / f"{family_key(family, sft_seed)}.parquet"
        return _read_table(file if file.is_file() else file.with_name(f"{family}.parquet"))

    def write_front(self, front: Mapping[str, Any]) -> None:
        """Write `front.json`, replacing it in one step."""
        write_json(self.front_json, plain(front))

    def front(self) -> dict[str, Any] | None:
        """The content of `front.json`, None before the first was written."""
        if not self.front_json.is_file():
            return None
        front: dict[str, Any] = read_json(self.front_json)
        return front

    def _write_table(self, target: Path, frame: "DataFrame") -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        _without_values(frame).to_parquet(partial, index=False)
        partial.replace(target)
        return target


def _without_values(frame: "DataFrame") -> "DataFrame":
    """The table without secrets in its texts: an answer, or what a judge says, may repeat one."""
    clean = {}
    for name in frame.select_dtypes(["object", "string"]).columns:
        texts = "\n".join(one for one in frame[name] if isinstance(one, str))
        if without_values(texts) != texts:
            clean[name] = [without_values(one) if isinstance(one, str) else one for one in frame[name]]
    return frame.assign(**clean) if clean else frame


def _read_table(file: Path, columns: Sequence[str] | None = None) -> "DataFrame":
    import pandas

    content = file.read_bytes()  # a file that is not there is not broken
    with calling(f"read the table {file}"):
        return pandas.read_parquet(io.BytesIO(content), columns=columns)


def reference_of(
    references: Mapping[str, Mapping[str, Any]], family: str, sft_seed: int | None
) -> Mapping[str, Any] | None:
    """The entry of `references.json` that a trial is measured against, None where it was not kept."""
    return references.get(f"{family}#{sft_seed}", references.get(family))


def describe(state: SweepState) -> dict[str, Any]:
    """What `sweep.json` says: name, time, resolved space, records and contamination of the data, versions, revision,
    and where its budget is used up, what was."""
    created = datetime.fromtimestamp(state.created["created"], UTC).isoformat(timespec="seconds")
    of_data: dict[str, list[Any]] = {"contamination": [], "records": []}
    for (what, found), data in itertools.product(of_data.items(), state.prepared.values()):
        found += [one for one in data["models"].get(what, ()) if one not in found]
    spent = {"spent": state.spent} if state.spent else {}
    return plain({**state.created, "created": created, **of_data, **spent})
