"""What a policy was made from: models, data, licences. No path of the machine is among what is said."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from omsweep.evaluation.settings import REWARD_PROMPTS, TAX_SUITES, EvaluateSettings
from omsweep.evaluation.suite_files import content_hash
from omsweep.families.family import UNKNOWN, ModelFamily
from omsweep.report.card.made import Exported
from omsweep.results.numbers import MISSING, counted
from omsweep.store.records import Prepared
from omsweep.store.state import SweepState


class Model(NamedTuple):
    """A model that the exported one was made from; `hub` is its id there, None of a folder or one that was made."""

    hub: str | None
    text: str
    revision: str
    digest: str


class Data(NamedTuple):
    """Data that were trained or scored on."""

    use: str
    what: str
    digest: str
    size: str


class Evaluation(NamedTuple):
    """What a policy was scored by, without paths."""

    suite: str
    suite_digest: str
    prompts: str
    prompts_digest: str
    scorer: str
    samples: int
    temperature: float
    max_new_tokens: int
    limit: int | None


TAX_DATA = "evaluate.data."
"""How inputs of a sweep begin that are data files of its tax suite; the task is behind it."""
_DEFAULTS = {field.name: field.default for field in fields(EvaluateSettings)} | {"reward": "tiny"}


def origin(family: ModelFamily | None, which: str, prepared: Prepared) -> Model:
    """The `base` or the `sft` of a family."""
    revision, digest = getattr(prepared, f"{which}_revision"), prepared.weights_hash
    said = (revision or MISSING, (prepared.base_hash if which == "base" else digest) or MISSING)
    if family is not None and family.recipe is not None:
        return Model(None, f"{family.name}, {family.provenance}", *said)
    named = str(getattr(family, which, "") or getattr(prepared, which))
    if Path(named).expanduser().exists() or named.startswith(("/", ".", "~")):
        return Model(None, f"{Path(named).name}, a local folder", *said)
    hub = named.partition("@")[0]
    return Model(hub, f"[{hub}](https://huggingface.co/{hub})", *said)


def preferences(made: Exported, state: SweepState) -> Mapping[str, Any]:
    """Fields of the preference data that it was trained on (`omsweep.preferences.settings.PreferenceData`)."""
    data = state.trials[made.trial.parent or made.trial.trial_id].fields.get("data")
    found = json.loads(data) if data else {}
    return found if isinstance(found, dict) else {}


def evaluation(made: Exported, state: SweepState) -> Evaluation:
    """What it was scored by, as the sweep's log says it: the files need not be there any more."""
    said = {**_DEFAULTS, **(state.trials[made.trial.trial_id].fields.get("evaluate") or {})}
    reward = {"scorer": said["reward"]} if isinstance(said["reward"], str) else said["reward"]
    inputs, prompts = state.created.get("inputs", {}), reward.get("prompts", "tiny")

    def digest(key: str, name: str, embedded: Mapping[str, Path]) -> str:
        if name in embedded:
            return content_hash(embedded[name])
        return _digest(inputs[key]) if key in inputs else MISSING

    return Evaluation(
        suite=Path(said["tax"]).name,
        suite_digest=digest("evaluate.tax", said["tax"], TAX_SUITES),
        prompts=Path(prompts).name,
        prompts_digest=digest("evaluate.reward.prompts", prompts, REWARD_PROMPTS),
        scorer=str(reward["scorer"]) + (f" ({Path(reward['model']).name})" if reward.get("model") else ""),
        samples=said["samples"],
        temperature=said["temperature"],
        max_new_tokens=said["max_new_tokens"],
        limit=said["limit"],
    )


def data(made: Exported, state: SweepState) -> list[Data]:
    """What it was trained and scored on."""
    inputs = {one["path"]: _digest(one) for one in state.created.get("inputs", {}).values()}
    own, evaluate = preferences(made, state), evaluation(made, state)
    path = own.get("path")
    trained = str(own.get("hub") or (Path(path).name if path else own.get("name")) or MISSING)
    made_by = f"made by omsweep {state.created.get('versions', {}).get('omsweep')}" if own.get("name") else MISSING
    digest = inputs.get(path) or (f"revision {own['revision']}" if own.get("revision") else made_by)
    counts = {str(one["source"]): f"{one['taken']} of {one['records']} records" for one in made.prepared.records}
    rows = [
        Data("preferences", trained, digest, size)
        for source, size in counts.items()
        if _use(source) == "preferences" and _name(source) == Path(trained).name
    ] or [Data("preferences", trained, digest, MISSING)]
    rows += [
        Data(_use(source), _name(source), MISSING, n) for source, n in counts.items() if _use(source) != "preferences"
    ]
    limit = "all of a split" if evaluate.limit is None else f"{evaluate.limit} of each task and of the prompts"
    asked = f"{limit}, {counted(evaluate.samples, 'answer')} each at temperature {evaluate.temperature:g}"
    return [
        *rows,
        Data("tax suite", evaluate.suite, evaluate.suite_digest, limit),
        *(
            Data("tax data", f"{key.removeprefix(TAX_DATA)}: {Path(one['path']).name}", _digest(one), limit)
            for key, one in state.created.get("inputs", {}).items()
            if key.startswith(TAX_DATA)
        ),
        Data("reward prompts", evaluate.prompts, evaluate.prompts_digest, asked),
    ]


def data_notes(made: Exported) -> list[str]:
    """Records that were dropped, and how much of what was trained on is scored too."""
    lines = []
    for one in made.prepared.records:
        dropped = ", ".join(f"{count} {reason}" for reason, count in one.get("dropped", {}).items())
        lines += [f"{_use(one['source'])}: dropped {dropped}."] if dropped else []
    for one in made.prepared.contamination:
        lines.append(
            f"{_use(one['source'])}: of {one['prompts']} prompts {one['same']} are also scored, word by word, and"
            f" {one['overlapping']} share a long run of words with one that is."
        )
    return lines


def hub_datasets(made: Exported, state: SweepState) -> list[str]:
    """Hub ids of the preference data."""
    hub = preferences(made, state).get("hub")
    return [str(hub)] if hub else []


def licence_of(family: ModelFamily | None, folders: Sequence[Path]) -> str:
    """The licence by the first card that names one, else as the table of families has it."""
    from huggingface_hub import ModelCard

    for folder in folders:
        card = folder / "README.md"
        if card.is_file():
            said = ModelCard.load(card, ignore_metadata_errors=True).data
            named = said.get("license_name") if said.get("license") == "other" else said.get("license")
            if isinstance(named, str):
                return named
    return family.licence if family is not None else UNKNOWN


def licence_lines(made: Exported) -> list[str]:
    """What the licence asks and what goes along."""
    lines = [f"Licence: {made.licence}, as the models' cards or the table of families say it."]
    if made.rule is None:
        lines.append("omsweep knows no rule of this licence on names or notices; read its text before you publish.")
    else:
        rule = made.rule
        name = f"its name must begin with `{rule.prefix}`" if rule.prefix else "it may have any name"
        lines.append(f"As a derivative of {rule.name} ({rule.source}) {name}; the notice is in NOTICE.")
    if made.files:
        lines.append(f"Carried over from the models it was made from: {', '.join(f'`{name}`' for name in made.files)}.")
    else:
        lines.append("The folders of base and SFT model hold no file with a licence, notice or use policy.")
    return lines


def _use(source: str) -> str:
    """What data are used for: the first word of what they are called."""
    return source.partition(" ")[0]


def _name(source: str) -> str:
    return Path(source.partition(" ")[2]).name


def _digest(one: Mapping[str, str]) -> str:
    return f"SHA-256 {one.get('sha256') or one['folder_sha256']}"
