"""The tiers step side by side on the same gradients."""

import torch

from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge


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


def test_auto_is_plain(toy) -> None:
    merge = OnlineMerge("ondare", semantics="equations", alpha=0.1, density=0.5)
    weights = []
    for path in ("auto", "plain"):
        parameters = toy.parameters()
        optimizer = OnlineMergeAdamW(parameters.items(), merge, toy.task_vector(), path=path)
        weights.append(toy.run(optimizer, parameters, range(1, 4))[-1])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
