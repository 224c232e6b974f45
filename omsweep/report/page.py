"""report.html: one self-contained page. Its content security policy forbids loading anything from anywhere."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from omsweep.redaction import visible
from omsweep.report import captions, sections
from omsweep.report.draw_plotly import plotly_library, plotted
from omsweep.report.trials.data import compact, trial_data
from omsweep.results.numbers import MISSING, counted
from omsweep.results.view import SweepView

SCRIPTS = ("page.js", "charts.js", "trials.js", "details.js")


def page(
    view: SweepView,
    asked: Mapping[str, tuple[str, Callable[[SweepView], sections.Content | None]]] = sections.SECTIONS,
    *,
    headline: str | None = None,
    tiles: Sequence[sections.Tile] | None = None,
) -> str:
    """The whole report as HTML; plotly.js is inlined once, nothing is fetched when it is opened.

    Args:
        view: of the sweep.
        asked: sections, as in `sections.SECTIONS`.
        headline, tiles: what stands above them, in place of what a sweep's own report says there.
    """
    try:
        return _rendered(view, asked, headline or _headline(view), sections.tiles(view) if tiles is None else tiles)
    except TemplateError as error:  # of our template, not of a chat template that the user gave
        raise RuntimeError(f"the report's page cannot be made: {error}") from error


def _rendered(
    view: SweepView,
    asked: Mapping[str, tuple[str, Callable[[SweepView], sections.Content | None]]],
    headline: str,
    tiles: Sequence[sections.Tile],
) -> str:
    shown = {name: content for name, (_, show) in asked.items() if (content := show(view)) is not None}
    drawn = any(content.get("charts") for content in shown.values())
    return (
        templates()
        .get_template("page.html")
        .render(
            name=view.name,
            mode=view.summary["mode"],
            created=str(view.description.get("created") or "at an unknown time")
            .replace("T", " ")
            .replace("+00:00", " UTC"),
            version=(view.description.get("versions") or {}).get("omsweep"),
            missing=captions.missing(view.progress),
            headline=headline,
            caution=captions.ranking(view) if view.summary["exploratory"] and view.summary["scored"] else None,
            error_bars=captions.ERROR_BARS,
            tiles=tiles,
            filters=sections.filters(view),
            files=sections.files_beside(view) if "provenance" in shown else {},
            data=compact(trial_data(view)),
            sections=shown,
            links={name: asked[name][0] for name in shown},
            plotly=plotly_library() if drawn else None,
        )
    )


@cache
def templates() -> Environment:
    """The package's templates; whatever they show is escaped unless it is their own or a chart's HTML."""
    loaded = Environment(
        loader=PackageLoader("omsweep.report"),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loaded.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}
    own = files("omsweep.report") / "templates"
    loaded.globals |= {
        "MISSING": MISSING,
        "counted": counted,
        "plotted": plotted,
        "style": Markup((own / "page.css").read_text(encoding="utf-8")),
        "script": Markup("\n".join((own / name).read_text(encoding="utf-8") for name in SCRIPTS)),
    }
    return loaded


def _shown(value: object) -> object:
    """Text of others as it is read: marks of direction in a name would turn what stands beside it."""
    return visible(value, lines=True) if type(value) is str else value  # Markup is a kind of str


def _headline(view: SweepView) -> str:
    content = view.summary
    if not view.trials:
        return "No trial has finished yet."
    text_parts = [
        f"{counted(len(view.trials), 'trial')} of {counted(len(view.trained_labels), 'method')} with "
        f"{', '.join(view.algorithms)} on {' and '.join(view.families)};",
        f"{content['scored']} ended with both objectives and {len(content['members'])} lie on a front.",
    ]
    text_parts += [f"{name}: {family['note']}." for name, family in content["families"].items() if family["note"]]
    if content["exploratory"] and content["scored"]:
        text_parts.append(captions.ranking(view))
    return " ".join(text_parts)
