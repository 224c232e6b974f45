"""The table of merge methods, one file each."""

from collections.abc import Mapping

from omsweep.merging.method import MergeMethod
from omsweep.merging.methods.adamw import ADAMW
from omsweep.merging.methods.anchor import ANCHOR
from omsweep.merging.methods.childtuning import CHILDTUNING
from omsweep.merging.methods.della import DELLA
from omsweep.merging.methods.ema import EMA
from omsweep.merging.methods.linear import LINEAR
from omsweep.merging.methods.ondare import ONDARE
from omsweep.merging.methods.onties import ONTIES

METHODS: Mapping[str, MergeMethod] = {
    "adamw": ADAMW,
    "linear": LINEAR,
    "ondare": ONDARE,
    "onties": ONTIES,
    "childtuning": CHILDTUNING,
    "della": DELLA,
    "anchor": ANCHOR,
    "ema": EMA,
}
