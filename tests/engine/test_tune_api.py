"""The trials of a space in Ray code of one's own: configurations, and the code of docs/tune.md as it stands there."""

import json
import math
import struct
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from optuna.trial import TrialState
from ray import cloudpickle, tune
from ray.tune.search.optuna import OptunaSearch
from tensorboardX.proto.event_pb2 import Event

from omsweep.engine.tune_api import check_prepared, samplers, spec_of, tuner
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.store.records import Outcome, Prepared, TrialSpec
from omsweep.trial.progress import ProgressWriter, progress_file
from tests.stub_work import STUB
from tests.test_documentation import blocks

PAGE = Path(__file__).parents[2] / "docs" / "tune.md"
CONFIG = {"family": "tiny-llama", "method": "adamw", "algorithm": "dpo", "learning_rate": 4e-4, "beta": 0.1}
FEW = {
    "steps: 200": "steps: 60",
    "batch_size: 16": "batch_size: 8",
    "reward: tiny}": "reward: tiny, limit: 8, samples: 2}",
}


def fixed(space: dict[str, Any], **changes: Any) -> TrialSpec:
    return spec_of(build_space(space), CONFIG | changes, trial_id="t0")


def test_a_configuration_fixes_what_the_space_draws_and_may_leave_its_ranges(compare: dict[str, Any]) -> None:
    spec = fixed(compare, learning_rate=np.float64(0.5), seed=7)
    assert (spec.trial_id, spec.family, spec.label, spec.seed, spec.algorithm) == (
        "t0",
        "tiny-llama",
        "adamw",
        7,
        "dpo",
    )
    assert spec.train is not None
    assert (spec.train["learning_rate"], type(spec.train["learning_rate"])) == (0.5, float)
    first = build_space(compare).design.training_seed(0, 0, 0)
    assert fixed(compare).seed == first


def test_a_methods_own_knobs_are_read_when_it_is_drawn_and_come_before_bare_ones(compare: dict[str, Any]) -> None:
    own = {"method.ondare.density": 0.5, "method.ondare.tau_travel": 0.1, "method.mine.alpha": 0.2}
    assert "density" not in fixed(compare, **own).params
    ondare = fixed(compare, method="ondare", **own, beta=0.3)
    assert (ondare.params["density"], ondare.params["tau_travel"], ondare.params["beta"]) == (0.5, 0.1, 0.3)
    assert fixed(compare, method="ondare", **own, density=0.9).params["density"] == 0.5
    mine = fixed(compare, method="mine", **own, gap_steps=5)
    assert (mine.params["alpha"], mine.params["gap_steps"], mine.params["learning_rate"]) == (0.2, 5, 4e-4)


def test_alpha_replaces_the_travel_that_the_space_draws(compare: dict[str, Any]) -> None:
    spec = fixed(compare, method="ondare", density=0.5, alpha=1e-3)
    assert spec.params["alpha"] == 1e-3
    assert "tau_travel" not in spec.params


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"family": "gpt"}, "config.family: must be one of tiny-llama, tiny-qwen2; got 'gpt'"),
        ({"method": "dare"}, "config.method: must be one of adamw, ondare, mine; got 'dare'"),
        ({"methods": 1}, "config.methods: unknown key; allowed: family, sft_seed, method, seed, algorithm"),
        ({"method.dare.alpha": 1}, "config.method.dare.alpha: unknown key; .* LABEL one of adamw, ondare, mine"),
        ({"method.adamw.density": 0.5}, "config.method.adamw.density: unknown key; allowed: method.adamw.algorithm"),
        (
            {"density": 0.5},
            "config.density: method adamw does not take it, but algorithm, .*name it method.LABEL.density",
        ),
        ({"beta": "0.1"}, "config.beta: must be a number, got '0.1'"),
        ({"steps": 2.5}, "config.steps: must be a whole number, got 2.5"),
        (
            {"beta": {"choice": [1, 2]}},
            "config.beta: must be a value, got the sampler|config.beta: must be a value, got",
        ),
        ({"beta": -1.0}, "config: beta must be positive, got -1.0"),
        ({"algorithm": "ppo"}, "config: .*ppo"),
        ({"seed": "x"}, "config.seed: must be a whole number from 0 on, got 'x'"),
        ({"method": "ondare"}, "config: lacks method.ondare.tau_travel, method.ondare.density, which the space draws"),
        ({"method": "ondare", "density": 1, "alpha": 0, "tau_travel": 1}, "config.alpha: follows from tau_travel"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(compare: dict[str, Any], changes: Any, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        fixed(compare, **changes)


def test_what_the_space_has_several_of_must_be_given(compare: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match="config: lacks family, method, of which the space has several"):
        spec_of(build_space(compare), {"beta": 0.1}, trial_id="t0")


def test_the_samplers_are_those_of_the_space(compare: dict[str, Any]) -> None:
    compare["space"]["steps"] = {"randint": [3, 5]}
    found = samplers(build_space(compare))
    assert list(found) == [
        *("family", "method", "algorithm", "learning_rate", "beta", "steps"),
        *("method.ondare.tau_travel", "method.ondare.density"),
    ]
    assert found["method"].categories == ["adamw", "ondare", "mine"]
    assert (found["steps"].lower, found["steps"].upper) == (3, 6)
    assert {type(found[name].get_sampler()).__name__ for name in ("learning_rate", "beta")} == {
        "_LogUniform",
        "_Uniform",
    }


def test_what_nothing_was_prepared_for_is_refused(compare: dict[str, Any]) -> None:
    compare["space"]["algorithm"] = "dpo"
    spec = fixed(compare, method="mine")
    ready = Prepared(base="b", sft="s", weights_hash="0", dtype="float32", data={spec.data: {"dpo": "d"}})
    with pytest.raises(SpaceError, match="config.task_vector: must be one that some .* merges: none; got 'real'"):
        check_prepared(spec, ready)
    check_prepared(spec, ready.model_copy(update={"task_vectors": {"real": "file"}}))
    with pytest.raises(
        SpaceError, match="config.algorithm: must be one that the space names for adamw: dpo; got 'ipo'"
    ):
        check_prepared(fixed(compare, algorithm="ipo"), ready)


def scalars(folder: Path) -> dict[str, list[float]]:
    """What TensorBoard's event files of a trial hold, by tag: records of length, checksum, event, checksum."""
    found: dict[str, list[float]] = defaultdict(list)
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content, place = file.read_bytes(), 0
        while place < len(content):
            (length,) = struct.unpack_from("<Q", content, place)
            event = Event.FromString(content[place + 12 : place + 12 + length])
            place += length + 16
            for value in event.summary.value:
                found[value.tag.removeprefix("ray/tune/")].append(value.simple_value)
    return found


def folders(results: Any) -> dict[str, Path]:
    """Tune's folder of each trial."""
    return {result.metrics["trial_id"]: Path(result.path) for result in results}


def page(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, **more: str) -> dict[str, Any]:
    """What the page's code has made in a folder; with few trials of few steps."""
    monkeypatch.chdir(folder)
    [text], code = blocks(PAGE, "yaml"), blocks(PAGE, "python")[number]
    for before, after in {**FEW, **more}.items():
        assert before in text
        text = text.replace(before, after)
    Path("mine.yaml").write_text(text)
    made: dict[str, Any] = {}
    exec(code.replace("num_samples=8", "num_samples=2"), made)
    return made


@pytest.fixture
def loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune's own, which a sweep in the same process has turned off."""
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "0")


def prepare(wanted: Any, progress: Any) -> tuple[Prepared, pd.DataFrame]:
    models, frame = STUB.prepare(wanted, progress)
    [(source, algorithms)] = wanted.sources
    assert {readings for _, readings in algorithms} == {None}
    return models.model_copy(update={"data": {source.key: {one: "" for one, _ in algorithms}}}), frame


def session(spec: TrialSpec, prepared: Prepared, folder: Path, *, started: float, **more: Any) -> Outcome:
    """Two rows of losses before its end; one whose rate is above 1 diverges."""
    write = ProgressWriter(progress_file(folder, spec.trial_id))
    for step in range(1, 24):
        time.sleep(0.1)
        write(step, {"loss": 1 / step})
    return STUB.session(spec, prepared, folder, started=started, **more)


@pytest.mark.slow
def test_tune_hears_of_a_trial_while_it_trains_and_a_searcher_of_one_that_diverges(
    compare: dict[str, Any], tmp_path: Path, local_ray: None, loggers: None
) -> None:
    compare |= {"families": ["tiny-llama"], "train": {"steps": 20, "batch_size": 8, "backend": "inprocess"}}
    compare["space"] |= {"method": {"adamw": {}}, "algorithm": "dpo", "beta": 0.1}
    searcher = OptunaSearch(
        metric=["reward", "tax"],
        mode=["max", "min"],
        points_to_evaluate=[{"learning_rate": 5e-4, "beta": 0.1}, {"learning_rate": 2.0, "beta": 0.1}],
    )
    results = tuner(
        build_space(compare),
        param_space={"learning_rate": tune.loguniform(1e-4, 10.0), "beta": tune.choice([0.1])},
        tune_config=tune.TuneConfig(num_samples=2, search_alg=searcher, max_concurrent_trials=1, reuse_actors=True),
        run_config=tune.RunConfig(name="r", storage_path=str(tmp_path), verbose=0),
        work=replace(STUB, prepare=prepare, session=session),
    ).fit()
    frame = results.get_dataframe().set_index("config/learning_rate")
    assert list(frame["state"]) == ["completed", "diverged"]
    assert [trial.state for trial in searcher._ot_study.trials] == [TrialState.COMPLETE, TrialState.FAIL]
    assert searcher._ot_study.trials[0].values == list(frame.loc[5e-4, ["reward", "tax"]])
    assert "diverged: loss or weights not finite after step 1" in str(results.errors[0])
    good = folders(results)[frame.loc[5e-4, "trial_id"]]
    seen = scalars(good)
    assert seen["step"][:-1] == sorted(seen["step"][:-1])
    assert len(seen["step"]) > 1 == len(seen["reward"])
    progress = pd.read_csv(good / "progress.csv")
    assert list(progress["state"]) == ["running"] * (len(progress) - 1) + ["completed"]
    assert math.isnan(progress["reward"][0])
    assert json.loads((good / "omsweep" / "trial.json").read_text())["reward"] == frame.loc[5e-4, "reward"]


@pytest.mark.slow
def test_the_code_of_the_page_trains_scores_and_tells_its_searcher_both_objectives(
    tmp_path: Path, local_ray: None, loggers: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = page(tmp_path, monkeypatch, 0)
    frame = ran["frame"]
    print(frame.T.to_string())
    assert list(frame["state"]) == ["completed"] * 2
    numbers = ["reward", "tax", "kl", "loss", "step", "epoch", "seconds/train"]
    assert np.isfinite(frame[numbers].to_numpy()).all()
    assert set(frame["step"]) == {60}
    assert (frame["epoch"] > 0.2).all()
    told = [trial.values for trial in ran["searcher"]._ot_study.trials if trial.state == TrialState.COMPLETE]
    assert sorted(told) == sorted(frame[["reward", "tax"]].to_numpy().tolist())
    for _, row in frame.iterrows():
        own = folders(ran["results"])[row["trial_id"]]
        seen = scalars(own)
        assert [seen[name][-1] for name in numbers] == pytest.approx([row[name] for name in numbers], rel=1e-6)
        assert Path(row["policy_path"]).is_relative_to(own)
        assert (Path(row["policy_path"]) / "model.safetensors").is_file()
        assert list(own.glob("omsweep/scores/*.parquet"))
    best = ran["results"].get_best_result("reward", "max")
    assert best.metrics["reward"] == frame["reward"].max()
    assert "config/method" in capsys.readouterr().out


@pytest.mark.campaign
def test_the_page_works_with_worker_groups_too(
    tmp_path: Path, local_ray: None, loggers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = page(tmp_path, monkeypatch, 1, inprocess="train")
    frame = ran["results"].get_dataframe()
    assert list(frame["state"]) == ["completed"] * 2
    told = [trial.values for trial in ran["searcher"]._ot_study.trials if trial.state == TrialState.COMPLETE]
    assert sorted(told) == sorted(frame[["reward", "tax"]].to_numpy().tolist())
    for folder in folders(ran["results"]).values():
        assert list(pd.read_csv(folder / "progress.csv")["state"])[-1] == "completed"


cloudpickle.register_pickle_by_value(sys.modules[__name__])
