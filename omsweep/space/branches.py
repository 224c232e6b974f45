"""The `space` section, read knob by knob: what all methods share, and a branch for each entry of `method:`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omsweep.align.settings import MATCHES, allowed_matches
from omsweep.merging.methods import METHODS, method_names
from omsweep.preferences.settings import PreferenceData, preferences_from
from omsweep.space.knobs import Knob, SpaceError, parse_knob

REQUIRED_KNOBS = ("algorithm", "learning_rate", "beta")
TRAIN_KNOBS = ("steps", "warmup_steps", "weight_decay", "max_grad_norm", "lr_scheduler")
RECIPE_KNOBS = ("nll_weight", "replay_share", "lora_rank", "lora_alpha", "desirable_weight", "undesirable_weight")
SHARED_KNOBS = REQUIRED_KNOBS + TRAIN_KNOBS + RECIPE_KNOBS
"""`TRAIN_KNOBS` left out have their values in the section `train`, `RECIPE_KNOBS` the defaults of `TrainSettings`."""
PREFERENCES = "preferences"
"""A branch's own preference data, no knob: never drawn."""
MATCH = "match"
"""A branch's own `design.match`, no knob either."""
TASK_VECTOR = "task_vector"
"""Which task vector a method merges; taken by the methods that merge one alone."""


@dataclass(frozen=True)
class Branch:
    """One entry of `space.method`: a method under a label, with its own knobs and those it overrides.

    `origin` is the entry's label, which a level of a crossed knob does not have (`omsweep.space.crossing`);
    `preferences` is what it trains on in place of the file's preference data, None for those; `match` is
    `share` or `none` in place of `design.match`, None for that.
    """

    label: str
    method: str
    knobs: Mapping[str, Knob]
    origin: str
    preferences: PreferenceData | None = None
    match: str | None = None


def allowed_knobs(method: str) -> list[str]:
    """Knobs alive under `method`: its own, `tau_travel` where alpha follows from it, `task_vector` and shared ones."""
    row = METHODS[method]
    travel = ["tau_travel"] if row.travel_is_known else []
    task_vector = [TASK_VECTOR] if row.merges_tau else []
    return [*row.knobs, *travel, *task_vector, *SHARED_KNOBS]


def read_shared(raw: Mapping[str, Any]) -> dict[str, Knob]:
    """The knobs that all methods share, those in `space` itself; raises SpaceError."""
    known = (*SHARED_KNOBS, TASK_VECTOR)
    for key in raw:
        if key not in (*known, "method"):
            raise SpaceError(f"space.{key}", f"unknown key {key!r}; allowed: {', '.join((*known, 'method'))}")
    for key in (*REQUIRED_KNOBS, "method"):
        if key not in raw:
            raise SpaceError(f"space.{key}", "is missing and has no default")
    return {name: parse_knob(raw[name], f"space.{name}") for name in known if name in raw}


def read_branches(raw: Any) -> tuple[Branch, ...]:
    """The entries of `space.method`; raises SpaceError."""
    if isinstance(raw, str):
        raw = {raw: {}}
    if not isinstance(raw, Mapping) or not raw:
        raise SpaceError("space.method", f"must be a mapping of labels to knobs, got {raw!r}")
    return tuple(_branch(str(label), knobs) for label, knobs in raw.items())


def _branch(label: str, raw: Any) -> Branch:
    path = f"space.method.{label}"
    if raw is not None and not isinstance(raw, Mapping):
        raise SpaceError(path, f"must be a mapping of knobs ({{}} for none), got {raw!r}")
    knobs = dict(raw or {})
    method = knobs.pop("method", label)
    own, match = knobs.pop(PREFERENCES, None), knobs.pop(MATCH, None)
    if not isinstance(method, str) or method not in METHODS:
        where = f"{path}.method" if method != label else path
        hint = "" if method != label else f" (a label of your own names its method: {label}: {{method: ondare, ...}})"
        raise SpaceError(where, f"unknown method {method!r}; allowed: {', '.join(METHODS)}{hint}")
    for key in knobs:
        if key not in allowed_knobs(method):
            raise SpaceError(f"{path}.{key}", _refusal(key, method))
    if "tau_travel" in knobs and "alpha" in knobs:
        raise SpaceError(f"{path}.alpha", "follows from tau_travel; give one of the two")
    try:
        preferences = None if own is None else preferences_from(own)
    except (ValueError, TypeError) as error:
        raise SpaceError(f"{path}.{PREFERENCES}", str(error)) from None
    if match is not None and match not in MATCHES:
        raise SpaceError(f"{path}.{MATCH}", f"must be {allowed_matches(match)}, got {match!r}")
    read = {key: parse_knob(value, f"{path}.{key}") for key, value in knobs.items()}
    return Branch(label, method, read, label, preferences, match)


def _refusal(key: str, method: str) -> str:
    if key == TASK_VECTOR:
        allowed = ", ".join(method_names(lambda row: row.merges_tau))
        return f"method {method!r} merges no task vector; allowed for: {allowed}"
    return (
        f"unknown key {key!r} for method {method!r}; allowed: {', '.join([*allowed_knobs(method), PREFERENCES, MATCH])}"
    )
