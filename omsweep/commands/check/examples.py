"""`omsweep check --show-examples`: the first local records as each family's template writes them, by transformers."""

from collections.abc import Iterator, Mapping
from typing import Any

from omsweep.align.template import ANSWERS, conversations
from omsweep.commands.check.records import local_records
from omsweep.console import Console
from omsweep.families.chat_template import Template, template_of
from omsweep.families.family import ModelFamily, PackagedRecipe
from omsweep.foreign import error_line
from omsweep.space.search_space import SearchSpace


def print_examples(space: SearchSpace) -> None:
    """Print the first records of every local file of preferences and SFT data, rendered for every family."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    read = list(local_records(space))
    if not read:
        console.print("no local records to show: other data are read, or made by the models, when a sweep prepares")
    for family in space.families if read else ():
        try:
            template = template_of(_tokenizer(family))
        except ValueError as error:
            console.print(f"{family.name}: its template cannot be shown yet: {error}")
            continue
        for key, source, _, looked in read:
            for record in looked.examples:
                console.print(f"\n{family.name}, {key} {source.source}, record {record['record']}")
                try:
                    for name, text in _rendered(record, source.rendering, template):
                        console.print(f"  {name}: {text!r}")
                except Exception as error:  # a template runs whatever its author wrote
                    console.print(f"  the chat template refuses it: {error_line(error)}")


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


def _rendered(record: Mapping[str, Any], rendering: str, template: Template) -> Iterator[tuple[str, str]]:
    turns = conversations(record, rendering)
    if turns:
        written = template.render(turns[0][1], True)
        yield "prompt", written
        for name, prompt, answer in turns:
            yield name, template.render([*prompt, *answer], False).removeprefix(written)
    else:
        yield from ((name, record[name]) for name in ("prompt", *ANSWERS) if name in record)
    if "label" in record:
        yield "label", str(record["label"]).lower()
