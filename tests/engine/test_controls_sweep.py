"""A real sweep from two SFT models per family, with controls for the task vector; trains an SFT model where none is
cached."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from omsweep.cli import main
from omsweep.results.front import label_of
from omsweep.store.folder import SweepFolder, reference_of

pytestmark = pytest.mark.campaign

ONDARE = {"method": "ondare", "semantics": "equations", "alpha": 0.01, "density": 0.5}
KINDS = ("real", "permuted", "other_seed")
CONTENT: dict[str, Any] = {
    "name": "controls",
    "mode": "compare",
    "families": ["tiny-llama"],
    "space": {
        "algorithm": "dpo",
        "learning_rate": 4e-4,
        "beta": 0.1,
        "method": {
            "adamw": {},
            **{kind: ONDARE | {"task_vector": kind} for kind in KINDS},
            "alpha-0": ONDARE | {"alpha": 0.0},
        },
    },
    "design": {"blocks": 1, "sft_seeds": 2},
    "train": {"steps": 12, "batch_size": 8, "backend": "inprocess"},
    "evaluate": {"limit": 8, "samples": 2, "max_new_tokens": 24},
}


def test_controls_from_two_sft_models(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(yaml.safe_dump(CONTENT))
    assert main(["run", str(file), "--name", "s", "--storage", str(tmp_path / "runs")]) == 0
    folder = SweepFolder(tmp_path / "runs", "s")
    by_id = {trial.trial_id: trial for trial in folder.trials()}
    labels = list(CONTENT["space"]["method"])
    assert set(by_id) == {f"tiny-llama-f{seed}-b0-s0-{label}" for seed in (0, 1) for label in labels}
    assert {trial.state for trial in by_id.values()} == {"completed"}

    references = folder.references()
    assert set(references) == {"tiny-llama#0", "tiny-llama#1"}
    assert references["tiny-llama#0"]["scores"] != references["tiny-llama#1"]["scores"]
    for trial in by_id.values():
        assert trial.sft_seed == int(trial.trial_id.split("-f")[1][0])
        assert trial.task_vector == (trial.label if trial.label in KINDS else "real")
        reference = reference_of(references, trial.family, trial.sft_seed)
        assert reference is not None
        assert trial.tax == pytest.approx(reference["benchmark_average"] - trial.benchmark_average)
        moved = trial.diagnostics["tau_travel"]
        assert moved == (0.0 if trial.label in ("adamw", "alpha-0") else pytest.approx(12 * 0.01 * 0.5, rel=0.2))
    for seed in (0, 1):
        own = [trial for trial in by_id.values() if trial.sft_seed == seed]
        assert len({trial.seed for trial in own}) == 1
        assert len({trial.weights_hash for trial in own}) == len(own)
    assert by_id["tiny-llama-f0-b0-s0-adamw"].weights_hash != by_id["tiny-llama-f1-b0-s0-adamw"].weights_hash

    client = MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = {
        r.data.tags["trial_id"]: r
        for r in client.search_runs(experiments, "tags.sweep = 's'")
        if "trial_id" in r.data.tags
    }
    for trial_id, trial in by_id.items():
        tags, params = runs[trial_id].data.tags, runs[trial_id].data.params
        for logged in (tags, params):
            assert (logged["task_vector"], logged["sft_seed"]) == (trial.task_vector, str(trial.sft_seed))
    page = folder.report_html.read_text()
    assert all(label_of(trial) in page for trial in by_id.values())
