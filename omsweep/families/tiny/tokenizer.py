"""The word-level tokenizer of the embedded families: one token per word, five special tokens and a chat template."""

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from omsweep.worlds.tiny.vocabulary import vocabulary

PAD, UNKNOWN, BOS, EOS, USER, ASSISTANT = "<pad>", "<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>"
MAX_LENGTH = 256

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}"
    " <|user|> {{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    " <|assistant|> {% generation %}{{ message['content'] }} {{ eos_token }}{% endgeneration %}"
    "{% else %}"
    "{{ raise_exception('roles must be user or assistant, got ' + message['role']) }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %} <|assistant|>{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer over the tiny world's words.

    Texts are split at whitespace and decoded with single spaces, so a text of known words survives the round trip.
    Only the chat template adds BOS (once, at the start) and EOS (after each assistant turn); encoding alone adds
    nothing. Rendering is prefix-preserving: a prompt with its generation prompt is a prefix of the whole conversation,
    as text and as tokens.
    """
    words = (PAD, UNKNOWN, BOS, EOS, USER, ASSISTANT, *vocabulary())
    backend = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=BOS,
        eos_token=EOS,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
