"""The trial's own worker loop in real Ray Train groups: two workers keep what one keeps, with the gradients of TRL."""

import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from ray import cloudpickle
from rich.console import Console
from torch import Tensor
from tqdm import tqdm

from omsweep.cluster.connect import connect
from omsweep.engine.placement import Worker
from omsweep.engine.workers.group import Errand, Group, trial_job
from omsweep.engine.workers.pool import start
from omsweep.families.load import load_model
from omsweep.merging.randomness import mask_key
from omsweep.merging.sparsify import random_mask, top_mask
from omsweep.optim.task_vector_file import open_task_vector
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.space.specs import preparation
from omsweep.store.records import Outcome, Prepared, TrialSpec
from omsweep.trial.prepare.family import prepare_family
from omsweep.trial.prepare.reference import score_references

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(900)]

STEPS, RATE, ALPHA, DENSITY = 20, 4e-4, 1e-3, 0.5
FSDP2 = {"workers": 2, "sharding": "fsdp2"}
GROUPS: dict[str, dict[str, Any]] = {
    "one": {"workers": 1},
    "ddp": {"workers": 2},
    "fsdp2": FSDP2,
    "interrupted": FSDP2 | {"checkpoint_every": 8, "max_failures": 1},
}
COMPARED = ("ddp", "fsdp2")
LOSS_TOLERANCE = 1e-4
MASK_TOLERANCE = 1e-3
DECIDABLE = 1e-6
"""Updates of this size and more are told from rounding in the movement of a weight."""


class Step(NamedTuple):
    """One call of the optimizer: full tensors by canonical name."""

    rate: float
    updates: dict[str, Tensor]
    before: dict[str, Tensor]
    after: dict[str, Tensor]


class Run(NamedTuple):
    losses: list[float]
    steps: list[Step]
    policy_path: str
    task_vector: dict[str, Tensor]
    seed: int


def space(method: str, **train: Any) -> dict[str, Any]:
    """Adam's first updates all have magnitude lr, so what OnTIES keeps at step 1 is up to rounding: that step warms up
    at rate 0, where nothing moves."""
    return {
        "name": "groups",
        "mode": "compare",
        "families": ["tiny-llama"],
        "space": {
            "algorithm": "dpo",
            "learning_rate": RATE,
            "beta": 0.1,
            "method": {method: {"semantics": "equations", "alpha": ALPHA, "density": DENSITY}},
        },
        "design": {"blocks": 1, "match": "none"},
        "train": {
            "steps": STEPS,
            "batch_size": 16,
            "lr_scheduler": "constant_with_warmup",
            "warmup_steps": 1,
            **train,
        },
        "evaluate": {"limit": 8, "samples": 2, "max_new_tokens": 24},
    }


def recorded(spec: TrialSpec, prepared: Prepared, folder: Path, *, rank: int = 0, **given: Any) -> Outcome | None:
    """A trial's session, every step of the optimizer written down beside it."""
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    from omsweep.merging.names import canonical_name
    from omsweep.optim.adamw import OnlineMergeAdamW
    from omsweep.optim.sharding import full
    from omsweep.trial.session import run_session

    steps: list[Step] = []
    before: dict[str, Tensor] = {}

    def weights(optimizer: Any) -> dict[str, Tensor]:
        return {
            canonical_name(name): full(parameter.detach()).clone()
            for group in optimizer.param_groups
            for name, parameter in zip(group["param_names"], group["params"], strict=True)
        }

    def note_before(optimizer: Any, *_: Any) -> None:
        if isinstance(optimizer, OnlineMergeAdamW):
            before.update(weights(optimizer))

    def note_after(optimizer: Any, *_: Any) -> None:
        if isinstance(optimizer, OnlineMergeAdamW):
            updates = {name: full(update) for name, update in optimizer.updates().items()}
            if updates:  # torch.distributed.checkpoint takes an empty step before it loads
                steps.append(Step(optimizer.param_groups[0]["lr"], updates, dict(before), weights(optimizer)))

    hooks = [register_optimizer_step_pre_hook(note_before), register_optimizer_step_post_hook(note_after)]
    try:
        outcome = run_session(spec, prepared, folder, rank=rank, **given)
    finally:
        for hook in hooks:
            hook.remove()
    if rank == 0:
        torch.save([tuple(step) for step in steps], folder / f"{spec.trial_id}.pt")
    return outcome


def interrupted(spec: TrialSpec, prepared: Prepared, folder: Path, **given: Any) -> Outcome | None:
    """As `recorded`, but the first attempt dies at step 12."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    def die(optimizer: Any, *_: Any) -> None:
        if optimizer.param_groups[0].get("steps_taken") == 12:
            raise RuntimeError("a worker died")

    if given["resume_from"] is None:
        register_optimizer_step_post_hook(die)
    return recorded(spec, prepared, folder, **given)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], Run]]:
    """Train a method in a group, once each."""
    folder = tmp_path_factory.mktemp("groups")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])

    @cache
    def trained(method: str, group: str) -> Run:
        checked = build_space(space(method, **GROUPS[group]))
        wanted = preparation(checked, "tiny-llama")
        prepared, _ = prepare_family(wanted, tqdm)
        score_references(wanted, prepared, tqdm)
        spec = draw(checked)[0].model_copy(update={"trial_id": f"{method}-{group}"})
        train = checked.file.train
        session = interrupted if group == "interrupted" else recorded
        how = Group(backend="train", max_failures=train.max_failures, session=session)
        started = start(f"{method}-{group}", how, Worker(cpus=0.9, count=train.workers), str(folder / "ray"))
        errand = Errand(started.actor, trial_job(spec, prepared, folder, attempt=1, started=time.time()))
        while (news := errand.news(5)) is None:
            continue
        started.kill()
        outcome = Outcome(**news.answer)
        assert outcome.state == "completed"
        steps = [Step(*step) for step in torch.load(folder / f"{spec.trial_id}.pt")]
        task_vector = dict(open_task_vector(prepared.task_vectors["real"]))
        return Run([loss or 0.0 for loss in outcome.losses], steps, str(outcome.policy_path), task_vector, spec.seed)

    with connect(Console()):
        yield trained
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.parametrize("method", ["ondare", "onties"])
@pytest.mark.parametrize("group", COMPARED)
def test_two_workers_have_the_losses_of_one(group: str, method: str, run: Callable[[str, str], Run]) -> None:
    one, two = run(method, "one").losses, run(method, group).losses
    differences = [abs(a - b) for a, b in zip(one, two, strict=True)]
    print(f"{method}, {group}: loss differs by at most {max(differences):.1e} over {len(one)} steps")
    assert len(one) == STEPS
    assert max(one) - min(one) > 0.1  # it learns: the comparison is of runs that move
    assert max(differences) <= LOSS_TOLERANCE


@pytest.mark.parametrize("group", COMPARED)
def test_two_workers_keep_the_entries_of_one_under_ondare(group: str, run: Callable[[str, str], Run]) -> None:
    one, two = run("ondare", "one"), run("ondare", group)
    compared = entries = 0
    for number, (a, b) in enumerate(zip(one.steps, two.steps, strict=True), start=1):
        for name in a.updates:
            drawn = random_mask(a.updates[name], density=DENSITY, key=mask_key(one.seed, number, "update", name))
            (kept_a, sure_a), (kept_b, sure_b) = (seen_kept(r, s, number, name) for r, s in ((one, a), (two, b)))
            sure = sure_a & sure_b
            assert torch.equal(kept_a[sure], kept_b[sure]), (number, name)
            assert torch.equal(kept_a[sure], drawn[sure]), (number, name)
            compared += int(sure.sum())
            entries += sure.numel()
    print(f"ondare, {group}: masks identical in all {compared} of {entries} entries whose update shows")
    assert compared > 0.8 * entries


@pytest.mark.parametrize("group", COMPARED)
def test_two_workers_keep_nearly_all_entries_of_one_under_onties(group: str, run: Callable[[str, str], Run]) -> None:
    one, two = run("onties", "one"), run("onties", group)
    shares = []
    for number, (a, b) in enumerate(zip(one.steps, two.steps, strict=True), start=1):
        assert a.rate == b.rate == (0.0 if number == 1 else RATE)
        differing = sum(
            int((kept_largest(a, number, name) != kept_largest(b, number, name)).sum()) for name in a.updates
        )
        shares.append(differing / sum(update.numel() for update in a.updates.values()))
    print(f"onties, {group}: masks differ in at most {100 * max(shares[1:]):.4f} % of entries at steps 2 to {STEPS}")
    assert max(shares[1:]) <= MASK_TOLERANCE


def test_the_policy_of_a_trial_in_shards_is_saved_whole(run: Callable[[str, str], Run]) -> None:
    trained = run("ondare", "fsdp2")
    saved = dict(load_model(trained.policy_path).named_parameters())
    assert saved.keys() == trained.steps[-1].after.keys()
    for name, weight in trained.steps[-1].after.items():
        assert torch.equal(saved[name], weight), name


def test_an_interrupted_trial_in_shards_goes_on_from_its_last_checkpoint(run: Callable[[str, str], Run]) -> None:
    whole, resumed = run("onties", "fsdp2"), run("onties", "interrupted")
    assert len(resumed.steps) == STEPS - 8
    assert resumed.losses == whole.losses
    for name, weight in whole.steps[-1].after.items():
        assert torch.equal(resumed.steps[-1].after[name], weight), name


def kept_largest(step: Step, number: int, name: str) -> Tensor:
    mask = top_mask(step.updates[name], density=DENSITY, min_kept=1, key=mask_key(0, number, "update", name))
    assert mask is not None
    return mask


def seen_kept(run: Run, step: Step, number: int, name: str) -> tuple[Tensor, Tensor]:
    """Which updates arrived in the weights, read off their movement, and where that shows."""
    tau = run.task_vector[name]
    tau_mask = random_mask(tau, density=DENSITY, key=mask_key(run.seed, number, "task_vector", name))
    merged_in = ALPHA * torch.where(tau_mask, tau, 0.0) if step.rate else torch.zeros_like(tau)
    rest = step.after[name] - step.before[name] - merged_in
    update = (1 - ALPHA) * step.updates[name]
    kept = (rest - update).abs() < rest.abs()
    leftover = torch.where(kept, rest - update, rest).abs()
    assert leftover.max() < DECIDABLE / 2, (number, name)
    return kept, update.abs() >= DECIDABLE
