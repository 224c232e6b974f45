"""A fixed baseline's answers, by prompt: what a judge compares with instead of the SFT model's answers. Torch-free."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from omsweep.preferences.files import json_lines


def baseline_answers(file: str) -> Mapping[str, str]:
    """The answers of a JSONL file with lines `{"id" or "prompt": text, "answer": text}`, by id or prompt.

    `instruction` and `output`, as AlpacaEval has them, are taken for `prompt` and `answer`.

    Raises:
        ValueError: naming line and key of what is no answer, or comes twice.
    """
    path = Path(file).expanduser().absolute()
    return _read(path, path.read_bytes())


@lru_cache(maxsize=4)
def _read(path: Path, content: bytes) -> Mapping[str, str]:
    found: dict[str, str] = {}
    try:
        lines = list(json_lines(content.decode("utf-8-sig")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    for number, line in lines:
        record = line if isinstance(line, dict) else {}
        asked = next((record[key] for key in ("id", "prompt", "instruction") if key in record), None)
        answer = record.get("answer", record.get("output"))
        if asked is None or not isinstance(answer, str):
            raise ValueError(f"{path}:{number}: needs id or prompt, and answer (text), got {sorted(record)}")
        if str(asked) in found:
            raise ValueError(f"{path}:{number}: a second answer to {str(asked)!r:.80}")
        found[str(asked)] = answer
    return found
