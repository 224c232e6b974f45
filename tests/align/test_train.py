import os
import random
import time
from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from accelerate.state import PartialState

from omsweep.align.algorithms import ALGORITHMS
from omsweep.align.order import example_order
from omsweep.align.preflight import PreflightError
from omsweep.align.reference import open_prepared
from omsweep.align.settings import WHOLE
from omsweep.optim.settings import OnlineMerge

MERGES = {
    "adamw": OnlineMerge("adamw"),
    "linear": OnlineMerge("linear", alpha=1e-3),
    "ondare": OnlineMerge("ondare", semantics="equations", alpha=1e-3, density=0.5),
    "onties": OnlineMerge("onties", semantics="released", alpha=1e-3, density=0.5, gap_steps=2),
    "childtuning": OnlineMerge("childtuning", density=0.5),
    "anchor": OnlineMerge("anchor", alpha=1e-2),
}


@pytest.mark.parametrize(
    ("algorithm", "method"),
    [
        pytest.param(algorithm, method, marks=pytest.mark.slow if algorithm == "ipo" and method != "adamw" else [])
        for algorithm in ALGORITHMS
        for method in MERGES
    ],
)
def test_every_algorithm_trains_with_every_method(algorithm, method, run, policy):
    outcome, model = run(algorithm=algorithm, merge=MERGES[method])
    assert outcome.state == "completed"
    assert outcome.steps == len(outcome.losses) == 4
    assert outcome.losses[0] == pytest.approx(ALGORITHMS[algorithm].initial_loss(0.1), rel=1e-4)
    assert outcome.preflight["loss"] == outcome.losses[0]
    assert outcome.tokens > 4 * 4 * 8
    assert outcome.learning_rate_applied == 1e-3
    assert outcome.diagnostics["displacement"] > 0
    moved = [(a - b).abs().max().item() for a, b in zip(model.parameters(), policy.parameters(), strict=True)]
    assert max(moved) > 1e-3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_same_settings_give_the_same_policy_and_another_seed_another(algorithm, run):
    first, model = run(algorithm=algorithm, merge=MERGES["ondare"])
    again, model_again = run(algorithm=algorithm, merge=MERGES["ondare"])
    other, _ = run(algorithm=algorithm, merge=MERGES["ondare"], seed=4)
    assert first.losses == again.losses
    assert first.losses != other.losses
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, model_again.state_dict()[name]), name


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_methods_see_the_same_batches(algorithm, run):
    seen = {}
    for method in ("adamw", "onties"):
        tokens = []
        run(
            algorithm=algorithm,
            merge=MERGES[method],
            hooks={"on_step": lambda step, metrics, tokens=tokens: tokens.append((step, metrics["num_tokens"]))},
        )
        seen[method] = tokens
    assert seen["adamw"] == seen["onties"]
    assert [step for step, _ in seen["adamw"]] == [1, 2, 3, 4]


@pytest.mark.parametrize("algorithm", ["dpo", "ipo"])
def test_losses_equal_a_plain_loop(algorithm, run, prepared, policy):
    outcome, model = run(algorithm=algorithm, weight_decay=0.01, lr_scheduler="linear", steps=6)
    rows = open_prepared(prepared(algorithm))
    order = example_order(len(rows), wanted=24, seed=3).reshape(6, 4)
    decayed = [p for name, p in policy.named_parameters() if "norm" not in name]
    kept = [p for name, p in policy.named_parameters() if "norm" in name]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": kept, "weight_decay": 0.0}], lr=1e-3)
    optimizer.param_groups[0]["weight_decay"] = 0.01
    losses = []
    for step, batch in enumerate(order):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - step / 6)
        loss = sum(pair_loss(policy, rows[int(index)], algorithm) for index in batch) / 4
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert outcome.losses == pytest.approx(losses, rel=1e-4)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, dict(policy.named_parameters())[name], rtol=0, atol=2e-4, msg=name)


def pair_loss(model, row, algorithm, beta=0.1):
    ratios = []
    for side in ("chosen", "rejected"):
        prompt, completion = row["prompt_ids"], row[f"{side}_ids"]
        table = model(input_ids=torch.tensor([prompt + completion])).logits[0, :-1].log_softmax(-1)
        log_prob = table[range(len(prompt) - 1, len(prompt) + len(completion) - 1), completion].sum()
        ratio = log_prob - row[f"ref_{side}_logps"]
        ratios.append(ratio / len(completion) if algorithm == "ipo" else ratio)
    difference = ratios[0] - ratios[1]
    return (difference - 1 / (2 * beta)) ** 2 if algorithm == "ipo" else -F.logsigmoid(beta * difference)


QUICK_RESUMES = [("dpo", "onties"), ("ipo", "adamw"), ("kto", "ondare")]
RESUMES = [
    pytest.param(algorithm, method, marks=[] if (algorithm, method) in QUICK_RESUMES else pytest.mark.slow)
    for algorithm in ALGORITHMS
    for method in ("adamw", "ondare", "onties", "anchor")
]


@pytest.mark.parametrize(("algorithm", "method"), RESUMES)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(algorithm, method, run):
    folders = {}
    hooks = {"on_checkpoint": lambda step, folder: folders.setdefault(step, folder)}
    common = {"algorithm": algorithm, "merge": MERGES[method], "lr_scheduler": "cosine", "checkpoint_every": 3}
    whole, model = run(steps=5, hooks=hooks, **common)
    assert list(folders) == [3, 5]
    resumed, resumed_model = run(steps=5, hooks={"resume_from": folders[3]}, **common)
    assert resumed.losses == whole.losses
    assert (resumed.steps, resumed.tokens, resumed.state) == (5, whole.tokens, "completed")
    assert resumed.diagnostics == pytest.approx(whole.diagnostics, nan_ok=True)
    assert "loss" not in resumed.preflight
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, resumed_model.state_dict()[name]), name


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_process_and_the_model_are_left_as_they_were(algorithm, run, policy, capsys, tmp_path):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = (random.random(), np.random.random(), torch.rand(1).item())
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    policy.config.use_cache = True
    environment, verbosity = dict(os.environ), transformers.logging.get_verbosity()
    shared = dict(PartialState._shared_state)
    names = set(policy.__dict__)
    run(algorithm=algorithm, model=policy)
    assert (random.random(), np.random.random(), torch.rand(1).item()) == expected
    assert dict(os.environ) == environment
    assert transformers.logging.get_verbosity() == verbosity
    assert dict(PartialState._shared_state) == shared
    assert set(policy.__dict__) == names
    assert policy.config.use_cache is True
    assert not policy.training
    assert all(parameter.grad is None for parameter in policy.parameters())
    assert capsys.readouterr().out == ""


def test_runs_in_one_process_do_not_affect_each_other(run):
    alone, _ = run(algorithm="dpo")
    run(algorithm="kto", seed=9)
    after, _ = run(algorithm="dpo")
    assert after.losses == alone.losses


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_weights_that_explode_are_reported_as_diverged(algorithm, run):
    outcome, _ = run(algorithm=algorithm, learning_rate=1e38, max_grad_norm=0.0, steps=8)
    assert outcome.state == "diverged"
    assert outcome.steps < 8


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_another_models_log_probs_stop_the_run_before_the_first_step(algorithm, run, policy):
    with torch.no_grad():
        policy.lm_head.weight.mul_(1.5)
    before = {name: weight.clone() for name, weight in policy.state_dict().items()}
    with pytest.raises(PreflightError, match=r"reference log-probs"):
        run(algorithm=algorithm, model=policy)
    for name, weight in policy.state_dict().items():
        assert torch.equal(weight, before[name]), name
    assert "forward" not in policy.__dict__


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_bfloat16_weights_train(algorithm, run):
    outcome, model = run(algorithm=algorithm, dtype="bfloat16", merge=MERGES["ondare"], learning_rate=1e-4)
    assert outcome.state == "completed"
    assert model.dtype == torch.bfloat16
    assert outcome.diagnostics["displacement"] > 0
    assert abs(outcome.diagnostics["lost_update_share"]) < 0.2


@pytest.mark.parametrize("changes", [{"gradient_accumulation_steps": 2}, {"gradient_checkpointing": True}], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_passes_and_checkpointing_change_memory_not_the_run(dtype, changes, run, policy):
    common = {"steps": 6, "learning_rate": 1e-3, "dtype": dtype, "merge": MERGES["ondare"], "match": "share"}
    plain, model = run(**common)
    outcome, other = run(**common, **changes)
    assert outcome.losses == pytest.approx(plain.losses, abs=1e-4 if dtype == "float32" else 3e-2)
    assert outcome.tokens == plain.tokens
    assert outcome.preflight == pytest.approx(plain.preflight, abs=1e-5 if dtype == "float32" else 3e-2)
    assert not other.is_activation_checkpointing
    if dtype == "float32":
        for name, weight in model.named_parameters():
            torch.testing.assert_close(other.get_parameter(name), weight, rtol=0, atol=2e-4, msg=name)


def test_checkpointing_computes_layers_again_in_the_backward_pass(run, policy, monkeypatch):
    passes = []
    monkeypatch.setattr(type(policy.model.layers[0].mlp), "forward", counted(passes, policy.model.layers[0].mlp))
    run(steps=1)
    once = len(passes)
    run(steps=1, gradient_checkpointing=True)
    assert len(passes) == once + 2 * once


def counted(passes, module):
    forward = type(module).forward

    def wrapped(self, *arguments):
        passes.append(self)
        return forward(self, *arguments)

    return wrapped


def test_kto_pairs_within_a_pass(run):
    outcome, _ = run(algorithm="kto", batch_size=8, gradient_accumulation_steps=2)
    assert outcome.losses[0] == pytest.approx(0.5, abs=1e-4)
    assert outcome.state == "completed"


def test_what_on_step_raises_ends_the_run(run):
    def stop(step, metrics):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(hooks={"on_step": stop})


@pytest.mark.parametrize("changes", [{"merge": MERGES["ondare"]}, {"lora_rank": 2, "merge": MERGES["adamw"]}])
def test_a_look_at_rungs_changes_nothing_and_sees_the_policy_as_it_is(changes, run, policy):
    whole, model = run(steps=4, **changes)
    shorter, at_two = run(steps=2, **changes)
    seen = []

    def look(now):
        other = deepcopy(policy)
        now.copy_into(other)
        torch.manual_seed(9)  # what is left of random states is put back by whoever scores
        seen.append((now.step, now.losses, now.tokens, other.state_dict()))
        return True

    state = torch.get_rng_state()
    looked, looked_model = run(steps=4, hooks={"rungs": [2, 3], "at_rung": kept_random_states(look)}, **changes)
    assert torch.equal(state, torch.get_rng_state())
    assert [(step, losses) for step, losses, *_ in seen] == [(2, whole.losses[:2]), (3, whole.losses[:3])]
    assert seen[0][2] == shorter.tokens
    assert looked.losses == whole.losses
    assert same_weights(looked_model.state_dict(), model.state_dict())
    assert same_weights(seen[0][3], at_two.state_dict())


def test_a_rung_can_be_the_end(run):
    whole, _ = run(steps=4)
    outcome, _ = run(steps=4, hooks={"rungs": [2], "at_rung": lambda now: False})
    assert (outcome.state, outcome.steps, outcome.losses) == ("stopped", 2, whole.losses[:2])


def test_seconds_at_rungs_are_not_those_of_training(run):
    told = []

    def wait(now):
        told.append(now.seconds)
        time.sleep(0.5)
        return True

    began = time.perf_counter()
    outcome, _ = run(steps=3, hooks={"rungs": [1, 2], "at_rung": wait})
    assert 0 < told[0] < told[1] < outcome.seconds["train"] < time.perf_counter() - began - 1.0


def test_a_run_that_paused_at_a_rung_goes_on_from_it(run, tmp_path):
    whole, model = run(steps=4)
    there = []

    def pause(now):
        there.extend((tmp_path / "out").glob(f"checkpoint-{now.step}/{WHOLE}"))
        return False

    hooks = {"rungs": [2], "at_rung": pause, "save_at_rungs": True}
    paused, _ = run(steps=4, hooks=hooks)
    assert (paused.state, paused.steps) == ("stopped", 2)
    (mark,) = there
    again, again_model = run(steps=4, hooks={"resume_from": mark.parent})
    assert again.losses == whole.losses
    assert same_weights(again_model.state_dict(), model.state_dict())


def kept_random_states(look):
    def at_rung(now):
        with torch.random.fork_rng():
            return look(now)

    return at_rung


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_more_workers_than_processes_are_refused(run):
    with pytest.raises(ValueError, match="workers must equal the size of the process group, 1, got 2"):
        run(workers=2)


def test_warm_up_starts_from_zero(run):
    rates = []
    run(
        lr_scheduler="constant_with_warmup",
        warmup_steps=2,
        hooks={"on_step": lambda step, metrics: rates.append(metrics["learning_rate"])},
    )
    assert rates == pytest.approx([0.0, 0.5e-3, 1e-3, 1e-3])


@pytest.mark.parametrize("method", ["ondare", "onties"])
def test_matching_raises_the_learning_rate_by_the_retained_share(method, run):
    merge = OnlineMerge(method, semantics="equations", density=0.5)
    plain, _ = run(merge=merge)
    matched, _ = run(merge=merge, match="share")
    assert plain.learning_rate_applied == 1e-3
    if method == "ondare":
        assert matched.learning_rate_applied == pytest.approx(2e-3)
    else:
        assert 1e-3 < matched.learning_rate_applied < 2e-3
        assert matched.seconds["pilot"] > plain.seconds["pilot"]
    again, _ = run(merge=merge, learning_rate=matched.learning_rate_applied)
    assert again.losses == matched.losses
