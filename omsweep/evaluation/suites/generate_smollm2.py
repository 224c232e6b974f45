"""Writes the smollm2 suite from the everyday items: `python -m omsweep.evaluation.suites.generate_smollm2`.

The files are committed, so that no evaluation depends on the generator; a test regenerates them byte for byte.
"""

from pathlib import Path

from omsweep.evaluation.suites.generate import json_lines, write_files
from omsweep.worlds.everyday.items import SKILLS, tax_items
from omsweep.worlds.everyday.prompts import reward_prompts

SMOLLM2 = Path(__file__).parent / "smollm2"

_HEAD = """\
# Written by omsweep.evaluation.suites.generate_smollm2. data_files is relative to this file.
task: smollm2_{skill}
dataset_path: json
dataset_kwargs:
  data_files:
    test: data/{skill}.jsonl
test_split: test
num_fewshot: 0
doc_to_text: prompt
doc_to_target: answer
metadata:
  version: 1.0
  category: {skill}
gen_prefix: prefix
"""

_CHOICES = """\
output_type: multiple_choice
doc_to_choice: choices
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""

_GENERATED = """\
output_type: generate_until
generation_kwargs:
  until: [","]
  do_sample: false
  temperature: 0.0
  max_gen_toks: 4
filter_list:
  - name: stripped
    filter:
      - function: remove_whitespace
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: true
"""


def suite_files() -> dict[str, str]:
    """Path inside the suite's folder -> text, for every generated file."""
    files = {}
    for skill in SKILLS:
        items = tax_items(skill)
        kind = _CHOICES if "choices" in items[0] else _GENERATED
        files[f"{skill}.yaml"] = _HEAD.format(skill=skill) + kind
        files[f"data/{skill}.jsonl"] = json_lines(items)
    return files | {"reward_prompts.jsonl": json_lines(reward_prompts())}


if __name__ == "__main__":
    write_files(SMOLLM2, suite_files())
