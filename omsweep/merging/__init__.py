"""Merging: masks, consensus, the table of methods, offline merging. Pure tensor mathematics."""

from omsweep.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "METHODS": "omsweep.merging.methods",
        "MergeMethod": "omsweep.merging.methods",
        "method_names": "omsweep.merging.methods",
    },
)
