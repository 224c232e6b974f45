"""One rank of a scoring: python rank_process.py JOB.json; rank 0 writes a table."""

import json
import sys
from pathlib import Path

import torch.distributed as dist

from omsweep.evaluation.score import score_policy
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.spread import Models
from omsweep.families.load import load_model, load_tokenizer
from omsweep.trial.ranks import all_ranks, help_rank_0


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    dist.init_process_group("gloo")
    models = Models(load_model(job["policy"]), load_tokenizer(job["policy"]), load_model(job["reference"]))
    if dist.get_rank() > 0:
        for _ in range(2):
            help_rank_0(lambda: models)
    else:
        try:
            with all_ranks() as spread:
                list(spread(refuse, models, [1, 2, 3]))
        except ValueError as error:
            Path(job["refused"]).write_text(str(error))
        with all_ranks() as spread:
            table = score_policy(
                models.policy,
                models.tokenizer,
                settings=EvaluateSettings(**job["settings"]),
                split="search",
                seed=0,
                reference_model=models.reference,
                spread=spread,
            )
        table.to_parquet(job["table"], index=False)
    dist.destroy_process_group()


def refuse(models: Models, batch: int) -> int:
    """Raise for the second batch, which is the other rank's."""
    if batch == 2:
        raise ValueError(f"not {batch}")
    return batch


if __name__ == "__main__":
    main()
