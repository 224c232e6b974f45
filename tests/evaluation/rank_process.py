"""One rank of a scoring: python rank_process.py JOB.json; rank 0 writes a table."""

import json
import sys
import traceback
from functools import partial
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
        for _ in range(3):
            help_rank_0(lambda: models)
    else:
        for kind, name in ((Refused, "refused"), (Odd, "odd")):
            try:
                with all_ranks() as spread:
                    list(spread(partial(refuse, kind=kind), models, [1, 2, 3]))
            except Exception as error:
                Path(job[name]).write_text("".join(traceback.format_exception(error)))
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


class Refused(Exception):
    """An error as most are."""


class Odd(Exception):
    """An error that no other process can read."""

    def __init__(self, batch: str) -> None:
        super().__init__(batch, lambda: None)


def refuse(models: Models, batch: int, *, kind: type[Exception]) -> int:
    """Raise for the second batch, which is another rank's."""
    if batch == 2:
        raise kind(f"not {batch}")
    return batch


if __name__ == "__main__":
    main()
