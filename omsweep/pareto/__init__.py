"""Fronts of two minimised losses: dominance, hypervolume, attainment, uncertainty. Numpy only."""

from omsweep.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "attainment": "omsweep.pareto.surfaces",
        "attainment_surface": "omsweep.pareto.surfaces",
        "front": "omsweep.pareto.dominance",
        "front_probability": "omsweep.pareto.uncertainty",
        "hypervolume": "omsweep.pareto.volume",
        "hypervolumes": "omsweep.pareto.volume",
        "knee": "omsweep.pareto.trade_off",
        "paired_front_probability": "omsweep.pareto.uncertainty",
    },
)
