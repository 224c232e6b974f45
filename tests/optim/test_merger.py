"""What an optimizer remembers of its task vector changes no threshold."""

import pytest
import torch

from omsweep.merging.sparsify import top_threshold
from omsweep.merging.threshold import TopThreshold
from omsweep.optim import merger as merging
from omsweep.optim.merger import Merger
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.sharding import piece_of


@pytest.mark.parametrize("spacing", [0.01, 0.25], ids=["few ties", "more than are remembered"])
def test_ties_of_a_task_vector_are_broken_anew_at_every_merge(spacing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    tau = {"w": (x / spacing).round() * spacing}
    searched: list[int] = []

    def counted(*arguments: object) -> TopThreshold:
        searched.append(1)
        return top_threshold(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(merging, "top_threshold", counted)
    merge = OnlineMerge("onties", semantics="equations", alpha=0.1, density=0.3)
    merger = Merger(merge, {"w": x}, task_vector=tau, reference=None, path="plain")
    ties = set()
    for step in range(1, 6):
        found = merger.tau_threshold("w", piece_of("w", x), step, x.device)
        assert found == top_threshold(tau["w"], 6000, merger.tau_key("w", step))
        ties.add(found.tie)
    assert len(ties) == 5
    assert len(searched) == (1 if spacing < 0.1 else 5)
