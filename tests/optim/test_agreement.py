"""The tiers step side by side on the same gradients."""

import pytest
import torch

from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.merger import Merger
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.sharding import piece_of


def test_plain_agrees_with_the_reference_tier(toy, merge_case: OnlineMerge) -> None:
    runs = []
    for path in ("plain", "reference"):
        parameters = toy.parameters()
        optimizer = OnlineMergeAdamW(
            parameters.items(), merge_case, toy.task_vector(), toy.tensors(0), lr=0.02, weight_decay=0.1, path=path
        )
        runs.append((toy.run(optimizer, parameters, range(1, 8)), optimizer))
    for plain, reference in zip(runs[0][0], runs[1][0], strict=True):
        for name in plain:
            torch.testing.assert_close(plain[name], reference[name], rtol=2e-6, atol=2e-6)
    left, right = runs[0][1].diagnostics(), runs[1][1].diagnostics()
    for key in left:
        torch.testing.assert_close(left[key], right[key], rtol=1e-4, atol=1e-6)


def test_one_merge_equals_the_formulas(toy, merge_case: OnlineMerge) -> None:
    """To 1e-6 of the largest entry, for an update and a task vector without ties."""
    parameters, tau, updates = toy.parameters(), toy.tensors(21), toy.tensors(22)
    mergers = [Merger(merge_case, parameters, task_vector=tau, reference=tau, path=p) for p in ("plain", "reference")]
    if mergers[0].method.pull != "none":
        pytest.skip("pulls and merges no update")
    for name, update in updates.items():
        alpha, piece = mergers[0].alpha(name, lr=1e-3, constructed_lr=1e-3), piece_of(name, parameters[name])
        found, expected = (
            sum(part for part in (merged.update_kept, merged.tau_kept) if part is not None)
            for merged in (m.merge(name, update, piece, step=merge_case.gap_steps, alpha=alpha) for m in mergers)
        )
        assert expected.abs().max() > 0
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_auto_is_plain(toy) -> None:
    merge = OnlineMerge("ondare", semantics="equations", alpha=0.1, density=0.5)
    weights = []
    for path in ("auto", "plain"):
        parameters = toy.parameters()
        optimizer = OnlineMergeAdamW(parameters.items(), merge, toy.task_vector(), path=path)
        weights.append(toy.run(optimizer, parameters, range(1, 4))[-1])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_row_added_to_the_table_is_all_that_a_method_needs(toy, added_cases: list[OnlineMerge]) -> None:
    assert len(added_cases) == 8
    for case in added_cases:
        test_plain_agrees_with_the_reference_tier(toy, case)
        test_one_merge_equals_the_formulas(toy, case)
    with pytest.raises(ValueError, match="method must be one of adamw, .*, added, got 'other'"):
        OnlineMerge("other")
    with pytest.raises(ValueError, match="method added does not take clip; it takes alpha, density"):
        OnlineMerge("added", clip=1.0)
