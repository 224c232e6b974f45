"""Who runs a sweep: the driver, its trials under Ray Tune and Ray Train, and what happens as they end.

`trainable` and `tuner` are for Ray code of one's own (docs/tune.md).
"""

from omsweep.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__, {"trainable": "omsweep.engine.tune_api", "tuner": "omsweep.engine.tune_api"}
)
