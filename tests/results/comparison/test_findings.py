"""Findings: planted effects and nulls, what is read where, and what is missing."""

from dataclasses import replace

import numpy as np
import pytest

from omsweep.report.comparison_tables import tables
from omsweep.results.comparison.clusters import pseudo_values
from omsweep.results.comparison.components import variance_components
from omsweep.results.comparison.contrasts import shares
from omsweep.results.comparison.curves import block_weights, curve_of
from omsweep.results.comparison.detectable import Design, smallest_detectable_effect
from omsweep.results.comparison.findings import findings
from omsweep.results.comparison.points import Arm
from omsweep.results.comparison.question import question_of
from omsweep.results.comparison.reading import as_json, read_findings
from omsweep.strict_json import plain

A, C = Arm("adamw"), Arm("ondare")
PATHS = (Arm("ondare", "path"), Arm("adamw", "path"))


@pytest.fixture(scope="module")
def asked(make_question_space):
    return question_of(make_question_space())


@pytest.fixture(scope="module")
def table(make_points):
    return make_points()


@pytest.fixture(scope="module")
def found(table, asked):
    return findings(table, asked)


def line(found, arm, against, measure="area", family="all families"):
    (one,) = [x for x in found.lines if (x.arm, x.against, x.measure, x.family) == (arm, against, measure, family)]
    return one


def verdicts(found):
    return {(x.arm, x.against): x.verdict for x in found.lines if x.verdict is not None}


def test_every_contrast_has_one_verdict_and_every_measure_a_line(found):
    assert list(verdicts(found)) == [("ondare", "adamw"), ("ondare + path", "adamw + path"), ("ondare", "shuffled")]
    assert len(found.lines) == 3 * 4 * 3
    assert found.missing == ()


def test_the_area_is_the_share_of_the_baselines(found, table):
    mean = []
    for family in ("one", "two"):
        first, unit = (curve_of(table, arm, family).area(4.0) for arm in (C, A))
        weights = block_weights(table, family)
        mean.append(float(weights @ shares(first, unit, unit, weights)[:, 0]))
        assert mean[-1] == pytest.approx(first[:, 0].mean() / unit[:, 0].mean() - 1)
        assert line(found, "ondare", "adamw", family=family).estimate.value == pytest.approx(mean[-1])
    assert line(found, "ondare", "adamw").estimate.value == pytest.approx(np.mean(mean))


def test_arms_on_one_curve_are_not_told_apart(found):
    assert set(verdicts(found).values()) <= {"not shown", "equivalent"}


def test_an_arm_that_moves_further_at_every_dose_gains_nothing(make_points, asked):
    """The former faults: distances that differ counted as effects of merging."""
    found = findings(make_points(reach={"ondare": 1.25}, scatter=0.01), asked)
    assert set(verdicts(found).values()) <= {"not shown", "equivalent"}
    assert abs(line(found, "ondare", "adamw", "reward_at_tax").estimate.value) < 0.03


def test_a_planted_gain_is_found_and_a_planted_loss(make_points, asked):
    gained = verdicts(findings(make_points(gains={"ondare": 1.4}), asked))
    assert set(gained.values()) == {"better"}
    lost = verdicts(findings(make_points(gains={"ondare": 0.6, "shuffled": 0.6}), asked))
    assert lost["ondare", "adamw"] == lost["ondare + path", "adamw + path"] == "worse"
    assert lost["ondare", "shuffled"] in ("not shown", "equivalent")


def test_the_other_measures_have_their_signs(make_points, asked):
    found = findings(make_points(gains={"ondare": 1.4}, scatter=0.003), asked)
    values = {m: line(found, "ondare", "adamw", m).estimate.value for m in ("reward_at_tax", "tax_at_reward")}
    assert values["reward_at_tax"] == pytest.approx(0.4 * (1 - np.exp(-1.5 * np.sqrt(0.8))), rel=0.1)
    assert values["tax_at_reward"] < -1
    assert line(found, "ondare", "adamw", "reward_at_kl").estimate.value > 0.2


def test_the_scatter_and_the_smallest_effect_are_those_of_the_shares(found, table):
    components = {}
    for family in ("one", "two"):
        areas = [curve_of(table, arm, family).area(4.0) for arm in (*PATHS, A)]
        seeds = [sft_seed for _, sft_seed, _ in table.blocks_of(family)]
        components[family] = variance_components(pseudo_values(shares(*areas, block_weights(table, family))), seeds)
    spreads = {s.family: s for s in found.spreads if s.arm == "ondare + path"}
    for family, expected in components.items():
        assert vars(spreads[family].components) == pytest.approx(vars(expected))
    design = Design(sft_seeds=3, runs=4, items=5, families=2, comparisons=3)
    mean = spreads["all families"]
    assert mean.detectable == smallest_detectable_effect(design, mean.components)
    assert spreads["one"].detectable is None


def test_one_run_gives_numbers_without_intervals_or_verdicts(make_points, asked):
    found = findings(make_points(sft_seeds=1, runs=1, gains={"ondare": 3.0}), asked)
    assert set(verdicts(found).values()) == {"not shown"}
    assert found.spreads == []
    assert tables(found)[0].texts[0][1].startswith("+")
    assert "[" not in tables(found)[0].texts[0][1]


def test_with_one_sft_seed_runs_are_the_units(make_points, asked):
    found = findings(make_points(sft_seeds=1, runs=6), asked)
    assert {x.estimate.outermost for x in found.lines} == {"run"}
    assert "over runs" in tables(found)[0].notes[1]


def test_without_kl_the_other_measures_are_shown(make_points, asked):
    found = findings(make_points(kl=False), asked)
    assert {x.measure for x in found.lines} == {"area", "reward_at_tax", "tax_at_reward"}


def test_above_what_all_arms_reach_nothing_is_read(make_points, asked):
    found = findings(make_points(lost=[(0, "ondare", 2.0), (0, "ondare", 1.0)]), asked)
    (support,) = [s for (pair, family), s in found.supports.items() if (pair[1], family) == (A, "one")]
    assert 1 < support.tax < 1.5
    assert any(said.startswith("ondare against adamw above tax 1.") for said in found.missing)
    assert any("ondare in one above dose 0.5: it left no policy in 1 of 12 blocks" in said for said in found.missing)
    none = findings(make_points(lost=[(0, "ondare", 0.25)]), asked)
    assert {x.arm for x in none.lines} == set()
    assert any(
        "ondare against adamw: in one, an arm left no policy at the lowest dose" in said for said in none.missing
    )
    assert any("ondare in one at all: it left no policy in 1 of 12 blocks" in said for said in none.missing)


def test_a_dose_at_which_every_block_diverged_is_named(make_points, asked):
    found = findings(make_points(lost=[(number, "ondare", 2.0) for number in range(24)]), asked)
    assert any("ondare in one above dose 1: it left no policy in 12 of 12 blocks" in said for said in found.missing)


def test_an_arm_that_costs_nothing_is_a_reason_and_no_error(make_points, asked):
    made = make_points(scatter=0.0)
    mine = made.label == "ondare"
    free = replace(made, search=np.where(mine[:, None], made.search * [1, -1, 1], made.search))
    found = findings(free, asked)
    assert any("ondare against adamw: in one, an arm costs no tax at any dose" in said for said in found.missing)
    assert {track.arm for track in found.tracks} == {A, Arm("adamw", "path"), Arm("shuffled")}


def test_a_baseline_without_reward_is_a_reason(make_points, asked):
    found = findings(make_points(gains={"adamw": -1.0}, scatter=0.001), asked)
    assert any("ondare against adamw: the baseline gains no reward" in said for said in found.missing)


def test_families_that_take_turns_keep_their_scatter(table, asked, found):
    """As a design starts them, block by block over the families: the former order by family alone was read."""
    order = [block for pair in zip(table.blocks_of("one"), table.blocks_of("two"), strict=True) for block in pair]
    mixed = findings(replace(table, blocks=tuple(order)), asked)
    for one, other in zip(found.spreads, mixed.spreads, strict=True):
        assert vars(other.components) == pytest.approx(vars(one.components))


def test_before_the_end_nothing_is_decided(make_points, asked):
    found = findings(make_points(gains={"ondare": 2.0}), asked, final=False)
    assert set(verdicts(found).values()) == {"not shown"}


def test_an_arm_without_a_policy_is_named(make_points, asked):
    lost = [(number, "shuffled", dose) for number in range(24) for dose in (0.25, 0.5, 1.0, 2.0)]
    found = findings(make_points(lost=lost), asked)
    assert ("ondare", "shuffled") not in verdicts(found)
    assert "contrasts with shuffled: it left no policy" in found.missing


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, fill_question):
    from tests.written_sweep import WrittenSweep

    return fill_question(WrittenSweep(tmp_path_factory.mktemp("runs"), "demo"), families=("tiny-llama",), gain=1.6)


def read(folder, **changes):
    resolved = folder.sweep()["resolved"]
    return read_findings(folder, {**resolved, **changes}, folder.trials())


def test_a_folder_is_read_block_by_block(sweep):
    found = read(sweep)
    assert (len(found.blocks), found.left_out, found.missing) == (4, (), ())
    assert line(found, "ondare", "adamw", family="tiny-llama").estimate.value > 0.3
    rung = next(rung for rung in found.rungs if (rung.arm, rung.dose) == ("ondare", 1.5))
    assert rung.moved == pytest.approx({"travel": 0.015, "residual": 4.5})


def test_a_failed_run_leaves_its_block_out(sweep, make_trial):
    run = "tiny-llama-f0-b1-s1-adamw-x1"
    place = {"block": 1, "seed": 1, "sft_seed": 0, "dose": 1.0}
    lost = make_trial(run, state="failed", reward=None, tax=None, **place)
    trials = [*(t for t in sweep.trials() if t.trial_id != run), lost]
    found = read_findings(sweep, sweep.sweep()["resolved"], trials)
    assert found.left_out == (("tiny-llama", "0", "b1-s1"),)
    assert any("Left out" in note and "tiny-llama 0 b1-s1" in note for note in tables(found)[0].notes)


def test_an_interrupted_sweep_says_what_has_not_ended(sweep):
    trials = [t for t in sweep.trials() if "shuffled" not in t.trial_id]
    found = read_findings(sweep, sweep.sweep()["resolved"], trials)
    assert found.missing == ("no run of shuffled has ended",)
    assert tables(found) == []
    begun = [t for t in sweep.trials() if t.sft_seed == 0]
    half = read_findings(sweep, sweep.sweep()["resolved"], begun)
    assert half.missing[-1] == "verdicts: 2 of 4 blocks of tiny-llama have ended"
    assert set(verdicts(half).values()) == {"not shown"}


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("references/tiny-llama#1.parquet", "scores of SFT model 1 of tiny-llama are not in references/"),
        (
            "scores/tiny-llama-f0-b0-s0-ondare-x1.parquet",
            "the scores of tiny-llama-f0-b0-s0-ondare-x1 are not in scores/",
        ),
    ],
)
def test_scores_that_are_not_there_are_a_reason(sweep, file, reason):
    table = sweep.path / file
    aside = table.rename(table.with_suffix(".aside"))
    try:
        found = read(sweep)
    finally:
        aside.rename(table)
    assert not found.lines
    assert found.missing == (f"everything: {reason}",)
    assert plain(as_json(found, {}))["lines"] == []


def test_a_sweep_that_asks_nothing_finds_nothing(sweep):
    assert read(sweep, comparison=None) is None
