"""What the licence of a model asks of one that is made from it: its name, what is shown, a notice; files that go along.

The rules are written out below, from the texts of the licences. A licence without a row may ask for something all the
same: whoever publishes a model reads it. Torch-free.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

FILES = ("license*", "licence*", "notice*", "use_policy*", "copying*")
"""Files of a model's folder, in small letters, that go along with what is made from it."""
NOTICE = "NOTICE"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a licence asks.

    Attributes:
        name: how people call the models.
        licences: identifiers of the licence on the hub.
        models: pattern of hub ids, for cards that name no licence.
        text: pattern of the licence's own first lines.
        prefix: with what the name of a derived model must begin; None for any name.
        shown: what its card must show.
        notice: what a text file NOTICE must say.
        source: where that is written.
    """

    name: str
    licences: tuple[str, ...]
    models: str
    text: str
    prefix: str | None = None
    shown: str | None = None
    notice: str
    source: str

    def keeps(self, name: str) -> bool:
        """Whether a model may be called so; `Llama-3-x`, `llama3_x` and `Llama 3 x` begin with `Llama 3`."""
        return self.prefix is None or _plain(name).startswith(_plain(self.prefix))

    def named(self, name: str) -> str:
        """The name, with the prefix where it lacks it."""
        return name if self.keeps(name) else f"{str(self.prefix).replace(' ', '-')}-{name}"


def _llama(version: str, licence: str) -> Rule:
    return Rule(
        name=f"Llama {version}",
        licences=(licence,),
        models=rf"llama-?{re.escape(version)}(?![\d.])",
        text=rf"LLAMA {re.escape(version)} COMMUNITY LICENSE",
        prefix="Llama",
        shown="Built with Llama",
        notice=f"Llama {version} is licensed under the Llama {version} Community License, Copyright © Meta Platforms,"
        " Inc. All Rights Reserved.",
        source=f"Llama {version} Community License Agreement, 1.b",
    )


RULES: Sequence[Rule] = (
    *(_llama(version, f"llama{version}") for version in ("3.1", "3.2", "3.3", "4")),
    Rule(
        name="Llama 3",
        licences=("llama3",),
        models=r"llama-?3(?![\d.])",
        text="META LLAMA 3 COMMUNITY LICENSE",
        prefix="Llama 3",
        shown="Built with Meta Llama 3",
        notice="Meta Llama 3 is licensed under the Meta Llama 3 Community License, Copyright © Meta Platforms, Inc. All"
        " Rights Reserved.",
        source="Meta Llama 3 Community License Agreement, 1.b",
    ),
    Rule(
        name="Llama 2",
        licences=("llama2",),
        models=r"llama-?2(?![\d.])",
        text="LLAMA 2 COMMUNITY LICENSE",
        notice="Llama 2 is licensed under the LLAMA 2 Community License, Copyright (c) Meta Platforms, Inc. All Rights"
        " Reserved.",
        source="Llama 2 Community License Agreement, 1.b",
    ),
    Rule(
        name="Gemma",
        licences=("gemma",),
        models=r"/(code)?gemma",
        text="Gemma Terms of Use",
        notice="Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
        source="Gemma Terms of Use, 3.1",
    ),
)


def rule_for(licences: Iterable[str], models: Iterable[str], folders: Iterable[Path]) -> Rule | None:
    """The first rule that a model falls under which is made from these.

    Args:
        licences: identifiers, or texts that name them.
        models: hub ids.
        folders: of the models, whose licence files are looked at.
    """
    words = {word for text in licences for word in re.findall(r"[\w.-]+", text.lower())}
    names, texts = list(models), [_head(file) for folder in folders for file in licence_files(folder)]
    for rule in RULES:
        by_name = any(re.search(rule.models, name, re.IGNORECASE) for name in names)
        by_text = any(re.search(rule.text, text, re.IGNORECASE) for text in texts)
        if words.intersection(rule.licences) or by_name or by_text:
            return rule
    return None


def licence_files(folder: Path) -> list[Path]:
    """Licence, notice and use policy of a model's folder, by name."""
    return sorted(
        file for file in folder.iterdir() if file.is_file() and any(fnmatchcase(file.name.lower(), p) for p in FILES)
    )


def carried(sft: Path, base: Path, rule: Rule | None) -> Mapping[str, bytes]:
    """Contents of the files that go along, by name: the SFT model's, then the base's, `BASE_` before a name that is
    taken by another text, and a NOTICE where a rule asks for one that is not there."""
    found = {file.name: file.read_bytes() for file in licence_files(sft)}
    for file in licence_files(base):
        content = file.read_bytes()
        if content not in found.values():
            found[f"BASE_{file.name}" if file.name in found else file.name] = content
    if rule is not None and not any(rule.notice in _squeezed(content) for content in found.values()):
        found[NOTICE] = found.get(NOTICE, b"") + f"{rule.notice}\n".encode()
    return found


def _squeezed(content: bytes) -> str:
    return " ".join(content.decode("utf-8", "replace").split())


def _head(file: Path) -> str:
    with file.open("rb") as stream:
        return stream.read(2000).decode("utf-8", "replace")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name.lower())
