"""Task vectors as files: what streaming writes is what loaded models give, and opening one is no copy."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from omsweep.merging.sources import HeldTensor
from omsweep.optim import task_vector_file
from omsweep.optim.adamw import OnlineMergeAdamW
from omsweep.optim.settings import OnlineMerge
from omsweep.optim.task_vector import task_vector
from omsweep.optim.task_vector_file import float_chunks, open_task_vector, write_task_vector

DTYPES = [torch.float32, torch.bfloat16]
SMAPS = Path("/proc/self/smaps")
MEBIBYTE = 1 << 20


class Tied(nn.Module):
    """Tied weights, a bias of odd length, a scalar, an empty tensor and a buffer."""

    def __init__(self, seed: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embed, self.head = nn.Embedding(7, 5), nn.Linear(5, 7)
        self.head.weight = self.embed.weight
        self.scale, self.nothing = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(0, 3))
        self.register_buffer("table", torch.arange(seed + 2))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.to(dtype)


def names_of(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def saved(model: nn.Module, folder: Path, *, files: int) -> Path:
    """A checkpoint of the model, its tied head included as a copy, over some files."""
    folder.mkdir()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for number in range(files):
        save_file({name: state[name] for name in list(state)[number::files]}, folder / f"model-{number}.safetensors")
    return folder


def test_by_hand(tmp_path: Path) -> None:
    write_task_vector({"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([1.5, 0.0])}, tmp_path / "tau.safetensors")
    assert open_task_vector(tmp_path / "tau.safetensors")["w"].tolist() == [0.5, -2.0]


@pytest.mark.parametrize(("which", "model"), [(0, "base"), (1, "SFT model")])
def test_entries_that_are_not_finite_are_counted_and_nothing_is_written(tmp_path: Path, which: int, model: str) -> None:
    models = [{"v": torch.ones(3), "w": torch.ones(2)} for _ in range(2)]
    models[which]["w"] = torch.tensor([torch.nan, -torch.inf])
    with pytest.raises(ValueError, match=rf"^the {model} holds 2 entries that are not finite \(NaN or inf\): w \(2\)"):
        write_task_vector(models[0], models[1], tmp_path / "tau.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("stored", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_streamed_folders_give_what_loaded_models_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, stored: torch.dtype, files: int
) -> None:
    monkeypatch.setattr(task_vector_file, "CHUNK_ENTRIES", 4)
    base, sft = Tied(0, dtype), Tied(1, dtype)
    expected = task_vector(base, sft)
    write_task_vector(
        saved(base, tmp_path / "base", files=files),
        saved(sft, tmp_path / "sft", files=1),
        tmp_path / "tau.safetensors",
        names=names_of(sft),
        dtype=stored,
    )
    for read in (open_task_vector(tmp_path / "tau.safetensors"), load_file(tmp_path / "tau.safetensors")):
        assert set(read) == set(expected) == {"embed.weight", "head.bias", "scale", "nothing"}
        for name, tau in expected.items():
            assert read[name].dtype == stored
            assert torch.equal(read[name], tau.to(stored)), name


def test_loaded_models_and_tensors_that_are_not_contiguous_may_be_given(tmp_path: Path) -> None:
    base, sft = Tied(0), Tied(1)
    file = tmp_path / "tau.safetensors"
    write_task_vector(dict(base.named_parameters()), dict(sft.named_parameters()), file)
    assert all(torch.equal(open_task_vector(file)[name], tau) for name, tau in task_vector(base, sft).items())
    square = torch.arange(9.0).view(3, 3)
    write_task_vector({"w": torch.zeros(3, 3)}, {"w": square.T}, file)
    assert torch.equal(open_task_vector(file)["w"], square.T)


def test_without_names_buffers_are_left_out_and_names_must_be_the_same(tmp_path: Path) -> None:
    base = {"w": torch.zeros(2), "steps": torch.zeros(1, dtype=torch.int64)}
    file = tmp_path / "tau.safetensors"
    write_task_vector(base, {**base, "w": torch.ones(2)}, file)
    assert list(open_task_vector(file)) == ["w"]
    with pytest.raises(ValueError, match=r"the base lacks extra$"):
        write_task_vector(base, {**base, "extra": torch.ones(2)}, file)


@pytest.mark.parametrize(
    ("base", "sft", "message"),
    [
        ({}, {f"p{i}": torch.zeros(1) for i in range(7)}, "the base lacks p0, p1, p2, p3, p4 and 2 more"),
        ({f"p{i}": torch.zeros(1) for i in range(7)}, {}, "the SFT model lacks p0, p1, p2, p3, p4 and 2 more"),
        (
            {f"p{i}": torch.zeros(1) for i in range(7)},
            {f"p{i}": torch.zeros(1 + i // 6) for i in range(7)},
            r"shapes differ at p6 \(1,\) and \(2,\)$",
        ),
        (
            {f"p{i}": torch.zeros(1, dtype=torch.int8 if i == 3 else torch.float32) for i in range(7)},
            {f"p{i}": torch.zeros(1) for i in range(7)},
            "no floating point at p3$",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(
    tmp_path: Path, base: Mapping[str, Tensor], sft: Mapping[str, Tensor], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_task_vector(base, sft, tmp_path / "tau.safetensors", names=[f"p{i}" for i in range(7)])
    assert list(tmp_path.iterdir()) == []


def test_other_dtypes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be one of torch\.float32, torch\.bfloat16, got torch\.float16"):
        write_task_vector({}, {}, tmp_path / "tau.safetensors", dtype=torch.float16)


def test_a_writing_that_is_broken_off_leaves_the_old_file(tmp_path: Path) -> None:
    def broken_off(names: object) -> Iterator[str]:
        raise KeyboardInterrupt
        yield

    file, weights = tmp_path / "tau.safetensors", {"w": torch.ones(2)}
    write_task_vector(weights, weights, file)
    with pytest.raises(KeyboardInterrupt):
        write_task_vector({"w": torch.zeros(2)}, weights, file, track=broken_off)
    assert open_task_vector(file)["w"].tolist() == [0.0, 0.0]
    assert list(tmp_path.iterdir()) == [file]


def test_names_are_tracked(tmp_path: Path) -> None:
    seen: list[str] = []

    def track(names: object) -> Iterator[str]:
        for name in names:  # type: ignore[attr-defined]
            yield name
            seen.append(name)

    weights = {"a": torch.ones(2), "b": torch.ones(1)}
    write_task_vector(weights, weights, tmp_path / "tau.safetensors", names=["b", "a"], track=track)
    assert seen == ["b", "a"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    save_file({"w": torch.zeros(2)}, model, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"model\.safetensors must hold an omsweep task vector 1, its metadata are"):
        open_task_vector(model)
    with pytest.raises(ValueError, match=r"missing\.safetensors cannot be read as a safetensors file"):
        open_task_vector(tmp_path / "missing.safetensors")


def test_chunks_cover_every_entry_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_vector_file, "CHUNK_ENTRIES", 4)
    pairs = list(float_chunks(HeldTensor(torch.arange(10).view(2, 5)), HeldTensor(torch.ones(2, 5).bfloat16())))
    assert [len(first) for first, _ in pairs] == [4, 4, 2]
    assert torch.cat([first for first, _ in pairs]).tolist() == list(range(10))
    assert all(chunk.dtype == torch.float32 for pair in pairs for chunk in pair)
    assert list(float_chunks(HeldTensor(torch.zeros(0, 3)))) == []


def test_writing_to_an_opened_tensor_does_not_change_the_file(tmp_path: Path) -> None:
    file = tmp_path / "tau.safetensors"
    write_task_vector({"w": torch.zeros(2)}, {"w": torch.ones(2)}, file)
    before = file.read_bytes()
    opened = open_task_vector(file)
    opened["w"].fill_(5.0)
    assert opened["w"].tolist() == [5.0, 5.0]
    assert file.read_bytes() == before
    assert open_task_vector(file)["w"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("stored", DTYPES)
def test_the_optimizer_takes_an_opened_task_vector(tmp_path: Path, stored: torch.dtype) -> None:
    tau = {"w": torch.tensor([0.5, -2.0, 4.0])}
    write_task_vector({"w": torch.zeros(3)}, tau, tmp_path / "tau.safetensors", dtype=stored)
    results = []
    for given in (tau, open_task_vector(tmp_path / "tau.safetensors")):
        weight = nn.Parameter(torch.ones(3))
        optimizer = OnlineMergeAdamW([("w", weight)], OnlineMerge("linear", alpha=0.1), given, lr=0.01)
        weight.grad = torch.tensor([1.0, -1.0, 2.0])
        optimizer.step()
        results.append(weight.detach())
    assert torch.equal(*results)


class Watched(Mapping[str, Tensor]):
    """Tensors made when asked for, noting at each how much anonymous memory the process holds."""

    def __init__(self, make: Callable[[str], Tensor], names: list[str]) -> None:
        self._make, self._names, self.anonymous = make, names, 0

    def __getitem__(self, name: str) -> Tensor:
        self.anonymous = max(self.anonymous, anonymous_bytes())
        return self._make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def anonymous_bytes() -> int:
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.skipif(not SMAPS.exists(), reason="needs /proc/self/status")
def test_writing_holds_one_tensor_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_vector_file, "CHUNK_ENTRIES", 1 << 18)
    count, each = 24, 4 * MEBIBYTE
    names = [f"w{i}" for i in range(count)]
    base = Watched(lambda _: torch.zeros(each // 4), names)
    sft = Watched(lambda _: torch.ones(each // 4), names)
    before = anonymous_bytes()
    write_task_vector(base, sft, tmp_path / "tau.safetensors", names=names)
    assert (tmp_path / "tau.safetensors").stat().st_size > count * each
    assert max(base.anonymous, sft.anonymous) - before < 8 * each


MAPPED = """
import re, sys
from pathlib import Path
from omsweep.optim.task_vector_file import open_task_vector

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

opened = open_task_vector(sys.argv[1])
[tensor.sum() for tensor in opened.values()]  # what torch needs for itself
before = anonymous()
again = open_task_vector(sys.argv[1])
touched = sum(float(tensor.sum()) for tensor in again.values())
print(anonymous() - before, flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(not SMAPS.exists(), reason="needs /proc/self/smaps")
def test_opening_is_no_copy_and_processes_share_the_pages(tmp_path: Path) -> None:
    file, size = tmp_path / "tau.safetensors", 32 * MEBIBYTE
    write_task_vector({"w": torch.zeros(size // 4)}, {"w": torch.ones(size // 4)}, file)
    other = subprocess.Popen(
        [sys.executable, "-c", MAPPED, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin
    assert other.stdout
    try:
        growth = int(other.stdout.readline()) * 1024
        before = anonymous_bytes()
        opened = open_task_vector(file)
        assert float(opened["w"].sum()) == size / 4
        mine = mapped_bytes(file)
        assert anonymous_bytes() - before < size / 8
    finally:
        other.communicate("\n", timeout=60)
    assert growth < size / 8
    assert mine["Rss"] >= size
    assert mine["Anonymous"] == 0
    assert mine["Private_Dirty"] + mine["Private_Clean"] < size / 8
    assert mine["Pss"] < 0.75 * size


def mapped_bytes(file: Path) -> dict[str, int]:
    """The sums of /proc/self/smaps over the mappings of one file."""
    sums: dict[str, int] = {}
    inside = False
    for line in SMAPS.read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(str(file))
        elif inside and line.endswith(" kB"):
            field, amount = line.removesuffix(" kB").split(":")
            sums[field] = sums.get(field, 0) + int(amount) * 1024
    return sums
