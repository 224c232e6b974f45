"""Writes the tiny suite from the embedded world: `python -m omsweep.evaluation.suites.generate`.

The files are committed, so that no evaluation depends on the generator; a test regenerates them byte for byte.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omsweep.worlds.tiny.items import reward_prompts, tax_items
from omsweep.worlds.tiny.skills.table import SKILLS

TINY = Path(__file__).parent / "tiny"

_TASK = """\
# Written by omsweep.evaluation.suites.generate. data_files is relative to this file.
task: tiny_{category}
dataset_path: json
dataset_kwargs:
  data_files:
    test: data/{category}.jsonl
test_split: test
output_type: generate_until
doc_to_text: prompt
doc_to_target: answer
num_fewshot: 0
generation_kwargs:
  until: []
  do_sample: false
  temperature: 0.0
  max_gen_toks: 24
filter_list:
  - name: stripped
    filter:
      - function: remove_whitespace
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
  category: {category}
"""


def suite_files() -> dict[str, str]:
    """Path inside the suite's folder -> text, for every generated file."""
    files = {f"{category}.yaml": _TASK.format(category=category) for category in SKILLS}
    files |= {f"data/{category}.jsonl": json_lines(tax_items(category)) for category in SKILLS}
    return files | {"reward_prompts.jsonl": json_lines(reward_prompts())}


def json_lines(records: Iterable[Mapping[str, Any]]) -> str:
    """One ASCII line of JSON for each record."""
    return "".join(json.dumps(record, ensure_ascii=True) + "\n" for record in records)


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write every file, path inside the folder -> text, under `folder`."""
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode("utf-8"))


if __name__ == "__main__":
    write_files(TINY, suite_files())
