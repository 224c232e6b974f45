"""`check` says what the template of a family's folder cannot render; a run says it before anything is prepared."""

import json
from pathlib import Path
from typing import Any

import pytest

from omsweep.commands.check.templates import check_templates
from omsweep.engine.prepare import check_own_data
from omsweep.families.tiny.architecture import random_family
from omsweep.families.tiny.tokenizer import CHAT_TEMPLATE
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError

SYSTEM = "record 1, chosen: the chat template of {} renders no system turn here: roles must be user or assistant"


def records(folder: Path) -> str:
    user, answers = {"role": "user", "content": "hi"}, [[{"role": "assistant", "content": text}] for text in "ab"]
    prompts = [[user], [{"role": "system", "content": "be brief"}, user]]
    lines = [json.dumps({"prompt": each, "chosen": answers[0], "rejected": answers[1]}) for each in prompts]
    (folder / "pairs.jsonl").write_text("\n".join(lines))
    return str(folder / "pairs.jsonl")


def test_a_system_turn_that_a_folders_template_refuses(compare: dict[str, Any], tmp_path: Path) -> None:
    folder = str(random_family(tmp_path / "sft", hidden_size=16, intermediate_size=16))
    compare |= {"families": [{"name": "mine", "base": folder, "sft": folder}], "preferences": records(tmp_path)}
    with pytest.raises(SpaceError, match=f"^preferences.*{SYSTEM.format('mine')}"):
        check_templates(build_space(compare))
    compare["families"][0]["chat_template"] = CHAT_TEMPLATE.replace("== 'user'", "in ['user', 'system']")
    check_templates(build_space(compare))


def test_a_template_without_an_end(compare: dict[str, Any], tmp_path: Path) -> None:
    folder = random_family(tmp_path / "sft", hidden_size=16, intermediate_size=16)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE.replace(" {{ eos_token }}", ""))
    compare["families"] = ["tiny-llama", {"name": "mine", "base": str(folder), "sft": str(folder)}]
    with pytest.raises(SpaceError, match=r"^families\.1.* the chat template of mine writes no end token"):
        check_templates(build_space(compare))
    compare["preferences"] = {"path": "absent.jsonl", "rendering": "plain"}
    check_templates(build_space(compare))


def test_a_run_says_it_of_embedded_families_before_ray(
    compare: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path / "cache"))
    compare["preferences"] = records(tmp_path)
    check_templates(build_space(compare))
    with pytest.raises(ValueError, match=SYSTEM.format("tiny-llama")):
        check_own_data(build_space(compare))
