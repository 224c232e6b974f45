"""`onties`: keep the top-p share by magnitude in each tensor, then a sign consensus."""

from omsweep.merging.consensus import sign_consensus, unweighted_sign_consensus
from omsweep.merging.method import MergeMethod
from omsweep.merging.sparsify import top_mask

ONTIES = MergeMethod(
    mask=top_mask,
    facts="threshold",
    consensus={"weighted": sign_consensus, "unweighted": unweighted_sign_consensus},
    source="arXiv:2405.17931 eq. 5-7, algorithm 1",
)
