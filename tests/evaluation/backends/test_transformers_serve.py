"""`transformers serve` answers as the model in this process does; needs the packages of its extra `serving`."""

import sys
from pathlib import Path

import pytest
import torch

from omsweep.evaluation.backends.in_process import InProcess
from omsweep.evaluation.backends.openai import opened
from omsweep.evaluation.backends.settings import BackendSettings
from omsweep.evaluation.generation import questions
from omsweep.evaluation.spread import Models
from omsweep.evaluation.tax import score_tax
from omsweep.families.decoding import resolved_decoding
from tests.evaluation.conftest import CHAT, WORDS

pytestmark = pytest.mark.campaign
COMMAND = (
    f"{Path(sys.executable).parent / 'transformers'} serve {{model}} --host 127.0.0.1 --port {{port}} --device cpu"
)


@pytest.fixture(scope="module")
def models():
    """A random model whose tokenizer reads bytes: the server's stop texts need one that can spell any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = ["<pad>", "<eos>", "<user>", "<assistant>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet)
    backend.train_from_iterator([f"say {a} {b}" for a in WORDS for b in WORDS], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        additional_special_tokens=special[2:],
        chat_template=CHAT,
    )
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = LlamaConfig(
        vocab_size=len(tokenizer), **sizes, initializer_range=0.5, max_position_embeddings=128, eos_token_id=1
    )
    return Models(LlamaForCausalLM(config).eval(), tokenizer)


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    pytest.importorskip("openai")
    folder = tmp_path_factory.mktemp("served")
    models.policy.save_pretrained(folder)
    models.tokenizer.save_pretrained(folder)
    decoding = resolved_decoding(models.tokenizer, models.policy.generation_config)
    settings = BackendSettings(name="openai", command=COMMAND, ready_seconds=180, requests=4)
    with opened(settings, folder, models.tokenizer, decoding) as backend:
        yield backend


def test_greedy_answers_are_those_of_the_model_in_this_process(server, models):
    chats = [
        [{"role": "user", "content": f"say {a} {b}"}] for a in ("one", "two", "six") for b in ("yes", "no", "good")
    ]
    asked = questions(models.tokenizer, chats, samples=2, seed=0)
    mine = InProcess(models=models, decoding=server.decoding).answers(asked[::2], longest=8)
    assert [one.text for one in server.answers(asked[::2], longest=8)] == [one.text for one in mine]
    drawn = server.answers(asked, longest=8, temperature=1.0)
    assert len({one.text for one in drawn}) > 6


def test_tax_items_with_stop_texts(server, models, suite_path, tmp_path):
    asked = questions(models.tokenizer, [[{"role": "user", "content": "say one"}]], samples=1, seed=0)
    said = InProcess(models=models, decoding=server.decoding).answers(asked, longest=12)[0].text
    stop = next(letter for letter in said[3:] if letter.isascii() and letter.isalnum())
    for name in ("repeat.yaml", "answer.yaml"):  # answered, not chosen by likelihood
        text = (suite_path / name).read_text().replace('["."]', f"[{stop!r}]").replace("toks: 4", "toks: 12")
        (tmp_path / name).write_text(text)
    (tmp_path / "data").symlink_to(suite_path / "data")
    how = {"suite": str(tmp_path), "split": "search", "limit": 6}
    found = score_tax(None, models.tokenizer, **how, backend=server)
    assert found.equals(score_tax(models.policy, models.tokenizer, **how))
