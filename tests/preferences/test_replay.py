import json

import pytest
from datasets import load_from_disk

from omsweep.families.family import Stage
from omsweep.families.tiny.tokenizer import build_tokenizer
from omsweep.families.tiny.training import IGNORED, conversation_batches
from omsweep.preferences.replay import EMBEDDED_EXAMPLES, as_pairs, embedded_examples, load_replay
from omsweep.preferences.settings import replay_from
from omsweep.preferences.turns import UNANSWERED

MESSAGES = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.mark.parametrize("sft_seed", [0, 3])
def test_the_embedded_families_replay_what_they_were_trained_on(sft_seed):
    tokenizer = build_tokenizer()
    batch = next(conversation_batches(tokenizer, Stage(steps=1, batch_size=4, learning_rate=1.0, seed=sft_seed)))
    trained = tokenizer.decode(batch.labels[batch.labels != IGNORED]).replace(tokenizer.eos_token, " ").split()
    replayed = " ".join(example["completion"] for example in embedded_examples(sft_seed, 40)).split()
    assert len(trained) > 30
    assert trained == replayed[: len(trained)]


def test_the_same_seed_replays_the_same_examples(tmp_path):
    folder = load_replay(None, sft_seed=1, root=tmp_path)
    assert load_replay(None, sft_seed=1, root=tmp_path) == folder
    assert load_replay(None, sft_seed=2, root=tmp_path) != folder
    rows = load_from_disk(folder)
    assert len(rows) == EMBEDDED_EXAMPLES
    assert rows["chosen"][:] == rows["rejected"][:]


def test_files_of_both_formats_become_pairs_of_an_answer_with_itself(tmp_path):
    file = tmp_path / "sft.jsonl"
    lines = [{"messages": MESSAGES}, {"messages": [*MESSAGES, *MESSAGES]}, {"messages": MESSAGES}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = load_from_disk(load_replay(replay_from({"path": str(file), "limit": 2}), sft_seed=0, root=tmp_path))
    assert len(rows) == 2
    assert rows[1]["prompt"] == [*MESSAGES, MESSAGES[0]]
    assert rows[1]["chosen"] == rows[1]["rejected"] == [MESSAGES[1]]
    [pair] = as_pairs([{"prompt": "a", "completion": "b"}]).records
    assert [pair[name] for name in ("prompt", "chosen", "rejected")] == ["a", "b", "b"]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "replay of the family hold no records"),
        ([{"text": "a"}], "must have prompt and completion, or messages that end with the assistant's, got text"),
        ([{"prompt": "a", "completion": 5}], "record 0: completion must be text or a list of messages, got 5"),
    ],
)
def test_other_records_are_refused(records, message):
    with pytest.raises(ValueError, match=message):
        as_pairs(records)


def test_conversations_that_an_assistant_does_not_end_are_dropped_and_counted():
    taken = as_pairs([{"messages": MESSAGES}, {"messages": MESSAGES[:1]}, {"messages": [*MESSAGES, MESSAGES[0]]}])
    assert [record["record"] for record in taken.records] == [0]
    assert taken.summary.dropped == {UNANSWERED: 2}
