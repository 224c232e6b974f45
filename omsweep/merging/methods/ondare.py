"""`ondare`: keep each entry with probability p, sum."""

from omsweep.merging.consensus import weighted_sum
from omsweep.merging.method import MergeMethod
from omsweep.merging.sparsify import random_mask

ONDARE = MergeMethod(mask=random_mask, consensus={"none": weighted_sum}, source="arXiv:2405.17931 eq. 3-4, algorithm 1")
