"""Which preference data to use; plain values, checked, without torch or datasets."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from omsweep.preferences.files import SUFFIXES
from omsweep.preferences.table import PREFERENCES

Messages = list[dict[str, str]]
Generate = Callable[
    [Sequence[Messages], int, int], list[list[str]]
]  # (prompts, samples, seed) -> texts [prompt][sample]

RENDERINGS = ("chat", "plain")
HUB_ONLY = ("config", "split", "revision")


@dataclass(frozen=True, kw_only=True)
class PreferenceData:
    """Where preference records come from; exactly one of `name`, `path` and `hub`.

    Attributes:
        name: an embedded data set, see `PREFERENCES`.
        path: a local file, whose name ends with one of `SUFFIXES`.
        hub: a data set id on the Hugging Face hub.
        config, split, revision: of the hub data set; not with `name` or `path`.
        limit: use the first `limit` records only.
        rendering: how records in TRL's standard (plain text) format become tokens: `chat` puts prompt and completion
            into one user and one assistant message, so that training sees the template that scoring uses; `plain`
            tokenises the text as it is, as TRL does. Conversational records always go through the template. Not
            with `name`: embedded records are conversations.
        max_dropped_share: share of the records that may be dropped (`omsweep.preferences.turns.REMEDIES`) before a run
            refuses to start.

    Raises:
        ValueError: none or several sources, an unknown name, a file suffix that is not read, a limit below 1, a setting
            that the source has no use for.
    """

    name: str | None = None
    path: str | None = None
    hub: str | None = None
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    limit: int | None = None
    rendering: str = "chat"
    max_dropped_share: float = 0.02

    def __post_init__(self) -> None:
        for field in ("name", "path", "hub", "config", "split", "revision"):
            text = getattr(self, field)
            if not isinstance(text, str) and (text is not None or field == "split"):
                raise ValueError(f"preferences {field} must be text, got {text!r:.80}")
        given = [field for field in ("name", "path", "hub") if getattr(self, field) is not None]
        if len(given) != 1:
            raise ValueError(
                f"preferences must have exactly one of name, path and hub, got {', '.join(given) or 'none'}"
            )
        if self.name is not None and self.name not in PREFERENCES:
            raise ValueError(
                f"preferences must be one of {', '.join(PREFERENCES)}, or a mapping with path or hub, got {self.name!r}"
            )
        if self.path is not None and not self.path.endswith(SUFFIXES):
            raise ValueError(f"preferences path must end with one of {', '.join(SUFFIXES)}, got {self.path!r}")
        whole = isinstance(self.limit, int) and not isinstance(self.limit, bool)
        if self.limit is not None and not (whole and self.limit >= 1):
            raise ValueError(f"preferences limit must be a whole number of at least 1, got {self.limit!r:.80}")
        if self.rendering not in RENDERINGS:
            raise ValueError(f"preferences rendering must be one of {', '.join(RENDERINGS)}, got {self.rendering!r}")
        share = self.max_dropped_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"preferences max_dropped_share must be in [0, 1], got {share!r}")
        unused = {"path": HUB_ONLY, "name": (*HUB_ONLY, "rendering"), "hub": ()}[given[0]]
        default = {field.name: field.default for field in fields(self)}
        idle = [name for name in unused if getattr(self, name) != default[name]]
        if idle:
            raise ValueError(f"preferences with {given[0]} take no {' and no '.join(idle)}, got {self.source!r}")

    @property
    def source(self) -> str:
        """The name, path or hub id."""
        return self.name or self.path or str(self.hub)

    @property
    def key(self) -> str:
        """Text that differs wherever the records do; logs hold it, and `omsweep.store.former.data_key` reads it."""
        content = {name: value for name, value in self.as_mapping().items() if name != "max_dropped_share"}
        if self.path is not None:
            content["path"] = str(Path(self.path).expanduser().absolute())
        return json.dumps(content, sort_keys=True)

    def as_mapping(self) -> dict[str, Any]:
        """Plain data from which `preferences_from` makes an equal value."""
        return asdict(self)


def preferences_from(value: "str | Mapping[str, Any] | PreferenceData") -> PreferenceData:
    """Settings from what a search space file holds: a name, a file's path, or a mapping of `PreferenceData`'s fields.

    Raises:
        ValueError: unknown name or key; the message lists what is allowed.
    """
    if isinstance(value, PreferenceData):
        return value
    if isinstance(value, str):
        return PreferenceData(path=value) if value.endswith(SUFFIXES) else PreferenceData(name=value)
    if not isinstance(value, Mapping):
        raise ValueError(f"preferences must be a name or a mapping, got {value!r}")
    allowed = [field.name for field in fields(PreferenceData)]
    unknown = sorted(set(value) - set(allowed))
    if unknown:
        raise ValueError(f"preferences keys must be among {', '.join(allowed)}, got {', '.join(map(str, unknown))}")
    return PreferenceData(**value)


def replay_from(value: str | Mapping[str, Any]) -> PreferenceData:
    """Where SFT data come from: a file's path, or a mapping of `PreferenceData`'s fields with `path` or `hub`.

    Raises:
        ValueError: a name, or what `preferences_from` refuses.
    """
    a_name = not value.endswith(SUFFIXES) if isinstance(value, str) else "name" in value
    if a_name:
        raise ValueError(
            f"replay must be a path that ends with one of {', '.join(SUFFIXES)}, or a mapping with path or hub, got"
            f" {value!r}"
        )
    try:
        return preferences_from(value)
    except ValueError as error:
        raise ValueError(str(error).replace("preferences", "replay", 1)) from None
