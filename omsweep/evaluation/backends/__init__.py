"""Who answers: a model in this process, or a server; see `omsweep.evaluation.backends.interface`."""
