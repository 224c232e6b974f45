"""`della`: keep entries with a probability that rises with their rank, rescale each by its own, sign consensus."""

from omsweep.merging.consensus import sign_consensus, unweighted_sign_consensus
from omsweep.merging.method import MergeMethod
from omsweep.merging.sparsify import random_mask

DELLA = MergeMethod(
    mask=random_mask,
    facts="counts",
    consensus={"weighted": sign_consensus, "unweighted": unweighted_sign_consensus},
    source="arXiv:2406.11617",
)
