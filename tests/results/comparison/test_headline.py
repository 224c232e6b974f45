"""The headline's lines on sweeps by hand: values, arms, fallbacks, verdicts, and what must not change them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from omsweep.results.comparison.arms import choices, matched_kl
from omsweep.results.comparison.headline import compare, judged
from omsweep.results.comparison.measures import Limits
from omsweep.results.comparison.points import Arm, headline_pairs

LIMITS = Limits(tax=2.0, kl=5.0, reference_tax=10.0)
BLOCKS = [(f, s, f"{s}{r}") for f in ("x", "y") for s in "012" for r in "ab"]


def sweep(make_points, gain, *, groups=0, noise=0.0):
    """Every block alike: AdamW too dear for the limit, its merge within it; online cheaper, with `gain` more reward."""
    rows = []
    for number, block in enumerate(BLOCKS):
        wobble = 0.01 * ((7 * number) % 5)
        for label, more in (("adamw", 0.0), ("ondare", gain + wobble)):
            run, merge = [1.0 + more, 3.0 - more, 8.0], [0.6 + more, 1.5 - more, 4.0]
            rows += [(block, label, False, run, run), (block, label, True, merge, merge)]
    return make_points(rows, groups=groups, noise=noise)


def by_line(comparisons):
    return {(c.measure, c.family, c.arm, c.against): c for c in comparisons}


def test_the_three_questions():
    names = [(arm.name, against.name) for arm, against in headline_pairs("onties", "sgd")]
    assert names == [("onties", "sgd"), ("onties", "sgd + offline"), ("onties + offline", "sgd + offline")]


def test_differences_by_hand(make_points):
    lines = by_line(compare(sweep(make_points, 0.1), headline_pairs("ondare"), LIMITS))
    assert len(lines) == 3 * 3 * 3
    wobble = np.mean([0.01 * ((7 * n) % 5) for n in range(12)])
    at_tax = {pair: lines["reward_at_tax", "all families", *pair].estimate.value for pair in [k[2:] for k in lines]}
    assert at_tax["ondare", "adamw"] == 0.0  # both runs exceed t: the SFT model is compared with itself
    assert at_tax["ondare", "adamw + offline"] == pytest.approx(-0.6)
    assert at_tax["ondare + offline", "adamw + offline"] == pytest.approx(0.1 + wobble)
    area = lines["attainment_area", "all families", "ondare", "adamw"].estimate
    expected = np.mean([(7 + m) * (1 + m) - 7 for m in (0.1 + 0.01 * ((7 * n) % 5) for n in range(12))])
    assert area.value == pytest.approx(expected)


def test_candidates_are_counted_without_the_sft_model(make_points):
    lines = by_line(compare(sweep(make_points, 0.1), headline_pairs("ondare"), LIMITS))
    assert lines["reward_at_kl", "x", "ondare", "adamw + offline"].candidates == (1, 2)
    assert lines["reward_at_kl", "x", "ondare", "adamw + offline"].blocks == 6


def test_choices_say_who_fell_back_and_who_exceeds(make_points):
    table = {(c.family, c.arm): c for c in choices(sweep(make_points, 0.1), [Arm("adamw"), Arm("adamw", True)], LIMITS)}
    assert table["x", "adamw"].sft_chosen == 6
    assert (table["x", "adamw"].reward, table["x", "adamw"].tax) == (0.0, 0.0)
    merged = table["y", "adamw + offline"]
    assert (merged.sft_chosen, merged.over_limit, merged.candidates, merged.blocks) == (0, 0, (2, 2), 6)
    assert (merged.reward, merged.tax, merged.kl) == pytest.approx((0.6, 1.5, 4.0))


def test_tax_beyond_the_limit_on_the_report_split_is_counted(make_points):
    rows = [(("x", "0", r), "adamw", False, [1, 1.9, 1], [0.9, tax, 1]) for r, tax in (("a", 2.5), ("b", 1.0))]
    found = choices(make_points(rows), [Arm("adamw")], LIMITS)[0]
    assert (found.over_limit, found.sft_chosen) == (1, 0)


def test_an_arm_that_diverged_in_a_block_is_the_sft_model_there(make_points):
    whole = sweep(make_points, 0.1)
    gone = (whole.label == "ondare") & np.array([block == BLOCKS[0] for block in whole.block])
    rows = [
        (block, label, merged, search, report)
        for block, label, merged, search, report, out in zip(
            whole.block, whole.label, whole.merged, whole.search, whole.report, gone, strict=True
        )
        if not out
    ]
    pair = headline_pairs("ondare")[2:]
    line = compare(make_points(rows, blocks=BLOCKS), pair, LIMITS, measures=["reward_at_tax"])[0]
    before = compare(whole, pair, LIMITS, measures=["reward_at_tax"])[0]
    assert line.blocks == before.blocks == 6
    assert line.estimate.value == pytest.approx(before.estimate.value - 0.7 / 6)
    assert line.candidates == (10 / 6, 2)


def test_a_gain_in_every_block_is_shown_and_none_is_not(make_points):
    pairs = headline_pairs("ondare")[2:]
    for gain, expected in ((0.3, "better"), (-0.3, "worse")):
        lines = judged(compare(sweep(make_points, gain, groups=10, noise=0.001), pairs, LIMITS))
        assert (
            by_line(lines)["reward_at_tax", "all families", "ondare + offline", "adamw + offline"].verdict == expected
        )
    rows = [(b, label, False, [1, 1, 1], [1, 1, 1]) for b in BLOCKS for label in ("adamw", "ondare")]
    lines = judged(compare(make_points(rows), headline_pairs("ondare"), LIMITS))
    assert {line.verdict for line in lines} == {"not shown"}


def test_the_primary_line_is_held_to_less(make_points):
    lines = judged(compare(sweep(make_points, 0.1, groups=10, noise=0.2), headline_pairs("ondare"), LIMITS))
    primary = by_line(lines)["reward_at_tax", "all families", "ondare + offline", "adamw + offline"]
    assert primary.adjusted_p < 27 * primary.estimate.p_value
    assert judged([]) == []


def test_swapping_arms_turns_the_sign(make_points):
    points = sweep(make_points, 0.1, groups=6, noise=0.1)
    pairs = headline_pairs("ondare")
    forward, backward = compare(points, pairs, LIMITS), compare(points, [pair[::-1] for pair in pairs], LIMITS)
    for one, other in zip(forward, backward, strict=True):
        assert other.estimate.value == pytest.approx(-one.estimate.value)
        assert other.estimate.standard_error == pytest.approx(one.estimate.standard_error, nan_ok=True)


def test_limits_may_differ_by_family(make_points):
    points = sweep(make_points, 0.1)
    wide = {"x": LIMITS, "y": replace(LIMITS, tax=9.0)}
    lines = by_line(compare(points, headline_pairs("ondare"), wide, measures=["reward_at_tax"]))
    assert lines["reward_at_tax", "x", "ondare", "adamw + offline"].estimate.value < 0
    assert lines["reward_at_tax", "y", "ondare", "adamw + offline"].estimate.value > 0


def test_matched_kl_is_the_median_of_the_runs(make_points):
    rows = [(("x", "0", str(k)), "adamw", k > 2, [1, 1, k], [1, 1, 0]) for k in range(5)]
    assert matched_kl(make_points(rows), ["adamw"]) == {"x": 1.0}


def test_what_cannot_be_read_is_named(make_points):
    points = sweep(make_points, 0.1)
    with pytest.raises(ValueError, match="no policy is labelled 'della', there are"):
        compare(points, headline_pairs("della"), LIMITS)
    rows = [(b, label, False, [1, 1, math.nan], [1, 1, math.nan]) for b in BLOCKS for label in ("adamw", "ondare")]
    without_kl = make_points(rows)
    assert compare(without_kl, headline_pairs("ondare"), LIMITS, measures=["reward_at_tax", "attainment_area"])
    with pytest.raises(ValueError, match="kl is missing for policies of ondare: reward_at_kl cannot be read"):
        compare(without_kl, headline_pairs("ondare"), LIMITS)
