import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from omsweep.align.sharded import check_same_sharding
from omsweep.align.train import train
from omsweep.optim.settings import OnlineMerge

pytestmark = pytest.mark.slow

MERGES = {
    "adamw": {"method": "adamw"},
    "ondare": {"method": "ondare", "semantics": "equations", "alpha": 1e-3, "density": 0.5},
    "onties": {"method": "onties", "semantics": "equations", "alpha": 1e-3, "density": 0.5},
    "gap": {"method": "onties", "semantics": "released", "alpha": 1e-3, "density": 0.5, "gap_steps": 2},
    "anchor": {"method": "anchor", "alpha": 1e-2},
    "ema": {"method": "ema", "alpha": 0.1, "average_rate": 0.1},
    "della": {"method": "della", "alpha": 1e-3, "density": 0.5},
}
# Adam's first updates tie in magnitude nearly everywhere, so rounding chooses some of what these keep
RANKING = ("onties", "gap", "della")
COMMON = {
    "algorithm": "dpo",
    "seed": 3,
    "learning_rate": 1e-3,
    "beta": 0.1,
    "steps": 5,
    "batch_size": 4,
    "max_length": 32,
}


class Pair(NamedTuple):
    """What two workers wrote and the weights each holds."""

    written: list[dict[str, Any]]
    weights: list[dict[str, Tensor]]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def group(tmp_path, sft_path, tau) -> Callable[..., dict[str, Pair]]:
    """Run jobs by name, one after another, in one group of two processes."""
    torch.save(tau, tmp_path / "tau.pt")

    def started(**jobs: dict[str, Any]) -> dict[str, Pair]:
        content = []
        for name, job in jobs.items():
            settings = dict(job)
            content.append(
                {
                    "sft": sft_path,
                    "tau": str(tmp_path / "tau.pt"),
                    "data": str(settings.pop("data")),
                    "merge": settings.pop("merge"),
                    "resume_from": settings.pop("resume_from", None),
                    "replay": settings.pop("replay", None),
                    "settings": COMMON | settings | {"workers": 2},
                    "output_dir": str(tmp_path / name),
                    "result": str(tmp_path / f"{name}.result"),
                }
            )
        (tmp_path / "jobs.json").write_text(json.dumps(content))
        common = os.environ | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
        common["MASTER_PORT"] = str(free_port())
        command = [sys.executable, str(Path(__file__).with_name("worker_process.py")), str(tmp_path / "jobs.json")]
        workers = [
            subprocess.Popen(command, env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)
        ]
        codes = [worker.wait(timeout=500) for worker in workers]
        assert codes == [0, 0]
        return {name: read(tmp_path / f"{name}.result") for name in jobs}

    return started


def read(result: Path) -> Pair:
    paths = [f"{result}.{rank}" for rank in range(2)]
    return Pair(
        [json.loads(Path(f"{path}.json").read_text()) for path in paths],
        [torch.load(f"{path}.pt") for path in paths],
    )


@pytest.fixture
def alone(prepared, settings, sft_path, tokenizer, tau, tmp_path):
    """Run one job in this process; returns (outcome, model)."""

    def trained(*, data, merge, dtype="float32", replay=None, **changes):
        model = LlamaForCausalLM.from_pretrained(sft_path, dtype=getattr(torch, dtype))
        outcome = train(
            settings(**(COMMON | changes), merge=OnlineMerge(**merge), dtype=dtype),
            model=model,
            tokenizer=tokenizer,
            data=data,
            task_vector=tau,
            output_dir=tmp_path / "alone",
            replay=Path(replay) if replay else None,
        )
        return outcome, model

    return trained


@pytest.mark.parametrize("sharding", ["ddp", "fsdp2"])
def test_two_workers_equal_one_at_the_same_global_batch(sharding, group, alone, prepared):
    methods = ("adamw", "ondare", "onties") if sharding == "ddp" else tuple(MERGES)
    cases = [("dpo", method) for method in methods] + [("ipo", "ondare"), ("ipo", "onties")]
    jobs = {
        f"{algorithm}_{method}": {
            "algorithm": algorithm,
            "merge": MERGES[method],
            "data": prepared(algorithm),
            "match": "share",
        }
        for algorithm, method in cases
    }
    pairs = group(**{name: job | {"sharding": sharding} for name, job in jobs.items()})
    for name, (written, weights) in pairs.items():
        outcome, model = alone(**jobs[name])
        relative, absolute = (2e-3, 1e-2) if name.split("_")[1] in RANKING else (1e-4, 1e-3)
        check_held([worker.pop("held") for worker in written], model, sharding)
        assert json.dumps(written[0]) == json.dumps(written[1]), name  # NaN included
        assert written[0]["losses"] == pytest.approx(outcome.losses, rel=relative), name
        assert written[0]["tokens"] == outcome.tokens
        assert written[0]["learning_rate_applied"] == pytest.approx(outcome.learning_rate_applied, rel=relative), name
        assert written[0]["diagnostics"] == pytest.approx(outcome.diagnostics, rel=0.05, abs=1e-4, nan_ok=True), name
        check_weights(weights, model, absolute)


def check_held(held: list[list[int]], model: LlamaForCausalLM, sharding: str) -> None:
    """Every worker steps all weights under ddp, and its own half under fsdp2."""
    total = sum(parameter.numel() for parameter in model.parameters())
    if sharding == "ddp":
        assert held == [[total], [total]]
    else:
        (first,), (second,) = held
        assert first + second == total
        assert first == pytest.approx(total / 2, rel=0.02)


def check_weights(weights: list[dict[str, Tensor]], model: LlamaForCausalLM, absolute: float) -> None:
    for name, weight in model.state_dict().items():
        assert torch.equal(weights[0][name], weights[1][name]), name
        torch.testing.assert_close(weights[0][name], weight, rtol=0, atol=absolute, msg=name)


@pytest.mark.campaign
def test_passes_checkpointing_and_low_precision_work_in_shards(group, alone, prepared):
    base = {"data": prepared("dpo"), "merge": MERGES["ondare"], "match": "share"}
    jobs = {
        "passes": base | {"gradient_accumulation_steps": 2},
        "checkpointing": base | {"gradient_checkpointing": True},
        "pilot": base | {"gradient_accumulation_steps": 2, "gradient_checkpointing": True, "merge": MERGES["onties"]},
        "low": base | {"dtype": "bfloat16", "data": prepared("dpo", dtype="bfloat16"), "learning_rate": 1e-4},
    }
    pairs = group(**{name: job | {"sharding": "fsdp2"} for name, job in jobs.items()})
    for name, job in jobs.items():
        plain = {key: value for key, value in job.items() if not key.startswith("gradient_")}
        outcome, model = alone(**plain)
        written, weights = pairs[name]
        check_held([worker["held"] for worker in written], model, "fsdp2")
        relative = {"pilot": 2e-3, "low": 3e-2}.get(name, 1e-4)
        assert written[0]["losses"] == pytest.approx(outcome.losses, rel=relative), name
        assert written[0]["tokens"] == outcome.tokens
        assert written[0]["learning_rate_applied"] == pytest.approx(outcome.learning_rate_applied, rel=relative), name
        check_weights(weights, model, 1e-2 if name in ("pilot", "low") else 1e-3)
    assert abs(pairs["low"].written[0]["diagnostics"]["lost_update_share"]) < 0.2


@pytest.mark.campaign
def test_kto_and_baselines_train_with_two_workers(group, alone, prepared, sft_examples, make_pairs):
    kto = {"algorithm": "kto", "steps": 3, "batch_size": 8, "merge": MERGES["adamw"]}
    kto["data"] = prepared("kto", batch_size=8, workers=2)
    examples = prepared("dpo", source=sft_examples(make_pairs(8, seed=5)))
    base = {"data": prepared("dpo"), "merge": MERGES["adamw"], "match": "share", "steps": 3}
    replay = base | {"replay_share": 0.5, "replay": str(examples), "nll_weight": 0.5}
    baselines = {"lora": base | {"lora_rank": 2}, "replay": replay, "shards": replay | {"sharding": "fsdp2"}}
    pairs = group(ddp=kto, fsdp2=kto | {"sharding": "fsdp2"}, **baselines)
    for name, (written, weights) in pairs.items():
        assert written[0]["losses"] == written[1]["losses"], name
        assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0]), name
    assert pairs["ddp"].written[0]["losses"][0] == pytest.approx(0.5, abs=1e-4)
    assert pairs["fsdp2"].written[0]["losses"] == pytest.approx(pairs["ddp"].written[0]["losses"], rel=1e-4)
    for name, job in baselines.items():
        # a pass's tokens are averaged first, so one worker takes the passes that two share
        plain = {key: value for key, value in job.items() if key != "sharding"}
        outcome, model = alone(**plain, gradient_accumulation_steps=2)
        written, weights = pairs[name]
        assert written[0]["losses"] == pytest.approx(outcome.losses, rel=1e-4), name
        assert written[0]["tokens"] == outcome.tokens, name
        check_weights(weights, model, 1e-3)


def test_a_group_resumes_bit_for_bit(group, prepared):
    base = {"checkpoint_every": 3, "data": prepared("dpo"), "lr_scheduler": "cosine"}
    low = {"dtype": "bfloat16", "data": prepared("dpo", dtype="bfloat16")}
    jobs = {
        "ddp": base | {"merge": MERGES["onties"]},
        "fsdp2": base | {"merge": MERGES["onties"], "sharding": "fsdp2"},
        "gap": base | {"merge": MERGES["gap"], "sharding": "fsdp2"},
        "ema": base | {"merge": MERGES["ema"], "sharding": "fsdp2"},
        "low": base | low | {"merge": MERGES["ondare"], "sharding": "fsdp2"},
    }
    whole = group(**jobs)
    saved = {name: pair.written[0]["checkpoints"]["3"] for name, pair in whole.items()}
    resumed = group(**{name: job | {"resume_from": saved[name]} for name, job in jobs.items()})
    for name, (written, weights) in resumed.items():
        before, before_weights = whole[name]
        assert written[0]["losses"] == before[0]["losses"], name
        assert written[0]["tokens"] == before[0]["tokens"]
        assert written[0]["diagnostics"] == pytest.approx(before[0]["diagnostics"], nan_ok=True), name
        assert all(torch.equal(weights[0][key], before_weights[0][key]) for key in weights[0]), name
    check_same_sharding(Path(saved["ddp"]), sharded=False)
    check_same_sharding(Path(saved["fsdp2"]), sharded=True)
