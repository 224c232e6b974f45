import pytest

from omsweep.preferences.spoken import user_text

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
