import json
import warnings
from pathlib import Path

import pytest
import torch

WORDS = ["say", "sum", "one", "two", "three", "four", "five", "six", "please", "yes", "no", "good", "."]
CHAT = (
    "{% for m in messages %}{{ '<user> ' if m['role'] == 'user' else '<assistant> ' }}{{ m['content'] }}"
    "{{ ' ' if m['role'] == 'user' else ' <eos> ' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("OMSWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "omsweep-cache"))


@pytest.fixture(scope="session")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", "<bos>", "<eos>", "<user>", "<assistant>"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=["<user>", "<assistant>"],
        chat_template=CHAT,
    )


@pytest.fixture(scope="session")
def make_llama(tokenizer):
    from transformers import LlamaConfig, LlamaForCausalLM

    def make(seed, spread=0.5):
        torch.manual_seed(seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=48,
                initializer_range=spread,
                max_position_embeddings=64,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        ).eval()

    return make


@pytest.fixture(scope="session")
def make_judge(tokenizer, tmp_path_factory):
    """Make folders with a reward model of random weights."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    def make(*, template=True, labels=1, context=64):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=24,
            initializer_range=0.5,
            max_position_embeddings=context,
            num_labels=labels,
        )
        folder = tmp_path_factory.mktemp("reward")
        LlamaForSequenceClassification(config).save_pretrained(folder)
        kept, tokenizer.chat_template = tokenizer.chat_template, tokenizer.chat_template if template else None
        tokenizer.save_pretrained(folder)
        tokenizer.chat_template = kept
        return folder

    return make


@pytest.fixture(scope="session")
def llama(make_llama):
    return make_llama(0)


def _jsonl(path: Path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


GENERATED = """
task: {task}
dataset_path: json
dataset_kwargs: {{data_files: {{test: data/{task}.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["."], max_gen_toks: 4, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1.0, category: talk}}
"""

CHOSEN = """
task: choosing
dataset_path: json
dataset_kwargs: {data_files: {test: data/choosing.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: "{{choices}}"
doc_to_target: label
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
tag: choice
metadata: {version: 1.0}
"""


@pytest.fixture(scope="session")
def suite_path(tmp_path_factory):
    """Two generated tasks of category `talk` with ids and splits, and one of multiple choice with neither."""
    folder = tmp_path_factory.mktemp("suite")
    for task, words in (("repeat", ["one", "two", "three"]), ("answer", ["yes", "no"])):
        (folder / f"{task}.yaml").write_text(GENERATED.format(task=task))
        records = [
            {
                "id": f"{task}-{number}",
                "split": "search" if number % 3 else "report",
                "prompt": f"say {words[number % len(words)]}" + " please" * (number % 5),
                "answer": words[number % len(words)],
            }
            for number in range(30)
        ]
        _jsonl(folder / "data" / f"{task}.jsonl", records)
    (folder / "choosing.yaml").write_text(CHOSEN)
    numbers = ["one", "two", "three", "four", "five", "six"]
    _jsonl(
        folder / "data" / "choosing.jsonl",
        [
            {"prompt": f"sum {a} {b}", "choices": ["yes", "no"], "label": (i + j) % 2}
            for i, a in enumerate(numbers)
            for j, b in enumerate(numbers)
        ],
    )
    return folder


@pytest.fixture(scope="session")
def prompts_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    words = ["one", "two", "three", "four", "five", "six", "yes", "no"]
    _jsonl(
        path,
        [
            {"id": f"p{number}", "split": "search" if number % 2 else "report", "prompt": f"say {a} {b}"}
            for number, (a, b) in enumerate((a, b) for a in words for b in words[:3])
        ],
    )
    return path


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
