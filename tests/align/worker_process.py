"""One worker of a group, as torchrun or Ray Train would start it: python worker_process.py jobs.json."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import AutoTokenizer, LlamaForCausalLM

from omsweep.align.settings import TrainSettings
from omsweep.align.train import train
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.sharding import local


def main() -> None:
    torch.distributed.init_process_group("gloo")
    for job in json.loads(Path(sys.argv[1]).read_text()):
        run(job, torch.distributed.get_rank())
    torch.distributed.destroy_process_group()


def run(job: dict[str, Any], rank: int) -> None:
    settings = TrainSettings(merge=OnlineMerge(**job["merge"]), **job["settings"])
    model = LlamaForCausalLM.from_pretrained(job["sft"], dtype=getattr(torch, settings.dtype))
    checkpoints: dict[int, str] = {}
    held: set[int] = set()  # entries of the parameters that lie here while they are stepped
    hook = register_optimizer_step_post_hook(
        lambda optimizer, *_: held.add(sum(local(p).numel() for g in optimizer.param_groups for p in g["params"]))
    )
    outcome = train(
        settings,
        model=model,
        tokenizer=AutoTokenizer.from_pretrained(job["sft"]),
        data=Path(job["data"]),
        task_vector=torch.load(job["tau"]),
        output_dir=Path(job["output_dir"]),
        replay=Path(job["replay"]) if job["replay"] else None,
        on_checkpoint=lambda step, folder: checkpoints.setdefault(step, str(folder)),
        resume_from=Path(job["resume_from"]) if job["resume_from"] else None,
    )
    hook.remove()
    written = {
        "losses": outcome.losses,
        "tokens": outcome.tokens,
        "learning_rate_applied": outcome.learning_rate_applied,
        "diagnostics": outcome.diagnostics,
        "checkpoints": checkpoints,
        "held": sorted(held),
    }
    Path(f"{job['result']}.{rank}.json").write_text(json.dumps(written))
    torch.save(model.state_dict(), f"{job['result']}.{rank}.pt")


if __name__ == "__main__":
    main()
