"""The alignment algorithms: what data each wants, its loss as TRL calls it and before the first step. Torch-free."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

DataKind = Literal["paired", "unpaired"]


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """One alignment algorithm.

    Attributes:
        name: the name in search spaces.
        data_kind: `paired` records (prompt, chosen, rejected) or `unpaired` ones (prompt, completion, label).
        trl_loss: the loss by TRL's name; `TRAINERS` of `omsweep.align.trainer` says whose loss it is.
        initial_loss: beta -> loss of a policy that equals its reference.
        source: where the loss is defined.
    """

    name: str
    data_kind: DataKind
    trl_loss: str
    initial_loss: Callable[[float], float]
    source: str


# Direct preference optimisation: -log sigmoid(beta (log-ratio of chosen - log-ratio of rejected)).
DPO = Algorithm(
    name="dpo",
    data_kind="paired",
    trl_loss="sigmoid",
    initial_loss=lambda beta: math.log(2.0),  # -log sigmoid(0)
    source="arXiv:2305.18290 eq. 7",
)
# Identity preference optimisation: (difference of per-token mean log-ratios - 1 / (2 beta))^2; beta is the paper's tau.
IPO = Algorithm(
    name="ipo",
    data_kind="paired",
    trl_loss="ipo",
    initial_loss=lambda beta: (1.0 / (2.0 * beta)) ** 2,
    source="arXiv:2310.12036 eq. 17, log-ratios averaged over tokens as in TRL",
)
# Kahneman-Tversky optimisation: 1 - sigmoid(+-beta (log-ratio - KL)), times the label's weight.
KTO = Algorithm(
    name="kto",
    data_kind="unpaired",
    trl_loss="kto",
    initial_loss=lambda beta: 0.5,  # 1 - sigmoid(0)
    source="arXiv:2402.01306 eq. 7",
)

ALGORITHMS: Mapping[str, Algorithm] = {algorithm.name: algorithm for algorithm in (DPO, IPO, KTO)}


def algorithm_named(name: str) -> Algorithm:
    """The table's entry; ValueError names what is allowed."""
    if name not in ALGORITHMS:
        raise ValueError(f"algorithm must be one of {', '.join(ALGORITHMS)}, got {name!r}")
    return ALGORITHMS[name]
