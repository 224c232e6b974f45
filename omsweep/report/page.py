"""report.html: one self-contained page. Its content security policy forbids loading anything from anywhere."""

from omsweep.report import captions, sections
from omsweep.report.comparison_section import comparison
from omsweep.report.markup import text
from omsweep.report.page_script import JAVASCRIPT
from omsweep.report.page_style import CSS
from omsweep.report.study_section import study_section
from omsweep.results.numbers import counted
from omsweep.results.view import SweepView

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
)

SECTIONS = {
    "study": ("Study", study_section),
    "fronts": ("Fronts", sections.fronts),
    "comparison": ("Comparison", comparison),
    "methods": ("Methods", sections.methods),
    "trials": ("Trials", sections.trials),
    "categories": ("Categories", sections.categories),
    "report-split": ("Report split", sections.report_split),
    "noise": ("Error bars", sections.error_bars),
    "failures": ("Failures", sections.failures),
    "provenance": ("Reproduce", sections.provenance),
}


def page(view: SweepView) -> str:
    """The whole report as HTML; plotly.js is inlined once, nothing is fetched when it is opened."""
    written = {name: write(view) for name, (_, write) in SECTIONS.items()}
    links = "".join(f'<a href="#{name}">{text(SECTIONS[name][0])}</a>' for name, html in written.items() if html)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<title>{text(view.name)} · omsweep</title><link rel="icon" href="data:,"><style>{CSS}</style></head>\n<body>'
        f"{_header(view)}<nav><div class='inner'>{links}</div></nav>\n"
        f"<main>{sections.summary(view)}{''.join(written.values())}</main>\n"
        f'<footer><div class="inner">{text(_footer(view))}</div></footer>'
        f"<script>{JAVASCRIPT}</script></body></html>\n"
    )


def _header(view: SweepView) -> str:
    return (
        f'<header class="top"><div class="inner"><p class="eyebrow">omsweep · {text(view.summary["mode"])} · '
        f"{text(_created(view))}</p><h1>{text(view.name)}</h1>"
        f"<p>{text(_headline(view))}</p></div></header>"
    )


def _created(view: SweepView) -> str:
    created = str(view.description.get("created") or "at an unknown time")
    return created.replace("T", " ").replace("+00:00", " UTC")


def _headline(view: SweepView) -> str:
    content = view.summary
    if not view.trials:
        return "No trial has finished yet."
    text_parts = [
        f"{counted(len(view.trials), 'trial')} of {counted(len(view.trained_labels), 'method')} with "
        f"{', '.join(view.algorithms)} on {' and '.join(view.families)};",
        f"{content['scored']} ended with both objectives and {len(content['members'])} lie on a front.",
    ]
    if content["exploratory"] and content["scored"]:
        text_parts.append(captions.ranking(view))
    return " ".join(text_parts)


def _footer(view: SweepView) -> str:
    versions = view.description.get("versions") or {}
    return (
        f"Sweep {view.name}, created {_created(view)}, omsweep {versions.get('omsweep')}. {captions.error_bars(view)}"
    )
