"""`childtuning`: `ondare` with alpha = 0; only the update is masked and no task vector takes part."""

from omsweep.merging.method import MergeMethod
from omsweep.merging.sparsify import random_mask

CHILDTUNING = MergeMethod(mask=random_mask, source="arXiv:2109.05687, as in arXiv:2405.17931 sec. 4")
