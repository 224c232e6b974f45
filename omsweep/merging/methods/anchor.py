"""`anchor`: eq. 1 unrelaxed with a linear consensus, which is decoupled L2-SP."""

from omsweep.merging.consensus import towards
from omsweep.merging.method import MergeMethod

ANCHOR = MergeMethod(pull=towards, target="reference", source="arXiv:2405.17931 eq. 1; arXiv:1802.01483 (L2-SP)")
