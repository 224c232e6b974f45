"""Alignment training: dpo, ipo and kto through TRL with an online merging optimizer; nothing is scored here.

The entry point is the function `omsweep.align.train.train`; it is not re-exported, because the module bears its name.
"""

from omsweep.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ALGORITHMS": "omsweep.align.algorithms",
        "Algorithm": "omsweep.align.algorithms",
        "PreflightError": "omsweep.align.preflight",
        "TrainOutcome": "omsweep.align.outcome",
        "TrainSettings": "omsweep.align.settings",
        "prepare_data": "omsweep.align.data",
    },
)
