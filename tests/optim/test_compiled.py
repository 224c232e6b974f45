"""The compiled path against the plain one: the same masks, and weights within rounding."""

import copy
import gc
import math
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from omsweep.merging.randomness import entry_bits, mask_key, mask_keys, name_words, signed
from omsweep.merging.threshold import threshold_among
from omsweep.optim import compiled, diagnostics
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.flat import WIDEST_ROW, plane
from omsweep.optim.inductor import on_given
from omsweep.optim.kernels import Held, Kind, flipped, keyed_bits
from omsweep.optim.settings import OnlineMerge

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("g++", "clang++", "c++")), reason="no C++ compiler"
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
SHAPES = {"a": (60, 40), "b": (77,), "c": (300, 128), "d": (1,)}
CASES = {
    "adamw": OnlineMerge("adamw"),
    "linear": OnlineMerge("linear", alpha={"c": 0.05, "*": 0.1}),
    "ondare": OnlineMerge("ondare", semantics="equations", alpha=0.1, density=0.4),
    "ondare-released": OnlineMerge("ondare", semantics="released", alpha=0.1, density=0.3),
    "onties": OnlineMerge("onties", semantics="equations", alpha=0.1, density=0.2),
    "onties-released": OnlineMerge("onties", semantics="released", alpha=0.1, density=0.2),
    "childtuning": OnlineMerge("childtuning", density=0.2),
}


def tensors(seed: int, scale: float) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


PREPARED = {(seed, scale): tensors(seed, scale) for seed, scale in [(0, 0.02), (1, 0.01)]}
PREPARED |= {(100 + step, 1.0): tensors(100 + step, 1.0) for step in range(1, 9)}


def run(merge: OnlineMerge, path: str, dtype: torch.dtype, precision: str, device: str = "cpu"):
    parameters = {name: nn.Parameter(value.to(device, dtype)) for name, value in tensors(0, 0.02).items()}
    optimizer = OnlineMergeAdamW(
        parameters.items(), merge, tensors(1, 0.01), lr=1e-12, weight_decay=0.1, path=path, precision=precision
    )
    for step in range(1, 9):
        optimizer.param_groups[0]["lr"] = 1e-12 if step <= 3 else 1e-3  # the first updates tie in magnitude
        for name, gradient in tensors(100 + step, 1.0).items():
            parameters[name].grad = gradient.to(device, dtype)
        optimizer.step()
    return parameters, optimizer


def test_hash_bits_on_int32_words() -> None:
    key = mask_key(3, 7, "update", "w")
    index = torch.tensor([0, 1, 2, 65535, 2**31 - 1, 2**31, 2**32 - 1])
    first, second = (torch.tensor(signed(word), dtype=torch.int32) for word in key)
    words = keyed_bits(index.to(torch.int32), first, second)
    assert (words.to(torch.int64) & 0xFFFFFFFF).tolist() == entry_bits(index, key).tolist()
    assert flipped(0) < flipped(2**31 - 1) < flipped(2**31) < flipped(2**32 - 1)


def test_keys_of_many_names_are_those_of_each() -> None:
    names = [f"model.layers.{i}.weight" for i in range(50)]
    for seed, step, stream in ((0, 1, "update"), (2**63 + 5, 0, "task_vector"), (7, 123456, "rounding")):
        expected = [list(mask_key(seed, step, stream, name)) for name in names]
        assert mask_keys(seed, step, stream, name_words(names)).tolist() == expected


def interpreted(function: Callable[..., Any], kind: Kind, held: Held, *others: Tensor) -> Callable[..., Any]:
    """In place of `compiled.kernel`: the same function without compilation."""
    of_given = on_given(function, kind, [tensor is not None for tensor in (*held, *others)])
    return lambda given: of_given(*given)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("dtype", "precision"), [(torch.float32, "nearest"), (torch.float32, "stochastic"), (torch.bfloat16, "stochastic")]
)
def test_kernels_agree_with_plain(
    case: str, dtype: torch.dtype, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "kernel", interpreted)
    check_agreement(case, dtype, precision)


@pytest.mark.parametrize("case", ["ondare", "onties-released"])
def test_kernels_take_both_halves_of_a_weight(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they do on a GPU."""
    monkeypatch.setattr(compiled, "kernel", interpreted)
    monkeypatch.setattr(compiled, "JOINED_ON", ())
    check_agreement(case, torch.bfloat16, "stochastic")


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    ("case", "dtype", "precision"),
    [
        ("ondare", torch.float32, "nearest"),
        ("onties-released", torch.float32, "nearest"),
        ("onties", torch.bfloat16, "stochastic"),
    ],
)
def test_compiled_agrees_with_plain(case: str, dtype: torch.dtype, precision: str) -> None:
    check_agreement(case, dtype, precision)


@pytest.mark.slow
@needs_gpu
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("dtype", "precision"), [(torch.float32, "nearest"), (torch.float32, "stochastic"), (torch.bfloat16, "stochastic")]
)
def test_compiled_agrees_with_plain_on_a_gpu(case: str, dtype: torch.dtype, precision: str) -> None:
    check_agreement(case, dtype, precision, device="cuda")


def check_agreement(case: str, dtype: torch.dtype, precision: str, device: str = "cpu") -> None:
    plain, left = run(CASES[case], "plain", dtype, precision, device)
    fused, right = run(CASES[case], "compiled", dtype, precision, device)
    assert (left.path, right.path) == ("plain", "compiled")
    for name, expected in plain.items():
        difference = (fused[name].float() - expected.float()).abs()
        rounding = 2.0**-7 if dtype == torch.bfloat16 else 2.0**-22
        beyond = int((difference > rounding * expected.float().abs() + 2e-8).sum())
        assert beyond <= 2e-3 * difference.numel() + 1, name  # a magnitude next to the threshold may fall either way
    expected, found = left.diagnostics(), right.diagnostics()
    for key in ("tau_travel", "merge_ratio", "retained_share", "displacement", "tau_zero_share", "merged_share"):
        assert found[key] == pytest.approx(expected[key], rel=2e-2, abs=1e-6, nan_ok=True), key
    assert found["lost_update_share"] == pytest.approx(expected["lost_update_share"], abs=0.05)


@pytest.mark.slow
@needs_compiler
def test_a_plain_state_goes_on_compiled() -> None:
    merge = CASES["ondare"]
    parameters, optimizer = run(merge, "compiled", torch.float32, "nearest")
    copies = {name: nn.Parameter(value.detach().clone()) for name, value in parameters.items()}
    other = OnlineMergeAdamW(copies.items(), merge, tensors(1, 0.01), lr=1e-3, weight_decay=0.1, path="plain")
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for taken, held in ((optimizer, parameters), (other, copies)):
        for step in range(9, 12):
            for name, gradient in tensors(100 + step, 1.0).items():
                held[name].grad = gradient
            taken.step()
    for name, value in parameters.items():
        torch.testing.assert_close(copies[name], value, rtol=1e-6, atol=1e-7)


def test_brackets_are_used_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "kernel", interpreted)
    found: list[bool] = []

    def counted(*arguments: Any) -> Any:
        threshold = threshold_among(*arguments)
        found.append(threshold is not None)
        return threshold

    monkeypatch.setattr(compiled, "threshold_among", counted)
    near, _ = run(CASES["onties"], "compiled", torch.float32, "nearest")
    assert sum(found) >= 10  # of 24: all tensors but "d", which has one entry, from the second step on
    monkeypatch.setattr(compiled, "threshold_among", lambda *_: None)
    everywhere, _ = run(CASES["onties"], "compiled", torch.float32, "nearest")
    for name, value in near.items():
        assert torch.equal(everywhere[name], value), name


@pytest.mark.parametrize("shape", [(384, 384), (77,), (4096,), (512, 512, 3, 3), (4096, 32), (1,), (3, 2**17), (5, 7)])
def test_a_tensor_is_taken_as_a_matrix(shape: tuple[int, ...]) -> None:
    rows, columns = plane(shape)
    assert rows * columns == math.prod(shape)
    assert columns <= WIDEST_ROW
    assert columns >= 64 or rows == 1


def test_frozen_parameters_do_not_choose_the_path() -> None:
    frozen = nn.Parameter(torch.zeros(2100, 2100), requires_grad=False)
    small = nn.Parameter(torch.zeros(8, 16))
    assert OnlineMergeAdamW([("base", frozen), ("lora", small)], OnlineMerge("adamw")).path == "plain"


def test_a_replaced_state_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "kernel", interpreted)
    parameters, optimizer = run(CASES["ondare"], "compiled", torch.float32, "nearest")
    before = [weakref.ref(optimizer.state[p]["exp_avg"]) for p in parameters.values()]
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    gc.collect()
    assert not any(reference() is not None for reference in before)


def test_another_default_dtype_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "kernel", interpreted)
    expected, _ = run(CASES["onties"], "compiled", torch.float32, "nearest")
    torch.set_default_dtype(torch.bfloat16)
    try:
        monkeypatch.setattr(sys.modules[__name__], "tensors", lambda *args: PREPARED[args])
        found, _ = run(CASES["onties"], "compiled", torch.float32, "nearest")
    finally:
        torch.set_default_dtype(torch.float32)
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.slow
@needs_compiler
def test_a_kernel_is_spread_over_many_threads() -> None:
    code = """
import torch
torch.set_num_threads(16)
from torch._inductor.utils import run_and_get_code
from torch import nn
from omsweep.optim import OnlineMerge, OnlineMergeAdamW
weight = nn.Parameter(torch.randn(128, 128))
weight.grad = torch.randn(128, 128)
optimizer = OnlineMergeAdamW([("w", weight)], OnlineMerge("adamw"), path="compiled")
_, code = run_and_get_code(optimizer.step)
assert "#pragma omp parallel num_threads(16)" in code[0], code[0]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def stepped(
    merge: OnlineMerge,
    path: str,
    gradients: Callable[[int], dict[str, Tensor | None]],
    lr: float = 1e-3,
    meddle: Callable[[int, dict[str, nn.Parameter], OnlineMergeAdamW], None] = lambda *_: None,
):
    """Weights after 8 steps, learning rates falling from `lr` after the first three, whose magnitudes tie."""
    parameters = {name: nn.Parameter(value) for name, value in tensors(0, 0.02).items()}
    optimizer = OnlineMergeAdamW(parameters.items(), merge, tensors(1, 0.01), lr=lr, path=path, precision="nearest")
    for step in range(1, 9):
        optimizer.param_groups[0]["lr"] = 1e-12 if step <= 3 else lr / step
        for name, gradient in gradients(step).items():
            parameters[name].grad = gradient
        meddle(step, parameters, optimizer)
        optimizer.step()
    return {name: value.detach() for name, value in parameters.items()}, optimizer


def drawn(step: int) -> dict[str, Tensor | None]:
    return dict(tensors(100 + step, 1.0))


def test_a_schedule_of_alpha_reaches_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "kernel", interpreted)
    merge = OnlineMerge("linear", alpha=0.2, alpha_schedule="follow_lr")
    expected, plain = stepped(merge, "plain", drawn)
    found, fused = stepped(merge, "compiled", drawn)
    constant, _ = stepped(OnlineMerge("linear", alpha=0.2), "compiled", drawn)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-8)
        assert not torch.allclose(constant[name], value, rtol=1e-3), name
    assert fused.diagnostics()["tau_travel"] == pytest.approx(plain.diagnostics()["tau_travel"], rel=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("method", ["ondare", "onties"])
def test_ends_of_alpha_agree_with_plain(method: str, alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "kernel", interpreted)
    merge = OnlineMerge(method, semantics="equations", alpha=alpha, density=0.4)
    expected, plain = stepped(merge, "plain", drawn)
    found, fused = stepped(merge, "compiled", drawn)
    assert fused.path == "compiled"
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-8)
    for key, value in plain.diagnostics().items():
        assert fused.diagnostics()[key] == pytest.approx(value, rel=1e-2, abs=1e-6, nan_ok=True), key


def test_a_group_built_at_rate_0_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """`follow_lr` has no alpha there."""
    monkeypatch.setattr(compiled, "kernel", interpreted)
    merge = OnlineMerge("linear", alpha=0.2, alpha_schedule="follow_lr")
    weights = []
    for path in ("plain", "compiled"):
        parameters = {name: nn.Parameter(value) for name, value in tensors(0, 0.02).items()}
        frozen, moving = [("a", parameters["a"])], [(name, parameters[name]) for name in "bcd"]
        groups = [{"params": frozen, "lr": 0.0}, {"params": moving, "lr": 1e-3}]
        optimizer = OnlineMergeAdamW(groups, merge, tensors(1, 0.01), path=path, precision="nearest")
        for step in range(1, 4):
            for name, gradient in drawn(step).items():
                parameters[name].grad = gradient
            optimizer.step()
        assert torch.equal(parameters["a"], tensors(0, 0.02)["a"])
        weights.append(parameters)
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("moved", ["weights", "moment", "sample"])
def test_tensors_put_in_the_place_of_others_are_stepped(moved: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def meddle(step: int, parameters: dict[str, nn.Parameter], optimizer: OnlineMergeAdamW) -> None:
        if step == 5 and moved == "weights":
            parameters["c"].data = parameters["c"].data.clone()
        elif step == 5:
            key = {"moment": "exp_avg", "sample": "merged_sample"}[moved]
            state = optimizer.state[parameters["c"]]
            state[key] = state[key].clone()

    monkeypatch.setattr(compiled, "kernel", interpreted)
    expected, plain = stepped(CASES["ondare"], "plain", drawn, meddle=meddle)
    found, fused = stepped(CASES["ondare"], "compiled", drawn, meddle=meddle)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-8)
    for key, value in plain.diagnostics().items():
        assert fused.diagnostics()[key] == pytest.approx(value, rel=1e-4, abs=1e-6, nan_ok=True), key


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("case", ["adamw", "ondare", "onties"])
def test_what_is_not_finite_stays_where_plain_leaves_it(case: str, bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A diverged run must not look sound on one path only."""

    def gradients(step: int) -> dict[str, Tensor | None]:
        found = drawn(step)
        if step == 6:
            found["a"][3, 5:9] = bad
        return found

    monkeypatch.setattr(compiled, "kernel", interpreted)
    expected, _ = stepped(CASES[case], "plain", gradients)
    found, _ = stepped(CASES[case], "compiled", gradients)
    assert not expected["a"].isfinite().all()
    for name, value in expected.items():
        assert torch.equal(found[name].isfinite(), value.isfinite()), name


def test_parameters_may_miss_gradients_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients(step: int) -> dict[str, Tensor | None]:
        return {name: None if (name == "b" and step in (2, 3, 6)) else value for name, value in drawn(step).items()}

    monkeypatch.setattr(compiled, "kernel", interpreted)
    expected, plain = stepped(CASES["ondare"], "plain", gradients)
    found, fused = stepped(CASES["ondare"], "compiled", gradients)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-8)
    for key, value in plain.diagnostics().items():
        assert fused.diagnostics()[key] == pytest.approx(value, rel=1e-4, abs=1e-6, nan_ok=True), key


def test_auto_stays_plain_for_small_models() -> None:
    parameters = {name: nn.Parameter(value) for name, value in tensors(0, 1.0).items()}
    assert OnlineMergeAdamW(parameters.items(), OnlineMerge("adamw")).path == "plain"


def no_compiler(failing: str) -> Callable[..., Any]:
    """In place of `compiled.kernel`: interpreted, but for the function or mask named `failing`, which is refused."""

    def kernel(function: Callable[..., Any], kind: Kind, held: Held, *others: Tensor) -> Callable[..., Any]:
        if failing in (function.__name__, kind.mask):
            raise RuntimeError("C++ compile error\nCommand: g++ ...")
        return interpreted(function, kind, held, *others)

    return kernel


@pytest.mark.parametrize(
    ("case", "failing"), [("ondare", "whole_step"), ("onties", "advance"), ("onties", "tied"), ("adamw", "sums")]
)
def test_auto_goes_on_plainly_where_compiling_fails(
    case: str, failing: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_sums(*_: Any) -> Any:
        raise RuntimeError("C++ compile error")

    expected, plain = run(CASES[case], "plain", torch.bfloat16, "stochastic")
    monkeypatch.setattr(compiled, "AUTO_ENTRIES", 0)
    monkeypatch.setattr(compiled, "kernel", no_compiler(failing))
    if failing == "sums":
        monkeypatch.setattr(diagnostics, "vectors_kernel", no_sums)
    found, auto = run(CASES[case], "auto", torch.bfloat16, "stochastic")
    assert auto.path == "plain"
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
        for key, held in plain.state[value].items():
            assert torch.equal(auto.state[found[name]][key], held), (name, key)
    assert auto.diagnostics() == pytest.approx(plain.diagnostics(), rel=0, abs=0, nan_ok=True)
    (line,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert line == "path auto: plain, because compiling failed: RuntimeError: C++ compile error"
    with pytest.raises(RuntimeError, match="compile error"):
        run(CASES[case], "compiled", torch.bfloat16, "stochastic")
