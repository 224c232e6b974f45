"""Fronts of two minimised losses: dominance, hypervolume, attainment, uncertainty. Numpy only."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "attainment": "omsweep.pareto.surfaces",
    "attainment_area": "omsweep.pareto.surfaces",
    "attainment_surface": "omsweep.pareto.surfaces",
    "front": "omsweep.pareto.dominance",
    "front_probability": "omsweep.pareto.uncertainty",
    "front_probability_over_units": "omsweep.pareto.uncertainty",
    "hypervolume": "omsweep.pareto.volume",
    "hypervolumes": "omsweep.pareto.volume",
}
__all__ = [
    "attainment",
    "attainment_area",
    "attainment_surface",
    "front",
    "front_probability",
    "front_probability_over_units",
    "hypervolume",
    "hypervolumes",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
