"""Curves by hand and against closed forms: places, areas, ways back, diverged runs."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from omsweep.results.comparison.curves import Curve, Path, curve_of, report_track
from omsweep.results.comparison.points import KL, REWARD, TAX, Arm


def curve(search, report=None, paths=None, positions=None):
    """A curve of readings (reward, tax) at its policies, the SFT model first, KL twice the tax."""
    table = np.array([[r, t, 2 * t] for r, t in search], dtype=float)
    read = table if report is None else np.array([[r, t, 2 * t] for r, t in report], dtype=float)
    places = tuple(range(len(table)))
    ways = [Path(columns=way, positions=tuple(range(len(way)))) for way in paths or []]
    ways = ways or [Path(columns=places, positions=tuple(positions or places))]
    return Curve(search=table, report=read[None, None], paths=ways, doses=(1.0,))


def position(found):
    return [place.position for place in found]


STRAIGHT = curve([(0, 0), (1, 2), (2, 4)])
DOSES = (0, 0.25, 0.5, 1, 2)
BENT = [(1 - np.exp(-1.5 * x), 5 * x**2) for x in DOSES]


def test_places_are_where_the_reading_has_the_level():
    assert position(STRAIGHT.at([0.0, 1.0, 2.0, 3.0, 4.0], TAX)) == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert position(STRAIGHT.at([1.5], REWARD)) == pytest.approx([1.5])
    with pytest.raises(ValueError, match=r"no path reaches \[4.5\], the curve ends at 4.0"):
        STRAIGHT.at([4.5], TAX)


def test_between_doses_the_curve_is_near_the_truth():
    """Places and readings of a run that was not made, dose 0.75 and 1.5, within 2 %."""
    bent = curve(BENT, positions=DOSES)
    for dose in (0.75, 1.5):
        (place,) = bent.at([5 * dose**2], TAX)
        assert place.position == pytest.approx(dose, rel=0.02)
        assert bent.searched([place])[0, REWARD] == pytest.approx(1 - np.exp(-1.5 * dose), rel=0.02)


def test_the_area_is_that_of_the_region_under_the_line():
    assert STRAIGHT.area(4.0) == pytest.approx(4 * 2 / 2)
    assert STRAIGHT.area(3.0) == pytest.approx(3 * 1.5 / 2)


def test_a_reading_that_falls_by_chance_is_made_rising():
    """The second dose costs less than the first by chance: both count as 3, and of the two the second has tax 3."""
    noisy = curve([(0, 0), (1, 3.2), (1.2, 2.8), (2, 6)])
    assert position(noisy.at([3.0], TAX)) == pytest.approx([2], abs=0.01)
    assert noisy.reach(TAX) == 6


def test_an_arm_that_costs_less_than_nothing_begins_where_it_costs_nothing():
    """Its reward at tax 0 is above 0, which the area counts from tax 0 on."""
    gain = curve([(0, 0), (1, -1), (2, 1)])
    assert gain.area(1.0)[0, 0] > curve([(0, 0), (1, 0.5), (2, 1)]).area(1.0)[0, 0]


def test_of_several_ways_the_one_with_most_reward_is_taken():
    two = curve([(0, 0), (1, 2), (2, 3)], paths=[(0, 1), (0, 2)])
    assert two.searched(two.at([2.0], TAX))[0, REWARD] == pytest.approx(4 / 3)
    assert two.searched(two.at([1.0], REWARD))[0, TAX] == pytest.approx(1.5)


def test_reading_at_a_level_makes_up_for_a_place_that_missed_it():
    """The report split's policies lie elsewhere on the same straight line: it is read at the level all the same."""
    missed = curve([(0, 0), (1, 2), (2, 4)], report=[(0, 0), (1.2, 2.4), (2.3, 4.6)])
    assert missed.read_at(3.0, TAX, REWARD) == pytest.approx(1.5)
    assert missed.read_at(1.5, REWARD, TAX) == pytest.approx(3.0)
    assert missed.read_at(6.0, KL, REWARD) == pytest.approx(1.5)


def test_the_area_hardly_depends_on_where_places_are_chosen():
    """Chosen with a search split 10 % off, the area changes by what 10 % squared would: both axes are the report's."""
    right = curve(BENT, positions=DOSES).area(4.0)[0, 0]
    off = curve([(r, 1.1 * t) for r, t in BENT], report=BENT, positions=DOSES).area(4.0)[0, 0]
    assert abs(off / right - 1) < 0.01


@pytest.fixture
def table(make_points):
    return make_points(scatter=0.0, sft_seeds=2, runs=2, reach={"ondare": 0.9})


@pytest.mark.parametrize(("arm", "tolerance"), [(Arm("adamw"), 0.01), (Arm("adamw", "path"), 0.01)])
def test_the_area_of_a_sweep_is_near_the_integral(table, arm, tolerance):
    """Of four doses, of which the last lies beyond the limit: within 1 %."""
    found = curve_of(table, arm, "one")
    exact = quad(lambda tax: 1 - np.exp(-1.5 * np.sqrt(tax / 5)), 0, 4)[0]
    assert found.area(4.0).shape == (4, 6)
    assert np.mean(found.area(4.0)[:, 0]) == pytest.approx(exact, rel=tolerance)


def test_an_arm_that_moves_less_has_the_same_area(table):
    adamw, ondare = (curve_of(table, Arm(label, "path"), "one").area(4.0)[:, 0].mean() for label in ("adamw", "ondare"))
    assert ondare == pytest.approx(adamw, rel=0.02)


def test_ways_back_begin_at_every_dose(table):
    found = curve_of(table, Arm("ondare", "path"), "two")
    assert [path.positions for path in found.paths] == [(0, 0.25, 0.5, 1, 2), *[(0, 0.25, 0.5, 0.75, 1)] * 4]
    assert found.paths[0].columns == (0, 4, 8, 12, 16)
    assert len(curve_of(table, Arm("ondare"), "two").paths) == 1


def test_a_shifted_arm_is_a_ladder_of_shifted_policies(table):
    shifted = replace(table, weight=np.where(table.grid == "path", np.nan, table.weight))
    kept = (shifted.grid == "") | (table.weight == 0.75)
    only = replace(
        shifted,
        block=tuple(b for b, k in zip(shifted.block, kept, strict=True) if k),
        **{name: getattr(shifted, name)[kept] for name in ("label", "dose", "grid", "weight", "search", "report")},
    )
    found = curve_of(only, Arm("adamw", "path"), "one")
    assert [path.columns for path in found.paths] == [(0, 1, 2, 3, 4)]
    assert found.search[3] == pytest.approx(
        table.search[(table.label == "adamw") & (table.dose == 1) & (table.weight == 0.75)][:4].mean(axis=0)
    )


def test_above_a_dose_that_diverged_somewhere_there_is_no_curve(make_points):
    found = curve_of(make_points(lost=[(0, "ondare", 2.0), (1, "ondare", 2.0)]), Arm("ondare"), "one")
    assert (found.doses, found.lost) == ((0.25, 0.5, 1.0), 2)
    whole = curve_of(make_points(), Arm("ondare"), "one")
    assert (whole.doses, whole.lost) == ((0.25, 0.5, 1.0, 2.0), 0)
    assert found.reach(TAX) < 9 < whole.reach(TAX)
    nothing = curve_of(make_points(lost=[(0, "ondare", 0.25)]), Arm("ondare"), "one")
    assert (nothing.doses, nothing.reach(TAX)) == ((), 0.0)


def test_what_is_drawn_runs_from_the_sft_model_to_the_limit(table):
    track = report_track(table, curve_of(table, Arm("adamw"), "one"), "one", 4.0)
    assert track[0].tolist() == [0, 0]
    assert track[-1, 0] == pytest.approx(4.0, rel=1e-3)
    assert (np.diff(track, axis=0) >= -1e-9).all()
