"""Figures of the paper (Lu et al. 2024, arXiv:2405.17931), as far as they are certain; none is comparable.

Two of its three SFT models and one of its benchmark categories were never published, and its rewards are judges'
verdicts, so nothing measured here can stand beside them: they are printed in a table of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from omsweep.report.text_table import TextTable
from omsweep.results.numbers import MISSING

PAPER = "arXiv:2405.17931"
QWEN = "the paper's SFT model was never published"
LLAMA = "the code-switching benchmark in its average was never published"

AVERAGE, MT_BENCH, ALPACA = "benchmark average", "MT-Bench", "AlpacaEval 2 LC"


@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """What the paper says of one setting.

    Args:
        study: a name in `STUDIES`.
        place: its table, figure or section.
        model: the family.
        setting: method and level.
        values: by name, as printed there; differences with their sign.
        reason: why no number of a sweep is comparable with it.
    """

    study: str
    place: str
    model: str
    setting: str
    values: Mapping[str, str] = field(default_factory=dict)
    reason: str = QWEN


def _alpha(alpha: str, average: str, judged: str) -> PaperFigure:
    return PaperFigure(
        study="alpha",
        place="Table 2",
        model="Qwen1.5-1.8B",
        setting=f"OnDARE, alpha {alpha}",
        values={AVERAGE: average, MT_BENCH: judged},
    )


def _methods(model: str, reference: str, adamw: str, gains: Sequence[str], reason: str) -> tuple[PaperFigure, ...]:
    """Rows of Table 1: the averages of the SFT model and of AdamW, and what OnDARE has more than AdamW."""
    rows = {
        "reference (SFT)": {AVERAGE: reference},
        "AdamW": {AVERAGE: adamw},
        "OnDARE minus AdamW": dict(zip((AVERAGE, MT_BENCH, ALPACA), gains, strict=True)),
    }
    return tuple(
        PaperFigure(study="methods", place="Table 1", model=model, setting=setting, values=values, reason=reason)
        for setting, values in rows.items()
    )


FIGURES: tuple[PaperFigure, ...] = (
    *_methods("Qwen1.5-1.8B", "41.8", "41.8", ("+0.5", "+0.24", "+0.05"), QWEN),
    *_methods("Qwen1.5-7B", "57.3", "58.4", ("+1.1", "+0.12", "+0.28"), QWEN),
    *_methods("LLaMA-3-8B", "57.7", "58.0", ("+1.3", "+0.19", "+1.57"), LLAMA),
    _alpha("1e-7", "39.2", "4.85"),
    _alpha("5e-7", "40.1", "4.79"),
    _alpha("1e-6", "41.6", "4.76"),
    _alpha("5e-6", "41.8", "4.66"),
    _alpha("1e-5", "40.1", "4.37"),
    _alpha("5e-5", "37.2", "3.13"),
    _alpha("1e-4", "7.4", "1.00"),
)

CURVES: Mapping[str, str] = {
    "beta": "The paper draws beta from 1e-3 to 1e-1 (Figure 4); its points are not repeated here.",
    "density": "The paper draws densities from 1 to 1e-5 (Figure 2) and calls them stable down to 5e-4; its points are"
    " not repeated here.",
    "gap_steps": "The paper draws gaps of 5, 10, 50, 100 and 200 steps (Figure 3); its points are not repeated here.",
}
"""Studies that the paper shows as curves: what is known of them."""

NOISE = "The paper's judges have a standard deviation of about 0.05 (MT-Bench) and 0.5 (AlpacaEval 2 LC)."


def paper_table(study: str) -> TextTable | None:
    """The paper's figures that match a study, None where none is certain."""
    figures = [figure for figure in FIGURES if figure.study == study]
    if not figures:
        return None
    names = list(dict.fromkeys(name for figure in figures for name in figure.values))
    return TextTable(
        title=f"The paper's own figures ({PAPER}): not comparable",
        columns=["model", "setting", "source", "why not comparable", *names],
        rows=[
            [
                figure.model,
                figure.setting,
                figure.place,
                figure.reason,
                *(figure.values.get(name, MISSING).replace("-", "\u2212") for name in names),
            ]
            for figure in figures
        ],
        words=4,
        notes=[
            "Other models, benchmarks and judges than this sweep's: nothing above may be read against this table.",
            NOISE,
        ],
    )
