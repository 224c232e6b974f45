"""`linear`: keep all, sum. theta <- theta + (1 - alpha) * delta + alpha * tau."""

from omsweep.merging.consensus import weighted_sum
from omsweep.merging.method import MergeMethod

LINEAR = MergeMethod(consensus={"none": weighted_sum}, source="arXiv:2405.17931 eq. 2")
