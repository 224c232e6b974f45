"""The folder of a sweep, the one truth that MLflow and the report are written from.

`sweep.json`, `trials.jsonl`, `scores/`, `references.json`, `references/`, `front.json`, `front.png`, `report.html`; of
a study also `study.md`, `study.tex`, `study.png`, of a comparison `comparison.json`, `comparison.md`, `comparison.tex`,
`comparison.png`. The sweep's driver alone writes, any number may read. Imports neither torch nor Ray, pandas only for
scores.
"""

import fcntl
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omsweep.provenance import revision, versions
from omsweep.store.records import TrialRecord, check_file_name
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
        self.sweep_json = self.path / "sweep.json"
        self.trials_jsonl = self.path / "trials.jsonl"
        self.scores_folder = self.path / "scores"
        self.references_json = self.path / "references.json"
        self.references_folder = self.path / "references"
        self.front_json = self.path / "front.json"
        self.front_png = self.path / "front.png"
        self.report_html = self.path / "report.html"
        self.study_md = self.path / "study.md"
        self.study_tex = self.path / "study.tex"
        self.study_png = self.path / "study.png"
        self.comparison_json = self.path / "comparison.json"
        self.comparison_md = self.path / "comparison.md"
        self.comparison_tex = self.path / "comparison.tex"
        self.comparison_png = self.path / "comparison.png"

    def exists(self) -> bool:
        """Whether a sweep of this name has been created here."""
        return self.path.exists()

    def create(self, resolved: Mapping[str, Any], contamination: Sequence[Mapping[str, Any]] = ()) -> None:
        """Make the folder and write `sweep.json`: name, UTC time, resolved space, versions, git revision.

        `contamination` says of the preferences and of what is replayed how much is scored too.

        Raises:
            FileExistsError: the folder exists; the message names it.
            ValueError: the folder cannot be made or written; the message names it and the reason.
        """
        description = {
            "name": self.name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "resolved": plain(resolved),
            "contamination": plain(contamination),
            "versions": versions(),
            **revision(),
        }
        with _writable(self.path):
            self.storage.mkdir(parents=True, exist_ok=True)
            try:
                self.path.mkdir()
            except FileExistsError:
                raise FileExistsError(
                    f"sweep folder {self.path} exists: choose another name or remove the folder"
                ) from None
            self.scores_folder.mkdir()
            self.trials_jsonl.touch()
            write_json(self.sweep_json, description)

    def sweep(self) -> dict[str, Any]:
        """The content of `sweep.json`; FileNotFoundError when there is no such sweep, ValueError when it is broken."""
        if not self.sweep_json.is_file():
            raise FileNotFoundError(f"no sweep in {self.path}: sweep.json is missing")
        description: dict[str, Any] = read_json(self.sweep_json)
        return description

    def append(self, record: TrialRecord) -> None:
        """Add one line to `trials.jsonl`, under a file lock and on the disk when this returns."""
        line = json.dumps(record.to_json(), allow_nan=False, ensure_ascii=False) + "\n"
        with _writable(self.path):
            handle = os.open(self.trials_jsonl, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                _write_all(handle, (("\n" if torn else "") + line).encode())
                os.fsync(handle)
            finally:
                os.close(handle)

    def trials(self) -> list[TrialRecord]:
        """The finished trials in the order they ended, none before the first.

        Of a trial that was repeated the last record counts. A line that is not complete JSON (its writer
        died) is skipped with a warning.
        """
        if not self.trials_jsonl.is_file():
            return []
        records: dict[str, TrialRecord] = {}
        for number, line in enumerate(self.trials_jsonl.read_bytes().split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                content = json.loads(line)
            except ValueError:
                warnings.warn(
                    f"{self.trials_jsonl}:{number}: torn line skipped: the trial is not in the results",
                    stacklevel=2,
                )
                continue
            try:
                record = TrialRecord.from_json(content)
            except ValueError as error:
                raise ValueError(f"{self.trials_jsonl}:{number}: {error}") from None
            records.pop(record.trial_id, None)
            records[record.trial_id] = record
        return list(records.values())

    def write_scores(self, trial_id: str, frame: "DataFrame") -> Path:
        """Write the per-item scores of a trial to `scores/<trial_id>.parquet` and return the path."""
        check_file_name("trial_id", trial_id)
        return self._write_table(self.scores_folder / f"{trial_id}.parquet", frame)

    def scores(self, trial_id: str, columns: Sequence[str] | None = None) -> "DataFrame":
        """The per-item scores of a trial, all columns or those named; FileNotFoundError when it has none."""
        import pandas

        check_file_name("trial_id", trial_id)
        return pandas.read_parquet(self.scores_folder / f"{trial_id}.parquet", columns=columns)

    def write_reference(self, family: str, reference: Mapping[str, Any], *, sft_seed: int | None = None) -> None:
        """Keep what a family's SFT model scored on the search split: `scores`, `benchmark_average`.

        Under `family`, or `family#sft_seed` where a sweep has several SFT models of a family; see `reference_of`.
        `reference` is what comparing the SFT model with itself gives; the report shows categories against it.
        """
        with _writable(self.path):
            write_json(self.references_json, {**self.references(), _reference_key(family, sft_seed): plain(reference)})

    def references(self) -> dict[str, dict[str, Any]]:
        """What `write_reference` kept, by family or `family#sft_seed`; empty when nothing was."""
        if not self.references_json.is_file():
            return {}
        references: dict[str, dict[str, Any]] = read_json(self.references_json)
        return references

    def write_reference_scores(self, family: str, frame: "DataFrame", *, sft_seed: int | None = None) -> Path:
        """Keep the SFT model's per-item scores, as `references/<key>.parquet`, the key as for `write_reference`."""
        return self._write_table(self.references_folder / f"{_reference_key(family, sft_seed)}.parquet", frame)

    def reference_scores(self, family: str, sft_seed: int | None = None) -> "DataFrame":
        """The per-item scores of the SFT model that a trial is measured against; FileNotFoundError when not kept."""
        import pandas

        file = self.references_folder / f"{_reference_key(family, sft_seed)}.parquet"
        return pandas.read_parquet(file if file.is_file() else file.with_name(f"{family}.parquet"))

    def write_front(self, front: Mapping[str, Any]) -> None:
        """Write `front.json`, replacing it in one step."""
        with _writable(self.path):
            write_json(self.front_json, plain(front))

    def front(self) -> dict[str, Any] | None:
        """The content of `front.json`, None before the first was written."""
        if not self.front_json.is_file():
            return None
        front: dict[str, Any] = read_json(self.front_json)
        return front

    def _write_table(self, target: Path, frame: "DataFrame") -> Path:
        with _writable(self.path):
            target.parent.mkdir(exist_ok=True)
            partial = target.with_name(f".{target.name}.partial")
            frame.to_parquet(partial, index=False)
            partial.replace(target)
        return target


def reference_of(
    references: Mapping[str, Mapping[str, Any]], family: str, sft_seed: int | None
) -> Mapping[str, Any] | None:
    """The entry of `references.json` that a trial is measured against, None where it was not kept."""
    return references.get(f"{family}#{sft_seed}", references.get(family))


def _reference_key(family: str, sft_seed: int | None) -> str:
    return family if sft_seed is None else f"{family}#{sft_seed}"


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Turn the system's refusals into a message that names the sweep's folder."""
    try:
        yield
    except FileExistsError as refusal:
        if refusal.errno is None:  # our own message
            raise
        raise ValueError(f"storage {folder} cannot be written: {refusal}") from refusal
    except OSError as refusal:
        raise ValueError(f"storage {folder} cannot be written: {refusal}") from refusal


def _write_all(handle: int, content: bytes) -> None:
    while content:
        content = content[os.write(handle, content) :]
