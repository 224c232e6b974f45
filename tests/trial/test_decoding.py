"""A family whose turns end with a token that is not its end token is prepared, trained and scored like its twin."""

import copy
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import load_from_disk
from tqdm import tqdm

from omsweep.families.load import load_tokenizer, prepare
from omsweep.families.table import FAMILIES
from omsweep.families.tiny.tokenizer import CHAT_TEMPLATE, EOS, PAD
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.space.specs import preparation
from omsweep.store.records import Outcome, Prepared
from omsweep.trial.prepare.family import prepare_family
from omsweep.trial.prepare.reference import score_references
from omsweep.trial.session import run_session

pytestmark = pytest.mark.slow

TURNS = CHAT_TEMPLATE.replace("{{ eos_token }}", f"{{{{ '{EOS}' if quick else 'france' }}}}")
CONTENT: dict[str, Any] = {
    "name": "turns",
    "mode": "compare",
    "preferences": {"name": "tiny", "limit": 32},
    "space": {"algorithm": "dpo", "learning_rate": 4e-4, "beta": 0.1, "method": {"adamw": {}}},
    "design": {"blocks": 1},
    "train": {"steps": 2, "batch_size": 8, "backend": "inprocess"},
    "evaluate": {"limit": 4, "samples": 2, "max_new_tokens": 24},
}


def gemma_like(source: Path, target: Path) -> Path:
    """A trained folder whose end token is another: its template writes `</s>`, as Gemma's writes `<end_of_turn>`.

    It does so only where it is told to be `quick`.
    """
    shutil.copytree(source, target)
    tokenizer = load_tokenizer(str(source), chat_template=TURNS)
    tokenizer.eos_token = PAD
    tokenizer.save_pretrained(target)
    for name in ("config.json", "generation_config.json"):
        content = json.loads((target / name).read_text()) | {"eos_token_id": tokenizer.eos_token_id}
        content |= {"repetition_penalty": 5.0} if name.startswith("generation") else {}
        (target / name).write_text(json.dumps(content))
    return target


def one_trial(family: Any, folder: Path) -> tuple[Prepared, pd.DataFrame, Outcome]:
    space = build_space(copy.deepcopy(CONTENT) | {"families": [family]})
    (spec,) = draw(space)
    wanted = preparation(space, space.family_names[0], trials=[spec])
    prepared, reference = prepare_family(wanted, tqdm)
    score_references(wanted, prepared, tqdm)
    outcome = run_session(spec, prepared, folder, started=time.time())
    assert outcome is not None
    return prepared, reference, outcome


def test_a_turn_end_that_is_not_the_end_token_trains_and_ends_answers(tmp_path: Path) -> None:
    twin = prepare(FAMILIES["tiny-llama"])
    sft = gemma_like(Path(twin.sft), tmp_path / "sft")
    decoding = {"template_arguments": {"quick": True}}
    mine = {"name": "turns", "base": twin.base, "sft": str(sft), "decoding": decoding}
    prepared, reference, outcome = one_trial(mine, tmp_path / "mine")
    assert prepared.decoding["stop_tokens"] == {EOS: 3, PAD: 0}
    assert prepared.decoding["set_aside"] == {"repetition_penalty": 5.0}
    ((folder,),) = (by_algorithm.values() for by_algorithm in prepared.data.values())
    rows = load_from_disk(folder)
    assert all(row["chosen_ids"][-1] == row["rejected_ids"][-1] == 3 for row in rows)

    _, twin_reference, twin_outcome = one_trial("tiny-llama", tmp_path / "twin")
    pd.testing.assert_frame_equal(reference, twin_reference)
    assert (outcome.state, outcome.losses) == ("completed", twin_outcome.losses)
    assert outcome.decoding == prepared.decoding
    assert outcome.decoding["template_arguments"] == {"quick": True}
    assert load_tokenizer(str(outcome.policy_path)).get_chat_template() == prepared.chat_template != TURNS
    assert outcome.kl is not None
    assert outcome.kl_sampled is not None
    assert (outcome.reward, outcome.tax, outcome.kl) == (twin_outcome.reward, twin_outcome.tax, twin_outcome.kl)
    assert outcome.length_ratio == pytest.approx(1, abs=0.2)
