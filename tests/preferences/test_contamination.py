"""Prompts that are scored too are found by their text: fifty identical ones with other ids once passed."""

import json
from pathlib import Path

import pytest

from omsweep.preferences.contamination import (
    NGRAM_WORDS,
    Contamination,
    ItemTexts,
    ScoredText,
    matches,
    refuse_same,
    user_text,
)
from omsweep.preferences.load import contamination_of, load_preferences
from omsweep.preferences.settings import PreferenceData

LONG = " ".join(f"word{number}" for number in range(30))


def found(prompts, *scored):
    return list(matches(enumerate(prompts), ItemTexts(ScoredText(f"item {n}", text) for n, text in enumerate(scored))))


def test_fifty_identical_prompts_are_found_whatever_their_ids(tmp_path):
    asked = [f"How do I cook dish number {number}?" for number in range(50)]
    rows = [{"id": f"mine-{n}", "prompt": text, "chosen": "a", "rejected": "b"} for n, text in enumerate(asked)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0] | {"id": "x", "prompt": "Other?"}]))
    folder = load_preferences(PreferenceData(path=str(path)), family_key="", generate=None, root=tmp_path)
    scored = [ScoredText(f"reward prompt r{n}", [{"role": "user", "content": text}]) for n, text in enumerate(asked)]
    counted = contamination_of(folder, scored, source="preferences mine", root=tmp_path)
    assert (counted.prompts, counted.items, counted.same, counted.overlapping) == (51, 50, 50, 0)
    assert [match["record"] for match in counted.examples] == [0, 1, 2, 3, 4]
    refused = (
        "preferences mine: of 51 prompts 50 are the same as one of 50 scored items .* record 0 and reward prompt r0"
    )
    with pytest.raises(ValueError, match=f"{refused}.* take the records that are the same out") as error:
        refuse_same(counted)
    listed = str(error.value).split("all are in ")[1].split(";")[0]
    assert [json.loads(line)["record"] for line in Path(listed).read_text().splitlines()] == list(range(50))
    assert contamination_of(folder, scored, source="preferences mine", root=tmp_path) == counted


@pytest.mark.parametrize(
    "written", ["what  IS\nthis ?", "\n\nHuman: What is this ?\n\nAssistant:", "[INST] What is this ? [/INST]"]
)
def test_case_space_and_role_markers_do_not_hide_a_prompt(written):
    [match] = found([written], "What is this ?")
    assert match == {"record": 0, "item": "item 0", "same": True, "words": "what is this ?"}


@pytest.mark.parametrize("start", range(8))
def test_thirteen_words_in_a_row_overlap_and_twelve_do_not(start):
    words = LONG.split()
    around = ["other"] * start
    thirteen = " ".join([*around, *words[9 : 9 + NGRAM_WORDS], "end"])
    twelve = " ".join([*around, *words[9 : 9 + NGRAM_WORDS - 1], "end"])
    [match] = found([twelve, "short", thirteen], LONG)
    assert (match["record"], match["same"]) == (2, False)
    assert match["words"].startswith("word9 word10")


def test_short_texts_can_only_be_the_same():
    assert found(["What is this", "this ?", ""], "What is this ?", "") == []


def test_overlaps_are_counted_and_not_refused():
    counted = Contamination.of(found([LONG + " more"], LONG), source="mine", prompts=1, items=1)
    refuse_same(counted)
    assert counted.describe().startswith(
        "mine: of 1 prompts 0 are the same as one of 1 scored items and 1 more share 13"
    )


def test_folders_of_whole_conversations_are_compared_too(tmp_path):
    said = [{"role": "user", "content": "What is this ?"}]
    row = {name: [*said, {"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    path = str(tmp_path / "rows.jsonl")
    folder = load_preferences(PreferenceData(path=path), family_key="", generate=None, root=tmp_path)
    assert contamination_of(folder, [ScoredText("i", "what is this ?")], source="s", root=tmp_path).same == 1


QUESTION = "Why is the sky blue? I ask for a friend."
EXPECTED = "why is the sky blue? i ask for a friend."


@pytest.mark.parametrize(
    "written",
    [
        QUESTION,
        QUESTION.upper(),
        f"  {QUESTION} \n".replace(" ", "\t \u00a0"),
        QUESTION.replace("W", "\uff37").replace("fr", "\uff46r"),  # full width
        f"\n\nHuman: {QUESTION}\n\nAssistant:",
        f"Human: {QUESTION}\n\nAssistant: It scatters.\n",
        f"### System: be kind\n### Instruction:\n{QUESTION}\n### Response:",
        f"<|user|>\n{QUESTION}</s>\n<|assistant|>\n",
        f"<s>[INST] <<SYS>>be kind<</SYS>> {QUESTION} [/INST] It scatters.</s>",
        f"<|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
        f"{QUESTION}<|eot_id|><|start_header_id|>assistant<|end_header_id|>",
        f"<bos><start_of_turn>user\n{QUESTION}<end_of_turn>\n<start_of_turn>model\n",
        [{"role": "system", "content": "be kind"}, {"role": "user", "content": QUESTION}],
    ],
)
def test_one_question_has_one_text_however_it_is_written(written):
    assert user_text(written) == EXPECTED


def test_all_turns_of_the_user_count_and_no_others():
    chat = [
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": "C"},
    ]
    assert user_text(chat) == user_text("Human: a\nAssistant: b\nHuman: c\nAssistant:") == "a c"
    assert user_text([{"role": "system", "content": "be kind"}]) == ""


def test_a_role_s_name_within_a_line_is_no_marker():
    assert user_text("What does System: mean?") == "what does system: mean?"
