"""Settings check themselves, resolve their axes, tell the size of the state, and import without torch."""

import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from omsweep.merging.methods import METHODS
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import DTYPE_BYTES, OnlineMerge, state_bytes

KNOBS = {
    "semantics": "equations",
    "alpha": 0.1,
    "density": 0.5,
    "gap_steps": 2,
    "alpha_schedule": "follow_lr",
    "rescale": "inverse",
    "elect": "weighted",
    "tau_mask": "fixed",
    "clip": 1.0,
    "min_kept": 1,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("knob", KNOBS)
def test_a_knob_is_taken_or_refused_by_name(method: str, knob: str) -> None:
    given = {knob: KNOBS[knob]}
    if method in ("ondare", "onties"):
        given["semantics"] = "equations"
    if knob in METHODS[method].knobs:
        assert getattr(OnlineMerge(method, **given), knob) == KNOBS[knob]
    else:
        with pytest.raises(ValueError, match=f"method {method} does not take {knob}; it takes"):
            OnlineMerge(method, **given)


@pytest.mark.parametrize("method", ["ondare", "onties"])
def test_semantics_must_be_given(method: str) -> None:
    with pytest.raises(ValueError, match=f"method {method} needs semantics: one of equations, released"):
        OnlineMerge(method, alpha=0.1)


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("density", 1.5, r"density must be in \(0, 1\], got 1.5"),
        ("density", 0.0, r"density must be in \(0, 1\], got 0.0"),
        ("density", float("nan"), "density must be"),
        ("alpha", -0.1, r"alpha must be in \[0, 1\], got -0.1"),
        ("alpha", "0.1", r"alpha must be in \[0, 1\], got '0.1'"),
        ("alpha", True, "alpha must be"),
        ("gap_steps", 0, "gap_steps must be a whole number >= 1, got 0"),
        ("gap_steps", 2.0, "gap_steps must be a whole number"),
        ("seed", -1, "seed must be a whole number >= 0"),
        ("clip", 0.0, "clip must be > 0, got 0.0"),
        ("rescale", "sqrt", "rescale must be one of none, inverse, norm, got 'sqrt'"),
        ("tau_mask", "once", "tau_mask must be one of resample, fixed"),
        ("alpha_schedule", "cosine", "alpha_schedule must be one of constant, follow_lr"),
        ("semantics", "paper", "semantics must be one of equations, released, got 'paper'"),
    ],
)
def test_values_out_of_range_are_named(knob: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OnlineMerge("ondare", **{"semantics": "equations", knob: value})  # type: ignore[arg-type]


def test_an_unknown_method_is_named_with_what_is_allowed() -> None:
    with pytest.raises(ValueError, match="method must be one of adamw, linear, ondare, .*, got 'dare'"):
        OnlineMerge("dare")


def test_semantics_fill_in_what_is_left_open() -> None:
    def axes(method: str, semantics: str) -> tuple[object, ...]:
        found = OnlineMerge(method, semantics=semantics).resolved()
        return found.rescale, found.elect, found.tau_mask, found.clip, found.min_kept

    assert axes("ondare", "equations") == ("none", None, "resample", None, None)
    assert axes("ondare", "released") == ("inverse", None, "fixed", 1.0, None)
    assert axes("onties", "equations") == ("none", "weighted", "resample", None, 1)
    assert axes("onties", "released") == ("none", "unweighted", "fixed", None, 0)
    assert axes("childtuning", "released")[0] == "inverse"
    assert OnlineMerge("childtuning").resolved().semantics == "equations"
    assert OnlineMerge("adamw").resolved().rescale is None


def test_what_is_given_wins_and_an_infinite_clip_is_none() -> None:
    merge = OnlineMerge("ondare", semantics="released", rescale="norm", clip=float("inf"), tau_mask="resample")
    found = merge.resolved()
    assert (found.rescale, found.clip, found.tau_mask) == ("norm", None, "resample")


def test_settings_are_frozen_comparable_and_cross_processes() -> None:
    merge = OnlineMerge("ondare", semantics="equations", alpha=0.1, density=0.5, seed=3)
    with pytest.raises(FrozenInstanceError):
        merge.alpha = 0.2  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(merge)) == merge
    assert replace(merge, alpha=0.2).alpha == 0.2
    with pytest.raises(ValueError, match="alpha"):
        replace(merge, alpha=2.0)
    with pytest.raises(TypeError):
        OnlineMerge("ondare", "equations")  # type: ignore[misc]


ENTRIES = 4096
OF_METHOD = {
    **{method: {} for method in METHODS},
    "ondare": {"semantics": "equations", "density": 0.5},
    "onties": {"semantics": "released", "density": 0.5},
    "childtuning": {"semantics": "equations", "density": 0.5},
}


@pytest.mark.parametrize("dtype", DTYPE_BYTES)
@pytest.mark.parametrize("gap_steps", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_the_state_is_as_large_as_said(method: str, gap_steps: int, dtype: str) -> None:
    settings = dict(OF_METHOD[method])
    if "gap_steps" in METHODS[method].knobs:
        settings["gap_steps"] = gap_steps
    if "alpha" in METHODS[method].knobs:
        settings["alpha"] = 1e-3
    merge = OnlineMerge(method, **settings)  # type: ignore[arg-type]
    weights = torch.nn.Parameter(torch.ones(ENTRIES, dtype=getattr(torch, dtype)))
    given = {"w": torch.full((ENTRIES,), 1e-3)}
    optimizer = OnlineMergeAdamW([("w", weights)], merge, task_vector=given, reference=given, lr=1e-3)
    weights.grad = torch.ones_like(weights)
    optimizer.step()
    whole = {
        key: value.numel() * value.element_size()
        for key, value in optimizer.state[weights].items()
        if isinstance(value, torch.Tensor) and value.numel() == ENTRIES
    }
    assert sum(whole.values()) == ENTRIES * sum(state_bytes(merge.resolved(), dtype).values()), whole


BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Block())
"""


def run(blocked: set[str], code: str) -> None:
    program = BLOCK.format(blocked=blocked) + code
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


HEAVY = {"ray", "trl", "transformers", "datasets", "mlflow", "lm_eval"}


def test_settings_and_tables_import_without_torch() -> None:
    run(
        HEAVY | {"torch", "numpy", "pandas", "optuna", "safetensors"},
        "from omsweep.optim import OnlineMerge, alpha_for_travel, canonical_name, expected_tau_travel\n"
        "from omsweep.merging import METHODS\n"
        "OnlineMerge('ondare', semantics='released', alpha=0.1, density=0.5).resolved()\n",
    )


def test_the_optimizer_works_with_torch_alone() -> None:
    run(
        HEAVY | {"safetensors"},
        "import torch\n"
        "import omsweep.optim as optim\n"
        "import omsweep.merging.offline\n"
        "for name in optim.__all__: getattr(optim, name)\n"
        "weight = torch.nn.Parameter(torch.ones(4))\n"
        "merge = optim.OnlineMerge('onties', semantics='equations', alpha=0.5, density=0.5)\n"
        "optimizer = optim.OnlineMergeAdamW([('w', weight)], merge, {'w': torch.ones(4)})\n"
        "weight.grad = torch.ones(4)\n"
        "optimizer.step()\n"
        "assert optimizer.diagnostics()['tau_travel'] > 0\n",
    )


def test_unknown_names_of_the_packages_are_attribute_errors() -> None:
    import omsweep.merging
    import omsweep.optim

    for package in (omsweep.merging, omsweep.optim):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            package.nothing  # noqa: B018
        for name in package.__all__:
            assert getattr(package, name) is not None
