"""A checked search space: families, shared knobs and one branch per method. Torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omsweep.evaluation.settings import SPLITS, EvaluateSettings
from omsweep.families.family import ModelFamily
from omsweep.preferences.settings import PreferenceData
from omsweep.space.branches import (
    Branch,
    allowed_knobs,
)
from omsweep.space.crossing import alive
from omsweep.space.knobs import Knob
from omsweep.space.posthoc import PosthocGrid
from omsweep.space.schema import Design, Search, SpaceFile

LATER = ("constraints", "replicates", "warm_start", "transfer_from")
"""Settings of a search that its first version did not have; each asks nothing by default."""


@dataclass(frozen=True)
class SearchSpace:
    """A checked search space; `file` holds the sections that need no further reading."""

    file: SpaceFile
    families: tuple[ModelFamily, ...]
    preferences: PreferenceData
    evaluate: EvaluateSettings
    shared: Mapping[str, Knob]
    branches: tuple[Branch, ...]
    posthoc: tuple[PosthocGrid, ...] = ()
    replay: PreferenceData | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits on which every policy is scored, `search` first."""
        return SPLITS if self.file.evaluate.report_split == "all" else SPLITS[:1]

    @property
    def family_names(self) -> list[str]:
        """Names of the families, in the file's order."""
        return [family.name for family in self.families]

    @property
    def design(self) -> Design:
        """The blocked design (defaults where the file has none)."""
        return self.file.design or Design()

    @property
    def search(self) -> Search:
        """The adaptive search (defaults where the file has none)."""
        return self.file.search or Search()

    def knobs_of(self, branch: Branch) -> dict[str, Knob]:
        """The knobs alive under a branch: the shared ones that its method takes, then its own, which replace them."""
        return alive(branch, self.shared)

    def shared_by(self, branch: Branch) -> dict[str, Knob]:
        """The shared knobs that a branch's method takes."""
        return {name: knob for name, knob in self.shared.items() if name in allowed_knobs(branch.method)}

    def resolved(self) -> dict[str, Any]:
        """The whole space as plain data with every default filled in: what `sweep.json` records.

        Settings that came later, `secrets` and some of a search, are left out where nothing is asked of them: a sweep
        from before can be gone on with.
        """
        content = self.file.model_dump(mode="json", exclude={"design", "search", "baselines"})
        if self.file.scheduler.algorithm == "none":
            content["scheduler"] = {"algorithm": "none"}
        if not self.file.secrets:
            del content["secrets"]
        if self.file.mode == "compare":
            content["design"] = self.design.model_dump(mode="json")
        else:
            search = self.search.model_dump(mode="json")
            content["search"] = {name: value for name, value in search.items() if value or name not in LATER}
            content["baselines"] = self.file.baselines
        return content
