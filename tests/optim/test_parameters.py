"""What the optimizers refuse to train."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Partial

from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.parameters import open_groups
from omsweep.optim.settings import OnlineMerge


@pytest.fixture
def process_group() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_partial_sums_are_refused() -> None:
    mesh = init_device_mesh("cpu", (1,))
    partial = nn.Parameter(DTensor.from_local(torch.zeros(4, 2), mesh, [Partial()]))
    optimizer = OnlineMergeAdamW([("w", partial)], OnlineMerge("adamw"))
    partial.grad = torch.zeros_like(partial)
    with pytest.raises(ValueError, match="parameter w must be placed by Shard and Replicate only"):
        optimizer.step()


def test_flattening_wrappers_are_refused() -> None:
    """FSDP1 says so in the name, DeepSpeed ZeRO-3 in an attribute, ZeRO-1 and 2 by swapping tensors afterwards."""
    with pytest.raises(ValueError, match="use FSDP2"):
        open_groups([("_fsdp_wrapped_module.w", nn.Parameter(torch.zeros(4)))])
    zero3 = nn.Parameter(torch.zeros(4))
    zero3.ds_id = 0
    with pytest.raises(ValueError, match="use FSDP2"):
        open_groups([("w", zero3)])
    optimizer = OnlineMergeAdamW([("w", nn.Parameter(torch.zeros(4, 2)))], OnlineMerge("adamw"))
    flat = nn.Parameter(torch.zeros(8))
    flat.grad = torch.zeros(8)
    optimizer.param_groups[0]["params"] = [flat]
    with pytest.raises(ValueError, match=r"w had shape \(4, 2\) when the optimizer was built and has \(8,\) now"):
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
