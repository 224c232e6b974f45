"""`adamw`: nothing is merged; torch.optim.AdamW bit for bit."""

from omsweep.merging.method import MergeMethod

ADAMW = MergeMethod(source="arXiv:1711.05101")
