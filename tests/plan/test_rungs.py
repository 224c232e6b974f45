"""The order at a rung and who is beaten there: against a naive reading of the definition, and what must not matter."""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest

from omsweep.plan.rungs import Arrivals, places, rank_correlation
from omsweep.store.state import Rung

REFERENCE = (4.0, 0.0)


def rung(
    tax: float,
    reward: float,
    *,
    tax_noise: Sequence[float] = (0.0,),
    reward_noise: Sequence[float] = (0.0,),
    constraints: Sequence[float] = (),
) -> Rung:
    return Rung(0, 8, reward, tax, tuple(reward_noise), tuple(tax_noise), tuple(constraints))


def arrived(rungs: Sequence[Rung], noise: float = 1.0) -> Arrivals:
    arrivals = Arrivals(noise, REFERENCE)
    for number, one in enumerate(rungs):
        arrivals.add(f"t{number}", one)
    return arrivals


def some_rungs(draw: random.Random) -> list[Rung]:
    """Whole numbers, few of them: equal trials, equal areas, differences of exactly as much as the noise."""
    return [
        rung(
            draw.randint(-1, 5),
            draw.randint(-1, 4),
            tax_noise=[draw.choice((0, 0, 1, -1)) for _ in range(2)],
            reward_noise=[draw.choice((0, 0, 0, 1, -1)) for _ in range(3)],
            constraints=[draw.choice((-1, -1, -1, 0, 1, 2))],
        )
        for _ in range(draw.randint(1, 9))
    ]


def norm(numbers: Sequence[float]) -> float:
    return math.sqrt(sum(one * one for one in numbers))


def error(one: Sequence[float], other: Sequence[float]) -> float:
    return norm([a - b for a, b in zip(one, other, strict=True)])


def area(points: Sequence[tuple[float, float]]) -> float:
    """Of the unit squares below the reference point that some point dominates."""
    return float(
        sum(any(x <= i and y <= j for x, y in points) for i in range(-1, int(REFERENCE[0])) for j in range(-4, 0))
    )


class BruteForce:
    """The rule in words, one loop for each."""

    def __init__(self, rungs: Sequence[Rung], noise: float) -> None:
        self.rungs, self.noise = rungs, noise

    def violation(self, i: int) -> float:
        return sum(one for one in self.rungs[i].constraints if one > 0)

    def learnt(self, i: int) -> bool:
        return self.rungs[i].reward > self.noise * norm(self.rungs[i].reward_noise)

    def point(self, i: int) -> tuple[float, float]:
        return self.rungs[i].tax, -self.rungs[i].reward

    def dominates(self, i: int, j: int) -> bool:
        a, b = self.point(i), self.point(j)
        return a != b and a[0] <= b[0] and a[1] <= b[1]

    def key(self, i: int) -> tuple[float, ...]:
        if self.violation(i):
            return 2, self.violation(i), 0, i
        if not self.learnt(i):
            return 1, -self.rungs[i].reward, 0, i
        left = [j for j in range(len(self.rungs)) if self.learnt(j) and not self.violation(j)]
        for front in range(len(self.rungs)):
            members = [j for j in left if not any(self.dominates(k, j) for k in left)]
            if i in members:
                points = [self.point(j) for j in members]
                rest = [self.point(j) for j in members if j != i]
                return 0, front, area(rest) - area(points), i
            left = [j for j in left if j not in members]
        raise AssertionError("every trial is on a front")

    def order(self) -> list[int]:
        return sorted(range(len(self.rungs)), key=self.key)

    def beaten(self, i: int) -> bool:
        mine, feasible = self.rungs[i], [j for j in range(len(self.rungs)) if not self.violation(j)]
        if self.violation(i):
            return bool(feasible)
        if not self.learnt(i) and -mine.reward > self.noise * norm(mine.reward_noise):
            return True
        for j in feasible:
            other = self.rungs[j]
            reward = other.reward - mine.reward
            beyond = reward > 0 and reward > self.noise * error(other.reward_noise, mine.reward_noise)
            if self.learnt(i):
                tax = mine.tax - other.tax
                beyond = beyond and tax > 0 and tax > self.noise * error(other.tax_noise, mine.tax_noise)
            if beyond:
                return True
        return False


def test_the_rule_is_brute_force_on_ten_thousand_random_rungs() -> None:
    draw = random.Random(0)
    beaten = 0
    for _ in range(10_000):
        rungs, noise = some_rungs(draw), draw.choice((0.0, 1.0, 1.64))
        arrivals, slow, last = arrived(rungs, noise), BruteForce(rungs, noise), len(rungs) - 1
        order = slow.order()
        assert arrivals.order().tolist() == order
        assert arrivals.place(last) == order.index(last)
        assert (arrivals.beaten(last) is not None) == slow.beaten(last)
        beaten += slow.beaten(last)
    assert 2_000 < beaten < 8_000


def test_the_order_of_those_before_does_not_matter() -> None:
    draw = random.Random(1)
    for _ in range(300):
        *before, last = some_rungs(draw)
        one = arrived([*before, last])
        draw.shuffle(before)
        other = arrived([*before, last])
        assert one.place(len(before)) == other.place(len(before))
        assert (one.beaten(len(before)) is None) == (other.beaten(len(before)) is None)


def test_a_low_tax_without_a_reward_comes_last_and_is_beaten_by_a_reward() -> None:
    idle = rung(-1.0, 0.1, reward_noise=[0.2])
    good = rung(3.0, 1.0, reward_noise=[0.1])
    arrivals = arrived([good, idle])
    assert arrivals.order().tolist() == [0, 1]
    beaten = arrivals.beaten(1)
    assert beaten is not None
    assert beaten.by == 0
    assert "reward by 0.9" in beaten.why
    assert arrived([rung(0.5, 0.9), rung(-1.0, 0.5)]).beaten(1) is None  # it has learnt, and pays less tax


def test_a_harmful_trial_is_beaten_by_the_sft_model() -> None:
    beaten = arrived([rung(1.0, -1.0, reward_noise=[0.2])]).beaten(0)
    assert beaten is not None
    assert beaten.by is None
    assert arrived([rung(1.0, -0.1, reward_noise=[0.2])]).beaten(0) is None


def test_noise_that_both_have_does_not_count() -> None:
    """Two trials that miss the same items differ by less noise than either has."""
    shared = [3.0, -3.0, 2.0]
    best, worse = rung(0.0, 5.0, tax_noise=shared, reward_noise=[0.1]), rung(1.0, 4.0, tax_noise=shared)
    assert arrived([best, worse._replace(reward_noise=(0.1,))]).beaten(1) is not None
    other = worse._replace(tax_noise=(-3.0, 3.0, 2.0), reward_noise=(0.1,))
    assert arrived([best, other]).beaten(1) is None


def test_trials_on_other_items_are_refused() -> None:
    arrivals = arrived([rung(0.0, 1.0)])
    with pytest.raises(ValueError, match="other items"):
        arrivals.add("b", rung(0.0, 1.0, tax_noise=[0.0, 0.0]))


def test_places_are_those_of_the_order() -> None:
    draw = random.Random(2)
    for _ in range(100):
        rungs = some_rungs(draw)
        arrivals = arrived(rungs)
        found = places(rungs, 1.0, REFERENCE)
        assert found.tolist() == [arrivals.place(i) for i in range(len(rungs))]
        assert sorted(found) == list(np.arange(len(rungs)))


def test_rank_correlation_is_spearmans() -> None:
    chain = [rung(0.0, 1.0 + number) for number in range(5)]
    assert rank_correlation(chain, chain, 1.0, REFERENCE) == 1.0
    assert rank_correlation(chain, chain[::-1], 1.0, REFERENCE) == -1.0
    swapped = [chain[1], chain[0], *chain[2:]]
    assert rank_correlation(chain, swapped, 1.0, REFERENCE) == pytest.approx(0.9)
    assert rank_correlation(chain[:2], chain[:2], 1.0, REFERENCE) is None
