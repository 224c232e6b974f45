"""A finished sweep with model folders of some kilobytes and nothing trained, to take policies home from."""

import shutil
from pathlib import Path

import pytest

from omsweep.families.load import weights_hash
from omsweep.families.tiny.architecture import random_family
from omsweep.store.records import Prepared, TrialRecord
from tests.example_sweeps import resolved_space, trial
from tests.written_sweep import WrittenSweep

SMALL = {"hidden_size": 32, "intermediate_size": 32}
SCORES = {"reward_se_items": 0.05, "tax_se_items": 0.4, "scores": {"math": 0.8}, "length_ratio": 1.1, "kl": 2.0}
SETTINGS = {"algorithm": "dpo", "learning_rate": 4e-4, "merge": {"method": "adamw"}, "dtype": "float32"}


class SmallSweep(WrittenSweep):
    """Family `mine`: trials a, b (the knee) and c on the front, d that was not kept, e stopped; m lies halfway to b."""

    def __init__(self, path: Path) -> None:
        super().__init__(path / "runs", "s")
        self.base, self.sft = (
            random_family(path / name, seed=seed, **SMALL) for seed, name in enumerate(("base", "sft"))
        )
        self._create()

    def _create(self) -> None:
        family = {"name": "mine", "base": str(self.base), "sft": str(self.sft), "licence": "apache-2.0"}
        self.create(resolved_space(families=[family]))
        reference = {"scores": {"math": 0.9}, "benchmark_average": 90.0, "reward_absolute": 1.0}
        records = ({"source": "preferences tiny", "kind": "paired", "records": 9, "taken": 8, "dropped": {"empty": 1}},)
        prepared = Prepared(
            base=str(self.base),
            sft=str(self.sft),
            weights_hash=weights_hash(str(self.sft)),
            dtype="float32",
            decoding={"stop_tokens": {"</s>": 3, "<|user|>": 4}},
            records=records,
        )
        self.happened(
            "prepared", family="mine", sft_seed=None, reference=reference, models=prepared.model_dump(mode="json")
        )
        for seed, (name, reward, tax) in enumerate(
            [("a", 0.2, 0.5), ("b", 0.8, 2.0), ("c", 1.0, 8.0), ("d", 0.1, 4.0)]
        ):
            self._ended(name, reward, tax, policy=random_family(self.path / "policies" / name, seed=seed + 2, **SMALL))
        self.happened("reclaimed", "d", what="policy", bytes=1)
        shutil.rmtree(self.path / "policies" / "d")
        self._ended("e", 0.1, 4.0, state="stopped")
        point = {"posthoc": {"method": "linear", "weight": 0.5}}
        self._ended("m", 0.5, 1.0, kind="posthoc", parent="b", label="adamw+path", params=point)
        self.rescored("b", reward=0.7, reward_se_items=0.06, tax=2.5, tax_se_items=0.5)

    def _ended(self, name: str, reward: float, tax: float, *, policy: Path | None = None, **more: object) -> None:
        where = {} if policy is None else {"policy_path": str(policy), "weights_hash": weights_hash(str(policy))}
        record: TrialRecord = trial(name, family="mine", reward=reward, tax=tax, **(SCORES | where | more))
        identity = {one: value for one, value in record.to_json().items() if one in SPEC and one != "trial_id"}
        data = '{"name": "tiny", "hub": null, "path": null}'
        evaluate = {"tax": "tiny", "reward": "tiny"}
        self.happened("proposed", name, trial=identity | {"train": SETTINGS, "data": data, "evaluate": evaluate})
        self.append(record)


SPEC = ("trial_id", "family", "kind", "parent", "label", "algorithm", "method", "params", "seed")


@pytest.fixture
def small_sweep(tmp_path: Path) -> SmallSweep:
    """The sweep `s` in `runs` below `tmp_path`."""
    return SmallSweep(tmp_path)
