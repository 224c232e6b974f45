"""README.md of an exported policy: front matter as the hub reads it, then the text."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from omsweep.families.family import UNKNOWN
from omsweep.redaction import visible
from omsweep.report.card import scores, sources
from omsweep.report.card.made import Exported
from omsweep.results.numbers import counted, with_error
from omsweep.results.view import SweepView
from omsweep.store.folder import reference_of
from omsweep.store.state import SweepState, family_key

HUB_LICENCES = (
    *(
        "apache-2.0",
        "mit",
        "bsd-3-clause",
        "cc-by-4.0",
        "cc-by-nc-4.0",
        "cc-by-sa-4.0",
        "openrail",
        "bigscience-openrail-m",
    ),
    *("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "gemma", "unknown"),
)
"""Identifiers that the hub knows, of those that language models have; any other is `other` with its name."""


def card(made: Exported, view: SweepView, state: SweepState) -> str:
    """The whole card; ValueError where the hub's own classes refuse it."""
    from huggingface_hub import ModelCard

    front = _front_matter(made, view, state)
    content = f"---\n{front.to_yaml()}\n---\n\n{_text(made, view, state)}"
    read: Any = ModelCard(content)
    assert read.data.to_dict() == front.to_dict(), "the card does not say what was meant"
    return content


def _front_matter(made: Exported, view: SweepView, state: SweepState) -> Any:
    from huggingface_hub import ModelCardData

    evaluate, own = sources.evaluation(made, state), made.trial
    hubs = [sources.origin(made.family, which, made.prepared).hub for which in ("sft", "base")]
    licence = _licence(made)
    known = licence in HUB_LICENCES
    tags = ["omsweep", "alignment", own.algorithm, own.method, "merge" if made.is_merged else None]
    numbers = None if made.scored is None else scores.numbers_of(made.scored, state)
    found = None if numbers is None else scores.results(made, numbers, evaluate, _reference(made, view))
    return ModelCardData(
        base_model=next(([hub] for hub in hubs if hub), None),
        base_model_relation="merge" if made.is_merged else "finetune",
        datasets=sources.hub_datasets(made, state) or None,
        license=licence if known else "other",
        license_name=None if known else licence,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=[tag for tag in tags if tag],
        model_name=made.name,
        eval_results=found or None,  # an empty list is no model-index
        omsweep={
            "sweep": view.name,
            "sweep_id": view.description.get("sweep_id"),
            "trial": own.trial_id,
            "weights_hash": made.weights_hash,
            "command": made.command,
        },
    )


def _licence(made: Exported) -> str:
    """The licence as an identifier; what the table of families says of two models in words is none."""
    words = made.licence.lower().split()
    if len(words) == 1:
        return words[0]
    return made.rule.licences[0] if made.rule is not None else UNKNOWN


def _text(made: Exported, view: SweepView, state: SweepState) -> str:
    evaluate, scored, trial = sources.evaluation(made, state), made.scored, made.trial
    numbers = None if scored is None else scores.numbers_of(scored, state)
    splits = [] if numbers is None else scores.splits_of(numbers)
    told, key = view.description.get("versions") or {}, family_key(trial.family, trial.sft_seed)
    revision = view.description.get("git_revision")
    return (
        _environment()
        .get_template("card.md")
        .render(
            name=made.name,
            rule=made.rule,
            what=Markup(made.what()),
            trials=len(view.trials),
            sweep=view.name,
            sweep_id=view.description.get("sweep_id"),
            family=next(one for one in (key, trial.family) if one in state.prepared),
            chosen=made.chosen,
            scorer=evaluate.scorer,
            suite=evaluate.suite,
            splits=splits,
            scores=[] if numbers is None else scores.rows(numbers),
            report_note=scores.report_note(splits),
            categories=[] if scored is None else scores.categories(scored, _reference(made, view)),
            parent_scores={
                name: with_error(getattr(trial, name), getattr(trial, f"{name}_se_items")) for name in ("reward", "tax")
            },
            base=sources.origin(made.family, "base", made.prepared),
            sft=sources.origin(made.family, "sft", made.prepared),
            weights_hash=made.weights_hash,
            dtype=made.prepared.dtype,
            stop_tokens=Markup(", ".join(f"`{one}`" for one in made.prepared.decoding.get("stop_tokens", {}))),
            recipe=made.recipe(state),
            data=sources.data(made, state),
            data_notes=sources.data_notes(made),
            limitations=scores.limits(made, view, numbers, evaluate.scorer),
            licence_lines=sources.licence_lines(made),
            max_new_tokens=evaluate.max_new_tokens,
            command=Markup(made.command),
            versions=", ".join(f"{name} {told[name]}" for name in told if told[name] and name != "platform")
            + (f", git revision {revision}" if revision else ""),
        )
    )


def _reference(made: Exported, view: SweepView) -> dict[str, Any]:
    return dict(reference_of(view.references, made.trial.family, made.trial.sft_seed) or {})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("omsweep.report.card"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.globals["counted"] = counted
    return environment


def _shown(value: Any) -> str:
    """A value as Markdown shows it, also in a table: no markup of its own, one line, no control characters."""
    if isinstance(value, Markup):
        return str(value)
    text = " ".join(visible(str(value)).split())
    return text.replace("|", "\\|").replace("<", "&lt;")
