import json

import pytest
import torch

from omsweep.align.data import too_long
from omsweep.align.reference import SUMMARY_FILE, open_prepared


def words(text):
    return " ".join(text.split())


def log_prob(model, prompt_ids, completion_ids):
    """Sum of log-probs of the completion's tokens, one example without padding."""
    ids = torch.tensor([prompt_ids + completion_ids])
    with torch.no_grad():
        table = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return table[range(len(prompt_ids) - 1, ids.shape[1] - 1), completion_ids].sum().item()


def test_pairs_become_tokens_and_reference_log_probs(prepared, policy, tokenizer):
    rows = open_prepared(prepared("dpo"))
    assert len(rows) == 24
    for row in rows.select(range(6)):
        assert words(tokenizer.decode(row["prompt_ids"])) == f"<s> <user> {row['prompt'][0]['content']} <bot>"
        assert row["chosen_ids"][-1] == row["rejected_ids"][-1] == tokenizer.eos_token_id
        assert "w1" in tokenizer.decode(row["chosen_ids"])
        for side in ("chosen", "rejected"):
            expected = log_prob(policy, row["prompt_ids"], row[f"{side}_ids"])
            assert row[f"ref_{side}_logps"] == pytest.approx(expected, abs=1e-4)


def test_kto_pairs_each_prompt_with_another_completion_of_its_batch(prepared, policy):
    rows = open_prepared(prepared("kto"))
    assert len(rows) == 48
    for start in range(0, len(rows), 4):
        batch = rows[start : start + 4]
        assert batch["KL_completion_ids"] == batch["completion_ids"][-1:] + batch["completion_ids"][:-1]
    for row in rows.select(range(4)):
        for ids, name in (("completion_ids", "ref_logps"), ("KL_completion_ids", "ref_KL_logps")):
            assert row[name] == pytest.approx(log_prob(policy, row["prompt_ids"], row[ids]), abs=1e-4)


def test_kto_data_are_shuffled_after_unpairing(prepared):
    labels = open_prepared(prepared("kto"))["label"]
    batches = [set(labels[start : start + 4]) for start in range(0, len(labels), 4)]
    assert sum(labels) == 24
    assert sum(len(batch) == 2 for batch in batches) > 6


def test_dpo_and_ipo_share_a_folder_whatever_the_batch(prepared):
    folder = prepared("dpo")
    assert prepared("ipo") == folder
    assert prepared("ipo", batch_size=8, workers=2) == folder


def test_what_changes_the_numbers_changes_the_folder(prepared, make_tokenizer, make_pairs):
    folders = [
        prepared("dpo"),
        prepared("dpo", max_length=20),
        prepared("dpo", dtype="bfloat16"),
        prepared("dpo", records=make_pairs(24, seed=1)),
        prepared("dpo", tokenizer=make_tokenizer(make_tokenizer().chat_template + "{# another #}")),
        prepared("kto"),
        prepared("kto", batch_size=8),
    ]
    assert len(set(folders)) == len(folders)
    assert prepared("kto", batch_size=16, workers=2) == folders[-1]


@pytest.mark.parametrize("algorithm", ["dpo", "kto"])
def test_plain_text_goes_through_the_template_unless_told_otherwise(algorithm, prepared, make_pairs, tokenizer):
    records = make_pairs(8)
    plain = [{name: messages[0]["content"] for name, messages in record.items()} for record in records]
    chat = open_prepared(prepared(algorithm, records=records))
    wrapped = open_prepared(prepared(algorithm, records=plain))
    raw = open_prepared(prepared(algorithm, records=plain, rendering="plain"))
    assert chat["prompt_ids"] == wrapped["prompt_ids"]
    assert tokenizer.convert_tokens_to_ids("<bot>") not in raw[0]["prompt_ids"]


def test_whole_conversations_are_split_by_what_they_share(prepared, make_pairs):
    records = make_pairs(8)
    whole = [
        {
            "prompt": record["prompt"][0]["content"],
            "chosen": record["prompt"] + record["chosen"],
            "rejected": record["prompt"] + record["rejected"],
        }
        for record in records
    ]
    expected = open_prepared(prepared("dpo", records=records))
    found = open_prepared(prepared("dpo", records=whole))
    for name in ("prompt_ids", "chosen_ids", "rejected_ids"):
        assert found[name] == expected[name]


def test_unpaired_records_train_kto_only(prepared, make_pairs):
    records = [
        {"prompt": record["prompt"], "completion": record["chosen"], "label": index % 2 == 0}
        for index, record in enumerate(make_pairs(8))
    ]
    assert sum(open_prepared(prepared("kto", records=records))["label"]) == 4
    for algorithm in ("dpo", "ipo"):
        with pytest.raises(ValueError, match="dpo and ipo need paired preferences"):
            prepared(algorithm, records=records)


def test_prompts_that_fill_max_length_are_dropped_and_counted(prepared):
    summary = json.loads((prepared("dpo", max_length=9) / SUMMARY_FILE).read_text())
    assert summary["records"] == 24
    assert 0 < summary["dropped"] < 24
    with pytest.raises(ValueError, match="max_length must leave room after the prompts, got 3"):
        prepared("dpo", max_length=3)


def test_records_without_room_for_an_answer_are_named_by_number(
    preferences, make_pairs, sft_path, tokenizer, make_tokenizer, tmp_path
):
    records = make_pairs(6)
    for number, words in ((2, 30), (4, 70)):
        records[number]["prompt"][0]["content"] = "w1 " * words
    folder = preferences(records)
    counted = {"model_path": sft_path, "tokenizer": tokenizer, "root": tmp_path}
    assert too_long(folder, max_length=32, **counted) == [2, 4]
    assert too_long(folder, max_length=512, **counted) == [4]  # the model's context is 64
    refusing = make_tokenizer("{{ raise_exception('no users') }}")
    with pytest.raises(ValueError, match="cannot render the prompt of record 0 with the chat template: .*no users"):
        too_long(folder, max_length=32, **counted | {"tokenizer": refusing})


def test_labels_that_are_left_alone_by_long_prompts_are_refused(prepared, make_pairs):
    records = [
        {"prompt": record["prompt"], "completion": record["chosen"], "label": index > 0}
        for index, record in enumerate(make_pairs(8))
    ]
    records[0]["prompt"][0]["content"] = "w1 " * 40
    with pytest.raises(ValueError, match="kto needs .* leaves room in max_length 32 all have the label true"):
        prepared("kto", records=records)
