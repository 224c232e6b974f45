"""What `omsweep check` says of families and the reward model: where they are, whom to ask, what memory they need."""

from collections.abc import Iterator
from pathlib import Path

from omsweep.evaluation.rewards.reward_models import REWARD_MODELS
from omsweep.families.family import GIB, ModelFamily, TinyRecipe
from omsweep.families.folder import stored_dtype
from omsweep.families.presence import Place, hub_is_off, place_of, with_shape
from omsweep.optim.settings import DTYPE_BYTES
from omsweep.space.checks.fit import limit_of, need_of
from omsweep.space.search_space import SearchSpace


def family_notes(space: SearchSpace) -> list[str]:
    """One line for each thing to know about a family before a run; nothing is downloaded to find it out."""
    return [f"{family.name}: {note}" for family in space.families for note in _notes(space, family)]


def _notes(space: SearchSpace, family: ModelFamily) -> Iterator[str]:
    if isinstance(family.recipe, TinyRecipe):
        return
    need = need_of(space, family)
    name, gib = limit_of(space, family)
    declared = f"{gib:g} declared ({name})" if gib is not None else f"no {name} declared"
    if need is None:
        yield "size not known, so memory is not checked: give the family parameters or shape"
    else:
        partly = "" if need.load.shape is not None else ", activations not counted (give the family a shape)"
        yield f"a worker needs about {need.describe()}{partly}; {declared}"
    paths = (family.base, family.sft, *family.other_sft) if family.recipe is None else ()
    places = [(path, place_of(path, revision=family.revision)) for path in paths]
    for path, place in places:
        yield from _place_notes(path, place, family.size)
    stored = sorted({stored_dtype(Path(path).expanduser()) for path, place in places[:2] if place == "folder"})
    if len(stored) == 2:
        yield (
            f"base and SFT model are stored in {' and '.join(stored)}: what the coarser one rounds away is part"
            " of their task vector"
        )
    if family.gated and any(place == "hub" for _, place in places):
        yield "gated: accept the licence on the hub and log in (HF_TOKEN) where the sweep runs"
    shaped = with_shape(family)
    if shaped.shape and shaped.base_vocabulary not in (None, shaped.shape.vocabulary):
        yield (
            f"the base's vocabulary has {shaped.base_vocabulary:,} rows, the SFT model's {shaped.shape.vocabulary:,}:"
            " rows are matched by token, and one that the base lacks counts as zero in it"
        )
    if family.sft_kind == "aligned":
        yield "its SFT model is aligned already: reward and tax are measured against that"


def reward_model_notes(space: SearchSpace) -> list[str]:
    """Where the reward model is, unless it is embedded or here; nothing is downloaded to find it out."""
    named = [one for one in space.evaluate.all_rewards if one.model is not None and one.model not in REWARD_MODELS]
    return [
        f"reward model: {note}"
        for one in named
        for note in _place_notes(str(one.model), place_of(str(one.model), revision=one.revision), None)
    ]


def _place_notes(path: str, place: Place, size: int | None) -> Iterator[str]:
    match place:
        case "missing folder":
            yield f"{path} is no folder of this machine; it must be one where the sweep runs"
        case "hub":
            much = f" (about {size * DTYPE_BYTES['bfloat16'] / GIB:.1f} GiB as bfloat16)" if size else ""
            if hub_is_off():
                yield f"{path} is not in the local hub cache and HF_HUB_OFFLINE is set: a run here would stop"
            else:
                yield f"{path} is not in the local hub cache: a run downloads it{much}"
