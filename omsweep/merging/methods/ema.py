"""`ema`: after each update the weights are pulled towards their own exponential moving average.

    theta <- theta + alpha * (average - theta)
    average <- average + average_rate * (theta - average), starting at theta_r

The average is the one before the step, so the first pull goes back to theta_r.
"""

from omsweep.merging.consensus import towards
from omsweep.merging.method import MergeMethod

EMA = MergeMethod(pull=towards, target="average", source="arXiv:2405.17931 sec. 4 (baseline EMA)")
