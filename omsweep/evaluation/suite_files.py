"""A suite's folder as files: their content, links followed, and the Python that loading them runs. Torch-free."""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omsweep.cache.manifest import sha256_of

CODE_TAG = "!function"
"""How lm-eval's task YAMLs name a Python function of a file beside them, which is run when the task is loaded."""

_TASK = re.compile(r"^task:\s*[\"']?([^\s\"'#]+)", re.MULTILINE)
_LIKELIHOODS = re.compile(r"^output_type:\s*[\"']?(?!generate_until)\w", re.MULTILINE)


def content_hash(path: Path) -> str:
    """Sixteen hex digits of a file's bytes, or of the names and bytes of a folder's files; no time stamp counts."""
    if path.is_file():
        return sha256_of(path)[:16]
    digest = hashlib.sha256()
    for file in folder_files(path):
        digest.update(file.relative_to(path).as_posix().encode() + b"\0" + bytes.fromhex(sha256_of(file)))
    return digest.hexdigest()[:16]


def folder_files(folder: Path) -> list[Path]:
    """Every file below a folder but hidden ones and compiled Python, in order; links to folders are followed."""
    found = (parent / name for parent, names in _walk(folder) for name in names)
    return sorted(file for file in found if file.is_file())


def linked_folders(folder: Path) -> list[Path]:
    """Folders below a folder that are links, in order."""
    return sorted(parent for parent, _ in _walk(folder) if parent != folder and parent.is_symlink())


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        here = os.path.realpath(parent)
        folders[:] = [] if here in seen else [name for name in folders if _counts(name)]
        if here not in seen:
            yield Path(parent), [name for name in files if _counts(name)]
        seen.add(here)


def _counts(name: str) -> bool:
    return not name.startswith((".", "__pycache__"))


def likelihood_tasks(folder: Path) -> list[str]:
    """Tasks of a folder's YAMLs that are scored by log-likelihoods, as far as the YAMLs' own text says it."""
    yamls = (file for file in folder_files(folder) if file.suffix == ".yaml")
    texts = [text for file in yamls if _LIKELIHOODS.search(text := file.read_text("utf-8", errors="replace"))]
    return [named[1] for text in texts if (named := _TASK.search(text))]


def suite_code(folder: Path) -> list[str]:
    """Where the YAMLs of a folder, and what they include, name Python that loading them runs: `FILE:LINE NAME`.

    That is a function of their own, or a metric that the evaluate library fetches (`hf_evaluate`).
    A file that is no YAML names none: lm-eval refuses it.
    """
    found: list[str] = []
    yamls = {*folder.glob("**/*.yaml"), *(file for file in folder_files(folder) if file.suffix == ".yaml")}
    left, seen = sorted(yamls), set[Path]()  # lm-eval reads those in hidden folders too
    while left:
        file = left.pop(0)
        if file.resolve() in seen or not file.is_file():
            continue
        seen.add(file.resolve())
        for node in _nodes(file):
            if node.tag == CODE_TAG:
                found.append(f"{file}:{node.start_mark.line + 1} {node.value}")
            if node.id == "mapping":
                includes = [value for key, value in node.value if key.value == "include"]
                left += [file.parent / one.value for value in includes for one in _entries(value)]
                asked = [key for key, value in node.value if key.value == "hf_evaluate" and _is_true(value)]
                found += [f"{file}:{key.start_mark.line + 1} hf_evaluate" for key in asked]
    return found


def _is_true(node: Any) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:bool") and node.value.lower() in ("true", "yes", "on")


def yaml_problem(file: Path) -> str | None:
    """What is wrong with a file as YAML, with its place; None for nothing."""
    import yaml

    try:
        yaml.compose(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        return f"invalid YAML: {' '.join(str(error).split())}"
    return None


def _nodes(file: Path) -> Iterator[Any]:
    import yaml

    try:
        left: list[Any] = [yaml.compose(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))]
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        return
    seen: set[int] = set()
    while left:
        node = left.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        left += [one for pair in node.value for one in pair] if node.id == "mapping" else _entries(node)


def _entries(node: Any) -> list[Any]:
    if node.id == "sequence":
        return list(node.value)
    return [node] if isinstance(node.value, str) else []
