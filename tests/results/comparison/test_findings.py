"""Findings: agreement with the comparison's own functions, planted effects and nulls, and what is missing."""

import math

import numpy as np
import pytest

from omsweep.pareto import attainment
from omsweep.report.comparison_tables import tables
from omsweep.results.comparison.arms import block_values, choices, matched_kl
from omsweep.results.comparison.clusters import block_mean, pseudo_values
from omsweep.results.comparison.components import variance_components
from omsweep.results.comparison.detectable import Design, smallest_detectable_effect
from omsweep.results.comparison.findings import findings
from omsweep.results.comparison.headline import compare, judged
from omsweep.results.comparison.measures import MEASURES, Limits
from omsweep.results.comparison.points import Arm, Points
from omsweep.results.comparison.question import question_of
from omsweep.results.comparison.reading import as_json, read_findings
from omsweep.results.objectives import Objectives
from omsweep.strict_json import plain

OBJECTIVES = Objectives(reference_tax=20.0)
LABELS = ("adamw", "ondare", "shuffled/permuted")
GROUPS = 5


def points(*, gains=(1.0, 1.0, 1.0), sft_seeds=3, runs=4, families=("one", "two"), scatter=0.03, seed=0, kl=True):
    """Arms on one curve, the reward of each `gains` times as high: a run moves x, a merge of weight w lies at w x."""
    rng, rows = np.random.default_rng(seed), []
    for family in families:
        for block in ((family, str(s), f"b0-s{r}") for s in range(sft_seeds) for r in range(runs)):
            x = math.exp(0.1 * rng.normal())
            for label, gain in zip(LABELS, gains, strict=True):
                for weight in (1.0, 0.75, 0.5, 0.25):
                    at = weight * x
                    mean = np.array([gain * (1 - math.exp(-1.5 * at)), 5 * at**2, 12 * at**2 if kl else math.nan])
                    noise = scatter * rng.normal(size=(GROUPS + 1, 3)) * [1.0, 5.0, 5.0]
                    rows.append((block, label, weight < 1, mean + noise[0], mean + noise[1:]))
    groups = np.stack([row[4] for row in rows])
    return Points(
        block=tuple(row[0] for row in rows),
        label=np.array([row[1] for row in rows]),
        merged=np.array([row[2] for row in rows]),
        search=np.stack([row[3] for row in rows]),
        report=groups.mean(axis=1),
        report_without=(GROUPS * groups.mean(axis=1, keepdims=True) - groups) / (GROUPS - 1),
    )


@pytest.fixture(scope="module")
def asked(make_question_space):
    return question_of(make_question_space())


@pytest.fixture(scope="module")
def table():
    return points()


@pytest.fixture(scope="module")
def found(table, asked):
    return findings(table, asked, OBJECTIVES)


A, B, C, D = Arm("adamw"), Arm("adamw", merged=True), Arm("ondare"), Arm("ondare", merged=True)
CONTROL = Arm("shuffled/permuted", merged=True)
PAIRS = [(C, A), (C, B), (D, B), (D, CONTROL)]


def test_the_lines_are_those_of_compare_judged_together(found, table):
    kl = matched_kl(table, ["adamw", "ondare"])
    limits = {family: Limits(tax=4.0, kl=kl[family], reference_tax=20.0) for family in ("one", "two")}
    grids = [pair for pair in PAIRS if all(arm.merged for arm in pair)]
    both = ["reward_at_tax", "attainment_area"]
    expected = judged(
        [*compare(table, PAIRS, limits, measures=both), *compare(table, grids, limits, measures=["reward_at_kl"])]
    )
    key = lambda line: (line.measure, line.arm, line.against, line.family)  # noqa: E731
    assert sorted([*found.headline, *found.controls], key=key) == sorted(expected, key=key)
    assert len(found.headline) == 3 * (3 * 2 + 1)
    assert {(line.arm, line.against) for line in found.controls} == {(D.name, CONTROL.name)}
    assert found.limits == limits


def test_the_arms_are_those_of_choices_and_block_mean(found, table):
    arms = [A, B, C, D, CONTROL]
    assert [arm.choice for arm in found.arms] == choices(table, arms, found.limits)
    (second,) = [arm for arm in found.arms if (arm.choice.family, arm.choice.arm) == ("two", D.name)]
    inside = [i for i, block in enumerate(table.blocks) if block[0] == "two"]
    areas = block_values(table, D, MEASURES["attainment_area"], found.limits)[inside]
    assert second.hypervolume == block_mean(areas, [table.blocks[i] for i in inside])
    assert 0 <= second.front_probability <= 1


def test_half_of_the_blocks_attain_the_surface(found, table):
    (arm,) = [arm for arm in found.arms if (arm.choice.family, arm.choice.arm) == ("one", B.name)]
    runs = []
    for index, block in enumerate(table.blocks):
        if block[0] == "one":
            mine = table.report[B.members(table) & (table.block_index == index)]
            runs.append(np.concatenate([mine[:, [1, 0]] * [1.0, -1.0], [[0.0, 0.0]]]))
    assert arm.surface[:, 1].min() >= 0
    assert (attainment(runs, arm.surface * [1.0, -1.0]) >= 0.5).all()


def test_the_scatter_and_the_smallest_effect_are_those_of_the_differences(found, table):
    limits = found.limits
    first, second = (block_values(table, arm, MEASURES["reward_at_tax"], limits) for arm in (D, B))
    by_family = {}
    for family in ("one", "two"):
        inside = [i for i, block in enumerate(table.blocks) if block[0] == family]
        differences = pseudo_values(first - second)[inside]
        by_family[family] = variance_components(differences, [table.blocks[i][1] for i in inside])
    spreads = {s.family: s for s in found.spreads if (s.arm, s.against) == (D.name, B.name)}
    assert {family: spreads[family].components for family in by_family} == by_family
    mean = spreads["all families"].components
    assert mean.residual == pytest.approx(np.mean([c.residual for c in by_family.values()]))
    design = Design(sft_seeds=3, runs=4, items=GROUPS, families=2, comparisons=2 * len(PAIRS))
    assert spreads["all families"].detectable == smallest_detectable_effect(design, mean)
    assert spreads["one"].detectable is None


def verdicts(found, measure="reward_at_tax", family="all families"):
    lines = [*found.headline, *found.controls]
    return {(c.arm, c.against): c.verdict for c in lines if (c.measure, c.family) == (measure, family)}


def test_arms_on_one_curve_are_not_told_apart(found):
    assert verdicts(found)[D.name, B.name] == "not shown"
    assert verdicts(found)[D.name, CONTROL.name] == "not shown"
    assert verdicts(found, "attainment_area")[D.name, B.name] == "not shown"


def test_a_planted_gain_is_found_and_a_planted_loss(asked):
    gained = verdicts(findings(points(gains=(1.0, 1.6, 1.0)), asked, OBJECTIVES))
    assert gained[D.name, B.name] == gained[D.name, CONTROL.name] == "better"
    lost = verdicts(findings(points(gains=(1.0, 0.6, 0.6)), asked, OBJECTIVES))
    assert lost[D.name, B.name] == "worse"
    assert lost[D.name, CONTROL.name] == "not shown"


def test_a_gain_smaller_than_what_can_be_seen_is_not_shown(asked):
    found = findings(points(gains=(1.0, 1.03, 1.0), scatter=0.3), asked, OBJECTIVES)
    assert set(verdicts(found).values()) == {"not shown"}
    assert all(s.detectable > 0.03 for s in found.spreads if s.detectable is not None)


def test_one_family_is_its_own_primary_row(asked):
    found = findings(points(families=("one",)), asked, OBJECTIVES)
    assert {line.family for line in found.headline} == {"one"}
    assert all(spread.detectable > 0 for spread in found.spreads)


def test_several_online_branches_share_the_error(make_question_space):
    table = points()
    methods = {"adamw": {}, "ondare": {"alpha": 0.1}, "shuffled/permuted": {"method": "onties", "alpha": 0.1}}
    asked = question_of(make_question_space(methods=methods))
    found = findings(table, asked, OBJECTIVES)
    assert {(line.arm, line.against) for line in found.headline} >= {(D.name, B.name), (CONTROL.name, B.name)}
    assert len(found.headline) == 2 * 3 * (3 * 2 + 1)
    assert not found.controls
    assert max(line.adjusted_p for line in found.headline) == 1.0


def test_one_run_gives_numbers_without_intervals_or_verdicts(asked):
    found = findings(points(sft_seeds=1, runs=1, gains=(1.0, 3.0, 1.0)), asked, OBJECTIVES)
    assert {line.verdict for line in found.headline} == {"not shown"}
    assert found.spreads == []
    assert all(arm.front_probability is None for arm in found.arms)
    row = tables(found)[0].texts[2]
    assert row[4].startswith("+")
    assert row[4].endswith("not shown")


def test_with_one_sft_seed_runs_are_the_units(asked):
    found = findings(points(sft_seeds=1, runs=6), asked, OBJECTIVES)
    assert {line.estimate.outermost for line in found.headline if line.both_sft < line.blocks} == {"run"}
    known = [arm for arm in found.arms if arm.choice.sft_chosen < arm.choice.blocks]
    assert len(known) > 2
    assert all(arm.front_probability is not None for arm in known)
    assert "over runs" in tables(found)[0].notes[1]


def test_without_kl_the_other_measures_are_shown(asked):
    found = findings(points(kl=False), asked, OBJECTIVES)
    assert {line.measure for line in found.headline} == {"reward_at_tax", "attainment_area"}
    assert any("the KL to the SFT model of the trained runs of one is not known" in said for said in found.missing)
    assert as_json(found, {})["kl_limits"] is None


def test_an_arm_without_a_policy_is_named(asked, table):
    kept = table.label != "ondare"
    left = Points(
        block=tuple(block for block, keep in zip(table.block, kept, strict=True) if keep),
        label=table.label[kept],
        merged=table.merged[kept],
        search=table.search[kept],
        report=table.report[kept],
        report_without=table.report_without[kept],
        blocks=table.blocks,
    )
    found = findings(left, asked, OBJECTIVES)
    assert (list(found.headline), list(found.controls)) == ([], [])
    assert "comparisons with ondare: no run in a complete block ended with a policy" in found.missing


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, fill_question):
    from omsweep.store.folder import SweepFolder

    return fill_question(SweepFolder(tmp_path_factory.mktemp("runs"), "demo"), families=("tiny-llama",), gain=1.6)


def read(folder, **changes):
    resolved = folder.sweep()["resolved"]
    return read_findings(folder, {**resolved, **changes}, folder.trials())


def test_a_folder_is_read_block_by_block(sweep):
    found = read(sweep)
    assert (len(found.blocks), found.left_out, found.missing) == (4, (), ())
    lines = {(line.arm, line.against): line for line in found.headline if line.measure == "reward_at_tax"}
    assert lines[D.name, B.name].estimate.value > 0.2
    assert lines[D.name, B.name].candidates == (4.0, 4.0)


def test_a_failed_run_leaves_its_block_out(sweep, make_trial):
    lost = make_trial("tiny-llama-f0-b1-s1-adamw", state="failed", reward=None, tax=None, block=1, seed=1, sft_seed=0)
    trials = [*(t for t in sweep.trials() if t.trial_id != lost.trial_id), lost]
    found = read_findings(sweep, sweep.sweep()["resolved"], trials)
    assert found.left_out == (("tiny-llama", "0", "b1-s1"),)
    assert any("Left out" in note and "tiny-llama 0 b1-s1" in note for note in tables(found)[0].notes)


def test_an_interrupted_sweep_says_what_has_not_ended(sweep):
    trials = [t for t in sweep.trials() if "shuffled" not in t.trial_id]
    found = read_findings(sweep, sweep.sweep()["resolved"], trials)
    assert found.headline
    assert not found.controls
    assert "comparisons with shuffled/permuted: no run has ended" in found.missing
    nothing = read_findings(sweep, sweep.sweep()["resolved"], [])
    assert nothing.missing == ("comparisons with adamw, ondare, shuffled/permuted: no run has ended",)
    assert tables(nothing) == []


def test_a_control_that_never_meets_its_branch_is_not_compared(sweep):
    trials = [t for t in sweep.trials() if ("shuffled" in t.trial_id) == (t.block == 1) or "adamw" in t.trial_id]
    found = read_findings(sweep, sweep.sweep()["resolved"], trials)
    assert "ondare against shuffled/permuted: never in one block; give the control a branch of its own" in found.missing
    assert len(found.blocks) == 2


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("references/tiny-llama#1.parquet", "scores of SFT model 1 of tiny-llama are not in references/"),
        ("scores/tiny-llama-f0-b0-s0-ondare.parquet", "the scores of tiny-llama-f0-b0-s0-ondare are not in scores/"),
    ],
)
def test_scores_that_are_not_there_are_a_reason(sweep, file, reason):
    table = sweep.path / file
    aside = table.rename(table.with_suffix(".aside"))
    try:
        found = read(sweep)
    finally:
        aside.rename(table)
    assert not found.headline
    assert found.missing == (f"everything: {reason}",)


def test_policies_scored_on_one_split_are_a_reason(sweep):
    found = read(sweep, evaluate={"report_split": "front"})
    assert found.missing == ("everything: policies must be scored on both splits (evaluate.report_split: all)",)
    assert plain(as_json(found, {}))["headline"] == []


def test_a_sweep_that_asks_nothing_finds_nothing(sweep):
    assert read(sweep, objectives={"reward": "reward", "tax": "tax"}) is None


def test_where_both_arms_chose_the_sft_model_nothing_was_compared(asked):
    """Every run costs more than t = 4: run against run is the SFT model against itself, grid against grid is not."""
    made = points(scatter=0.0)
    made.search[~made.merged, 1] = 9.0
    found = findings(made, asked, OBJECTIVES)
    (line,) = [
        c for c in found.headline if (c.measure, c.family, c.arm, c.against) == ("reward_at_tax", "one", C.name, A.name)
    ]
    assert (line.both_sft, line.estimate.value, line.verdict) == (12, 0.0, "not shown")
    assert math.isnan(line.estimate.standard_error)
    rows = {(row[0], row[1]): row for row in tables(found)[0].texts}
    assert rows["(c) ondare \u2212 (a) adamw", "one"][3:5] == ["12 of 12", "nothing compared"]
    assert rows["(d) ondare + offline \u2212 (b) adamw + offline", "one"][3] == "0 of 12"
    assert (C.name, A.name) not in {(spread.arm, spread.against) for spread in found.spreads}
    assert {arm.choice.arm for arm in found.arms if arm.front_probability is None} == {A.name, C.name}


def test_all_families_have_no_interval_where_one_alone_repeats_sft_seeds(asked):
    one, other = points(families=("one",)), points(families=("two",), sft_seeds=1, runs=12)
    names = ("label", "merged", "search", "report", "report_without")
    made = Points(
        block=(*one.block, *other.block),
        **{name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in names},
    )
    found = findings(made, asked, OBJECTIVES)
    together = [line for line in found.headline if line.family == "all families"]
    assert together
    assert {line.estimate.parts for line in together} == {()}
    assert {line.verdict for line in together} == {"not shown"}
    assert any("only one has more than one SFT seed" in said for said in found.missing)
    assert all(c.estimate.parts for c in found.headline if c.family != "all families" and c.both_sft < c.blocks)


def test_runs_are_compared_as_they_are(asked):
    """Whatever their tax: here every run is beyond t, where the choice leaves the SFT model alone."""
    made = points(gains=(1.0, 1.2, 1.0))
    made.search[~made.merged, 1] = 9.0
    found = findings(made, asked, OBJECTIVES)
    assert {(line.arm, line.against) for line in found.runs} == {(C.name, A.name), (C.name, CONTROL.label)}
    for column, name in enumerate(("run_reward", "run_tax", "run_kl")):
        run = {label: made.report[(made.label == label) & ~made.merged, column] for label in ("ondare", "adamw")}
        (line,) = [c for c in found.runs if (c.measure, c.family, c.against) == (name, "all families", A.name)]
        assert line.estimate.value == pytest.approx((run["ondare"] - run["adamw"]).mean())
        assert line.estimate.outermost == "sft_seed"
    (table,) = [table for table in tables(found) if table.title == "Run against run"]
    assert [row[1] for row in table.texts] == 2 * ["all families"] + 2 * ["one"] + 2 * ["two"]
    assert table.texts[0][2].startswith("+0.1")
    assert "shown" not in str(table.texts)
    assert {line.measure for line in findings(points(kl=False), asked, OBJECTIVES).runs} == {"run_reward", "run_tax"}
