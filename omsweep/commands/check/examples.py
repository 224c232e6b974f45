"""`omsweep check --show-examples`: the first local records as each family's template writes them, by transformers."""

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import TemplateError
from rich.console import Console

from omsweep.commands.check.records import local_records
from omsweep.families.family import ModelFamily, PackagedRecipe
from omsweep.space.search_space import SearchSpace

ANSWERS = ("chosen", "rejected", "completion")


def print_examples(space: SearchSpace) -> None:
    """Print the first records of every local file of preferences and SFT data, rendered for every family."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    read = list(local_records(space))
    if not read:
        console.print("no local records to show: other data are read, or made by the models, when a sweep prepares")
    for family in space.families if read else ():
        try:
            tokenizer = _tokenizer(family)
        except ValueError as error:
            console.print(f"{family.name}: its template cannot be shown yet: {error}")
            continue
        for key, source, _, looked in read:
            for record in looked.examples:
                console.print(f"\n{family.name}, {key} {source.source}, record {record['record']}")
                try:
                    for name, text in _rendered(record, source.rendering, tokenizer):
                        console.print(f"  {name}: {text!r}")
                except TemplateError as error:
                    console.print(f"  the chat template refuses it: {error}")


def _tokenizer(family: ModelFamily) -> Any:
    from omsweep.families.load import load_tokenizer
    from omsweep.families.smollm2.build import build_base
    from omsweep.families.tiny.tokenizer import build_tokenizer

    if family.recipe is not None and not isinstance(family.recipe, PackagedRecipe):
        return build_tokenizer()
    return load_tokenizer(
        str(build_base(family.recipe)) if family.recipe else family.sft,
        revision=family.revision,
        chat_template=family.chat_template,
        template_arguments=family.decoding.template_arguments,
    )


def _rendered(record: Mapping[str, Any], rendering: str, tokenizer: Any) -> Iterator[tuple[str, str]]:
    from omsweep.align.data import as_messages

    if isinstance(record["prompt"], str) and rendering == "chat":
        record = {**record, **as_messages(dict(record))}
    prompt = record["prompt"]
    written = prompt if isinstance(prompt, str) else _templated(prompt, tokenizer, add_generation_prompt=True)
    yield "prompt", written
    for name in ANSWERS:
        if name in record:
            answer = record[name]
            whole = answer if isinstance(answer, str) else _templated([*prompt, *answer], tokenizer)
            yield name, whole.removeprefix(written)
    if "label" in record:
        yield "label", str(record["label"]).lower()


def _templated(messages: Any, tokenizer: Any, **options: bool) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
