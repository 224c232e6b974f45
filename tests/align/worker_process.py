"""One worker of a group, as torchrun or Ray Train would start it: python worker_process.py job.json."""

import json
import sys
from pathlib import Path

import torch
import torch.distributed
from transformers import AutoTokenizer, LlamaForCausalLM

from omsweep.align.settings import TrainSettings
from omsweep.align.train import train
from omsweep.optim.settings import OnlineMerge


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    settings = TrainSettings(merge=OnlineMerge(**job["merge"]), **job["settings"])
    model = LlamaForCausalLM.from_pretrained(job["sft"], dtype=torch.float32)
    checkpoints: dict[int, str] = {}
    outcome = train(
        settings,
        model=model,
        tokenizer=AutoTokenizer.from_pretrained(job["sft"]),
        data=Path(job["data"]),
        task_vector=torch.load(job["tau"]),
        output_dir=Path(job["output_dir"]),
        on_checkpoint=lambda step, folder: checkpoints.setdefault(step, str(folder)),
        resume_from=Path(job["resume_from"]) if job["resume_from"] else None,
    )
    written = {
        "losses": outcome.losses,
        "tokens": outcome.tokens,
        "learning_rate_applied": outcome.learning_rate_applied,
        "checkpoints": checkpoints,
    }
    Path(f"{job['result']}.{rank}.json").write_text(json.dumps(written))
    torch.save(model.state_dict(), f"{job['result']}.{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
