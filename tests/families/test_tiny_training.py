"""The plain training loops: packing, labels, isolation of documents, learning, reproducibility."""

import pytest
import torch

from omsweep.families.family import Stage
from omsweep.families.tiny.architecture import ARCHITECTURES, build_model
from omsweep.families.tiny.tokenizer import build_tokenizer
from omsweep.families.tiny.training import (
    IGNORED,
    ROW_LENGTH,
    Batch,
    conversation_batches,
    next_token_loss,
    raw_batches,
    train_stage,
)

STAGE = Stage(steps=3, batch_size=4, learning_rate=3e-3)
TOKENIZER = build_tokenizer()
SMALL = {"hidden_size": 32, "intermediate_size": 32}


def documents(batch: Batch) -> list[tuple[list[int], list[int]]]:
    """(ids with the last label appended, labels) of every packed document."""
    found = []
    for inputs, labels, positions in zip(batch.inputs, batch.labels, batch.positions, strict=True):
        starts = [i for i in range(ROW_LENGTH) if positions[i] == 0 and inputs[i] != TOKENIZER.pad_token_id]
        for start in starts:
            end = start + 1
            while end < ROW_LENGTH and positions[end] > 0:
                end += 1
            found.append(([*inputs[start:end].tolist(), labels[end - 1].item()], labels[start:end].tolist()))
    return found


@pytest.mark.parametrize("make", [raw_batches, conversation_batches])
def test_batches_are_packed_reproducible_and_as_many_as_asked(make: object) -> None:
    first, second = list(make(TOKENIZER, STAGE)), list(make(TOKENIZER, STAGE))  # type: ignore[operator]
    assert len(first) == 3
    for one, other in zip(first, second, strict=True):
        assert one.inputs.shape == (4, ROW_LENGTH)
        assert torch.equal(one.inputs, other.inputs)
        assert torch.equal(one.labels, other.labels)
        assert (one.inputs == TOKENIZER.pad_token_id).float().mean() < 0.4


def test_raw_text_is_learned_whole_and_without_chat_tokens() -> None:
    (batch, *_) = raw_batches(TOKENIZER, STAGE)
    chat = set(TOKENIZER.convert_tokens_to_ids(["<|user|>", "<|assistant|>"]))
    for ids, labels in documents(batch):
        assert ids[0] == TOKENIZER.bos_token_id
        assert labels == ids[1:]
        assert ids[-1] == TOKENIZER.eos_token_id
        assert chat.isdisjoint(ids)


def test_of_conversations_only_answer_and_eos_are_learned() -> None:
    (batch, *_) = conversation_batches(TOKENIZER, STAGE)
    for ids, labels in documents(batch):
        prompt, answer = TOKENIZER.decode(ids).removeprefix("<s> <|user|> ").split(" <|assistant|> ")
        chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer.removesuffix(" </s>")}]
        assert TOKENIZER.apply_chat_template(chat, return_dict=False) == ids
        learned = [label for label in labels if label != IGNORED]
        assert learned == ids[len(ids) - len(learned) :]
        assert TOKENIZER.decode(learned) == answer


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_documents_of_a_row_do_not_see_one_another(architecture: str) -> None:
    model = build_model(architecture, TOKENIZER, seed=0, **SMALL).eval()
    (batch, *_) = conversation_batches(TOKENIZER, STAGE)
    packed = model(input_ids=batch.inputs, attention_mask=batch.visible, position_ids=batch.positions).logits[0]
    start = int((batch.positions[0, 1:] == 0).nonzero()[0]) + 1
    end = start + int((batch.positions[0, start + 1 :] == 0).nonzero()[0]) + 1
    alone = model(input_ids=batch.inputs[:1, start:end]).logits[0]
    torch.testing.assert_close(packed[start:end], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_loss_is_the_models_own(architecture: str) -> None:
    model = build_model(architecture, TOKENIZER, seed=0, **SMALL).eval()
    (batch, *_) = raw_batches(TOKENIZER, STAGE)
    logits = model(input_ids=batch.inputs, attention_mask=batch.visible, position_ids=batch.positions).logits
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)
    torch.testing.assert_close(next_token_loss(model, batch), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_training_learns_and_repeats_itself(architecture: str) -> None:
    stage = Stage(steps=30, batch_size=4, learning_rate=5e-3)
    weights, losses = [], []
    for _ in range(2):
        model = build_model(architecture, TOKENIZER, seed=0, **SMALL)
        train_stage(model, raw_batches(TOKENIZER, stage), stage, on_step=losses.append)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
        assert not model.training
    assert torch.equal(*weights)
    assert len(losses) == 60
    assert losses[29] < 0.8 * losses[0]


def test_weights_come_from_the_seed_and_leave_the_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second = (build_model("llama", TOKENIZER, seed=seed, **SMALL) for seed in (0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(first.lm_head.weight, second.lm_head.weight)


def test_one_family_ties_its_embeddings_and_one_does_not() -> None:
    tied = {name: build_model(name, TOKENIZER, seed=0).config.tie_word_embeddings for name in ARCHITECTURES}
    assert tied == {"llama": False, "qwen2": True}


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ValueError, match="architecture must be one of llama, qwen2, got 'gpt'"):
        build_model("gpt", TOKENIZER, seed=0)
