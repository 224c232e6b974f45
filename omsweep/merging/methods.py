"""The table of online merge methods: what each does, the knobs it takes, what they are where left open. Torch-free.

One step is theta <- theta + C((1 - alpha) S(update), alpha S(tau)): a method is a sparsifier S and a consensus C, or a
pull of the weights. The functions behind the names are `SPARSIFIERS` (`omsweep.merging.sparsify`), `CONSENSUS` and
`towards` (`omsweep.merging.consensus`); everything else that is asked of a method follows from its fields.

Source: arXiv:2405.17931 ("equations") and the authors' released code ("released"). `docs/deviations.md` lists where the
two differ. `seed` is no knob of a method: every method takes it, because a sweep hands each trial one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SEMANTICS_NAMES = ("equations", "released")
RESCALES = ("none", "inverse", "norm")
ELECTIONS = ("weighted", "unweighted")
TAU_MASKS = ("resample", "fixed")
ALPHA_SCHEDULES = ("constant", "follow_lr")


@dataclass(frozen=True, kw_only=True)
class MergeMethod:
    """One online merge method.

    Attributes:
        source: where it is published.
        sparsifier: which entries of update and task vector are kept: `all`; `random`: each with probability density;
            `ranked`: with one that rises with its rank; `top`: the largest.
        consensus: what is left where both meet: `sum`; `sign`: a sign is elected in each entry; `none`: no task vector
            takes part.
        pull: what the weights are pulled to after the plain update: `reference`, theta_r; `average`, their own moving
            average; `none`. A pull keeps `all` and has no consensus.
        knobs: the fields of `OnlineMerge` that it takes, beside `seed`.
        by_semantics: what knobs left open are under each of `SEMANTICS_NAMES`, where `semantics` is a knob.
        default_semantics: the one that counts where none is given; None: it must be given.
        defaults: what knobs left open are, where `semantics` is no knob; those not named stay open.
    """

    source: str
    sparsifier: Literal["all", "random", "ranked", "top"] = "all"
    consensus: Literal["none", "sum", "sign"] = "none"
    pull: Literal["none", "reference", "average"] = "none"
    knobs: tuple[str, ...] = ()
    by_semantics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default_semantics: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_plain(self) -> bool:
        """Whether its steps are those of the optimizer alone."""
        return self.sparsifier == "all" and self.consensus == "none" and self.pull == "none"

    @property
    def merges_tau(self) -> bool:
        """Whether a task vector takes part; the other methods merge nothing in or pull to other weights."""
        return self.consensus != "none"

    @property
    def masks_alone(self) -> bool:
        """Whether it is what the methods of its sparsifier are without a task vector."""
        return self.sparsifier != "all" and not self.merges_tau

    @property
    def tau_keeps_direction(self) -> bool:
        """Whether what is added of tau does not hang on the update, so that it adds up over steps of one mask."""
        return self.consensus == "sum"

    @property
    def masks_average_out(self) -> bool:
        """Whether entries are kept at random and what is kept of the update does not hang on what is kept of tau.

        Sums over entries are then known in expectation over masks, without looking at those that were drawn.
        """
        return self.sparsifier == "random" and self.consensus != "sign"

    @property
    def travel_is_known(self) -> bool:
        """Whether the way along tau follows from the settings, see `omsweep.optim.travel`."""
        return self.consensus == "sum" and self.sparsifier in ("all", "random")

    @property
    def needs_semantics(self) -> bool:
        """Whether `semantics` must be given."""
        return "semantics" in self.knobs and self.default_semantics is None

    def open_knobs(self, semantics: str | None) -> Mapping[str, Any]:
        """What knobs left open are under a semantics, which is None where it is no knob of the method."""
        return self.defaults if semantics is None else self.by_semantics[semantics]


METHODS: Mapping[str, MergeMethod] = {
    # torch.optim.AdamW bit for bit
    "adamw": MergeMethod(source="arXiv:1711.05101"),
    # theta <- theta + (1 - alpha) * delta + alpha * tau
    "linear": MergeMethod(
        source="arXiv:2405.17931 eq. 2",
        consensus="sum",
        knobs=("alpha", "gap_steps", "alpha_schedule"),
    ),
    "ondare": MergeMethod(
        source="arXiv:2405.17931 eq. 3-4, algorithm 1",
        sparsifier="random",
        consensus="sum",
        knobs=("semantics", "alpha", "density", "gap_steps", "alpha_schedule", "rescale", "tau_mask", "clip"),
        by_semantics={
            "equations": {"rescale": "none", "tau_mask": "resample", "clip": None},
            "released": {"rescale": "inverse", "tau_mask": "fixed", "clip": 1.0},
        },
    ),
    "onties": MergeMethod(
        source="arXiv:2405.17931 eq. 5-7, algorithm 1",
        sparsifier="top",
        consensus="sign",
        knobs=(
            "semantics",
            "alpha",
            "density",
            "gap_steps",
            "alpha_schedule",
            "rescale",
            "elect",
            "tau_mask",
            "min_kept",
        ),
        by_semantics={
            "equations": {"rescale": "none", "elect": "weighted", "tau_mask": "resample", "min_kept": 1},
            "released": {"rescale": "none", "elect": "unweighted", "tau_mask": "fixed", "min_kept": 0},
        },
    ),
    # ondare with alpha = 0
    "childtuning": MergeMethod(
        source="arXiv:2109.05687, as in arXiv:2405.17931 sec. 4",
        sparsifier="random",
        knobs=("semantics", "density", "gap_steps", "rescale"),
        by_semantics={"equations": {"rescale": "none"}, "released": {"rescale": "inverse"}},
        default_semantics="equations",
    ),
    "della": MergeMethod(
        source="arXiv:2406.11617",
        sparsifier="ranked",
        consensus="sign",
        knobs=("alpha", "density", "spread", "gap_steps", "alpha_schedule", "rescale", "elect", "tau_mask"),
        defaults={"rescale": "inverse", "elect": "weighted", "tau_mask": "resample"},
    ),
    # eq. 1 unrelaxed with a linear consensus, which is decoupled L2-SP
    "anchor": MergeMethod(
        source="arXiv:2405.17931 eq. 1; arXiv:1802.01483 (L2-SP)",
        pull="reference",
        knobs=("alpha", "alpha_schedule"),
    ),
    # theta <- theta + alpha * (average - theta), then average <- average + average_rate * (theta - average), which
    # starts at theta_r: the first pull goes back there
    "ema": MergeMethod(
        source="arXiv:2405.17931 sec. 4 (baseline EMA)",
        pull="average",
        knobs=("alpha", "alpha_schedule", "average_rate"),
        defaults={"average_rate": 0.01},
    ),
}

BASELINE_METHOD = "adamw"
"""What the other methods are compared with."""


def method_names(which: Callable[[MergeMethod], bool]) -> tuple[str, ...]:
    """Names of the methods of which `which` holds, in the order of the table."""
    return tuple(name for name, method in METHODS.items() if which(method))
