"""What judges replied, one file per call that was answered: written once, kept for good, found by what was asked.

A reply is on the disk before anybody uses it, under a name made from the request, so that a sweep that was killed asks
nothing again but what was in flight. What a reply says is read anew each time (`omsweep.evaluation.judges.verdicts`).
"""

import hashlib
import json
import os
import re
import threading
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from omsweep.cache import CLOSED_FOLDER, cache_root

KIND = "judge_replies"
SUFFIX = ".json"


def replies_folder(url: str, model: str, root: Path | None = None) -> Path:
    """Where the cache keeps what a model at an address replied; no build's entry, so that nothing removes it."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.")[:40] or "judge"
    return (root or cache_root()) / KIND / f"{name}-{hashlib.sha256(f'{url} {model}'.encode()).hexdigest()[:10]}"


def request_key(body: Mapping[str, Any], *, repeat: int = 0, attempt: int = 0) -> str:
    """Names a request by what it asks, for the how-manieth time, and after how many replies without a verdict."""
    content = json.dumps([body, repeat, attempt], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()[:40]


class Replies:
    """The replies in a folder, which other processes may write to as well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, Mapping[str, Any]] = {}
        self._tokens_in = self._tokens_out = 0
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read what other processes, and earlier ones, have written."""
        with suppress(FileNotFoundError):
            names = [name.removesuffix(SUFFIX) for name in os.listdir(self.folder) if name.endswith(SUFFIX)]
            for key in names:
                self.get(key)

    def get(self, key: str) -> Mapping[str, Any] | None:
        """The reply under a key, None where there is none; one that cannot be read is none."""
        if key not in self._known:
            try:
                found = json.loads((self.folder / f"{key}{SUFFIX}").read_bytes())
            except (OSError, ValueError):
                return None
            with self._lock:
                if key not in self._known:
                    self._known[key] = found
                    self._tokens_in += found["tokens_in"]
                    self._tokens_out += found["tokens_out"]
        return self._known[key]

    def put(self, key: str, reply: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keep a reply; returns the one that is kept, another's where that was faster. OSError when refused."""
        self.folder.mkdir(CLOSED_FOLDER, parents=True, exist_ok=True)
        target, partial = self.folder / f"{key}{SUFFIX}", self.folder / f".{key}.{uuid.uuid4().hex}"
        try:
            with partial.open("x", encoding="utf-8") as file:
                json.dump(reply, file, allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(partial, target)  # unlike a rename it leaves alone what is there
        finally:
            partial.unlink(missing_ok=True)
        kept = self.get(key)
        if kept is None:  # torn by a machine that went down: no reply
            target.unlink(missing_ok=True)
            return self.put(key, reply)
        return kept

    def used(self, price_in: float = 0.0, price_out: float = 0.0) -> tuple[int, float]:
        """Calls that were answered, and what their tokens cost at prices of a million."""
        return len(self._known), (self._tokens_in * price_in + self._tokens_out * price_out) / 1e6
