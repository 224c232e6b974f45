"""All workers of a trial compute the batches of its scoring: rank 0 scores, the others compute their share."""

import pickle
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import torch.distributed as dist
from torch.distributed.distributed_c10d import _set_pg_timeout

from omsweep.evaluation.spread import Compute, Models, Spread, alone
from omsweep.foreign import error_line

MEETING, PATIENCE = timedelta(minutes=10), timedelta(days=2)
"""How long ranks try to reach each other, and then wait for rank 0, which may score by itself for long; a rank that is
lost is noticed at once."""


class Share(NamedTuple):
    """What a rank computed: the results of its batches, or what one of them raised."""

    results: Sequence[Any] = ()
    raised: Exception | None = None


@contextmanager
def all_ranks() -> Iterator[Spread]:
    """On rank 0: who computes the batches of what is scored inside; the others are let go at its end."""
    if _ranks() == 1:
        yield alone
        return
    _group()
    try:
        yield _spread
    finally:
        dist.broadcast_object_list([None], src=0, group=_group())


def help_rank_0(models: Callable[[], Models]) -> None:
    """On another rank: compute a share of whatever is scored in `all_ranks`, until rank 0 leaves it.

    Args:
        models: makes what is scored, once it is.
    """
    made = lru_cache(maxsize=1)(models)
    while _ranks() > 1:
        told: list[Any] = [None]
        dist.broadcast_object_list(told, src=0, group=_group())
        if told[0] is None:
            return
        compute, batches = told[0]
        dist.gather_object(_share(compute, made, batches), dst=0, group=_group())


def _spread(compute: Compute, models: Models, batches: Sequence[Any]) -> Iterable[Any]:
    if len(batches) < 2:
        return alone(compute, models, batches)
    dist.broadcast_object_list([(compute, batches)], src=0, group=_group())
    shares: list[Any] = [None] * _ranks()
    dist.gather_object(_share(compute, lambda: models, batches), shares, dst=0, group=_group())
    for share in shares:
        if share.raised is not None:
            raise share.raised
    return [shares[number % len(shares)].results[number // len(shares)] for number in range(len(batches))]


def _share(compute: Compute, models: Callable[[], Models], batches: Sequence[Any]) -> Share:
    try:
        mine = batches[dist.get_rank() :: _ranks()]
        return Share([compute(models(), batch) for batch in mine])
    except Exception as error:  # rank 0 raises it, and this one goes on helping
        return Share(raised=_sendable(error))


def _sendable(error: Exception) -> Exception:
    """An error as another process can read it, with where it was raised."""
    where = f"on rank {dist.get_rank()}:\n{''.join(traceback.format_exception(error))}"
    try:
        found: Exception = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever it is that it holds
        found = RuntimeError(error_line(error))
    found.add_note(where)
    return found


def _ranks() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


@lru_cache(maxsize=1)
def _group() -> Any:
    """All ranks, to send plain objects between CPUs; each makes it at its first scoring."""
    group = dist.new_group(backend="gloo", timeout=MEETING)
    _set_pg_timeout(PATIENCE, group)
    return group
