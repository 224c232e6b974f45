"""The embedded preference data sets: their sizes and where they are built."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EmbeddedPreferences:
    """An embedded data set that is sampled from a family's own SFT model.

    Attributes:
        name: the name in search spaces.
        module: has `build_pairs(generate, *, prompts, samples, seed) -> list of records`, and
            `open_prompts(*, prompts, seed) -> list of {"id", "prompt"}` for pairs from other models.
        prompts: prompts drawn; a prompt whose candidates are all the same text gives no pair.
        samples: candidates sampled for each open-ended prompt.
        version: part of the cache key; raised when the same arguments would give other records.
        modules: what must be installed to build it, see `omsweep.extras`.
    """

    name: str
    module: str
    prompts: int
    samples: int
    version: int
    modules: tuple[str, ...] = ()


TINY = EmbeddedPreferences(name="tiny", module="omsweep.preferences.tiny", prompts=1600, samples=2, version=1)
TINY_ON_POLICY = EmbeddedPreferences(
    name="tiny-on-policy", module="omsweep.preferences.tiny_on_policy", prompts=1600, samples=4, version=1
)


def _smollm2(name: str, *, prompts: int, samples: int) -> EmbeddedPreferences:
    module = "omsweep.preferences.smollm2"
    return EmbeddedPreferences(
        name=name, module=module, prompts=prompts, samples=samples, version=1, modules=("vaderSentiment",)
    )


SMOLLM2 = _smollm2("smollm2", prompts=160, samples=2)
SMOLLM2_LARGE = _smollm2("smollm2-large", prompts=600, samples=4)

PREFERENCES: Mapping[str, EmbeddedPreferences] = {
    entry.name: entry for entry in (TINY, TINY_ON_POLICY, SMOLLM2, SMOLLM2_LARGE)
}
