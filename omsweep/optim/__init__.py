"""Online merging optimizers and their settings. Needs torch alone; the settings need not even that."""

from omsweep.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "OnlineMerge": "omsweep.optim.settings",
        "OnlineMergeAdamW": "omsweep.optim.adamw",
        "OnlineMergeOptimizer": "omsweep.optim.wrapper",
        "ResolvedMerge": "omsweep.optim.settings",
        "alpha_for_travel": "omsweep.optim.travel",
        "canonical_name": "omsweep.merging.names",
        "check_task_vector": "omsweep.optim.task_vector",
        "expected_tau_travel": "omsweep.optim.travel",
        "retained_share_of": "omsweep.optim.merger",
    },
)
