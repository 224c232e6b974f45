"""Which knobs each merge method takes, and what the two semantics say where a knob is left open. Torch-free.

Source: arXiv:2405.17931 ("equations") and the authors' released code ("released"). `docs/deviations.md` lists where the
two differ. `seed` is no knob of a method: every method takes it, because a sweep hands each trial one.
"""

from collections.abc import Mapping
from typing import Any

METHOD_KNOBS: Mapping[str, tuple[str, ...]] = {
    "adamw": (),
    "linear": ("alpha", "gap_steps", "alpha_schedule"),
    "ondare": (
        "semantics",
        "alpha",
        "density",
        "gap_steps",
        "alpha_schedule",
        "rescale",
        "tau_mask",
        "clip",
    ),
    "onties": (
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
    "childtuning": ("semantics", "density", "gap_steps", "rescale"),
    "della": ("alpha", "density", "spread", "gap_steps", "alpha_schedule", "rescale", "elect", "tau_mask"),
    "anchor": ("alpha", "alpha_schedule"),
    "ema": ("alpha", "alpha_schedule", "average_rate"),
}

TAU_METHODS = ("linear", "ondare", "onties", "della")
"""Methods that merge a task vector; the others either merge nothing in or pull to other weights."""

# Effective values of axes left open, for methods that the two semantics do not tell apart.
DEFAULT_AXES: Mapping[str, Mapping[str, Any]] = {
    "della": {"rescale": "inverse", "elect": "weighted", "tau_mask": "resample"},
    "ema": {"average_rate": 0.01},
}

SEMANTICS_NAMES = ("equations", "released")
SEMANTICS_REQUIRED = ("ondare", "onties")

RESCALES = ("none", "inverse", "norm")
ELECTIONS = ("weighted", "unweighted")
TAU_MASKS = ("resample", "fixed")
ALPHA_SCHEDULES = ("constant", "follow_lr")

SEMANTICS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "equations": {
        "ondare": {"rescale": "none", "tau_mask": "resample", "clip": None},
        "onties": {"rescale": "none", "elect": "weighted", "tau_mask": "resample", "min_kept": 1},
        "childtuning": {"rescale": "none"},
    },
    "released": {
        "ondare": {"rescale": "inverse", "tau_mask": "fixed", "clip": 1.0},
        "onties": {"rescale": "none", "elect": "unweighted", "tau_mask": "fixed", "min_kept": 0},
        "childtuning": {"rescale": "inverse"},
    },
}
