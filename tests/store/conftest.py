"""Every kind of storage that a sweep can have."""

from collections.abc import Callable
from pathlib import Path

import pytest

from omsweep.store.storage import FolderStorage, Storage

Again = Callable[[], Storage]
"""Another storage of the same sweep, as another process has it."""


def folder(path: Path) -> Again:
    return lambda: FolderStorage(path / "runs" / "demo")


def object_memory(path: Path) -> Again:
    from omsweep.store.objects import ObjectStorage, obstore

    store = obstore.store.MemoryStore()
    return lambda: ObjectStorage("memory:///demo", store)


def object_files(path: Path) -> Again:
    from omsweep.store.objects import ObjectStorage, obstore

    return lambda: ObjectStorage("file:///demo", obstore.store.LocalStore(path / "objects", mkdir=True))


@pytest.fixture(params=[folder, object_memory, object_files], ids=lambda make: make.__name__)
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Again:
    if request.param is not folder:
        pytest.importorskip("obstore")
    made: Again = request.param(tmp_path)
    return made


@pytest.fixture
def storage(again: Again) -> Storage:
    return again()
