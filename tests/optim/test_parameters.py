"""What the optimizers refuse to train."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.parameters import open_groups
from omsweep.optim.settings import OnlineMerge


@pytest.fixture
def process_group() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("placement", [Shard(0), Replicate()])
def test_sharded_parameters_are_refused_at_the_door_and_at_the_step(placement) -> None:
    """At the step too, because FSDP2 swaps an optimizer's tensors after it was built."""
    mesh = init_device_mesh("cpu", (1,))
    sharded = nn.Parameter(distribute_tensor(torch.zeros(4, 2), mesh, [placement]))
    with pytest.raises(ValueError, match="parameter w is sharded .DTensor., and sharded parameters are not supported"):
        OnlineMergeAdamW([("w", sharded)], OnlineMerge("adamw"))
    optimizer = OnlineMergeAdamW([("w", nn.Parameter(torch.zeros(4, 2)))], OnlineMerge("adamw"))
    sharded.grad = torch.zeros_like(sharded)
    optimizer.param_groups[0]["params"] = [sharded]
    with pytest.raises(ValueError, match="parameter w is sharded"):
        optimizer.step()


def test_sparse_and_complex_tensors_are_refused() -> None:
    with pytest.raises(ValueError, match="parameter w must be dense, got layout torch.sparse_coo"):
        open_groups([("w", torch.zeros(2, 2).to_sparse())])
    with pytest.raises(ValueError, match="parameter w must be one of .*, got torch.complex64"):
        open_groups([("w", torch.zeros(2, dtype=torch.complex64))])
    embedding = nn.Embedding(4, 2, sparse=True)
    optimizer = OnlineMergeAdamW(embedding.named_parameters(), OnlineMerge("adamw"))
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="the gradient of weight must be dense, got layout torch.sparse_coo"):
        optimizer.step()
