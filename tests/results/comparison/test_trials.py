"""From trial objects to points: agreement with the trial object's own numbers, blocks, merges, what is left out."""

import math

import numpy as np
import pandas as pd
import pytest

from omsweep.evaluation.statistics import reward_and_tax
from omsweep.results.comparison.items import item_readings, item_table
from omsweep.results.comparison.question import question_of
from omsweep.results.comparison.trials import read_points
from omsweep.store.records import TrialRecord

TASKS = {"sums": "math", "words": "math", "close": "code"}


def scores(seed, *, items=6, prompts=8, splits=("search", "report")):
    """A table of scores of both splits, rows in random order."""
    rng, rows = np.random.default_rng(seed), []
    for split in splits:
        for task, category in TASKS.items():
            for i in range(items + (2 if task == "words" else 0)):
                rows.append(
                    ("tax", task, category, f"{split}-{task}-{i}", split, "greedy", 0, rng.integers(2), math.nan)
                )
        for i in range(prompts):
            for sample in range(4):
                rows.append(
                    ("reward", "p", "reward", f"{split}-{i}", split, "sampled", sample, rng.normal(), rng.random())
                )
            rows.append(("reward", "p", "reward", f"{split}-{i}", split, "greedy", 0, rng.normal(), math.nan))
    columns = ["kind", "task", "category", "item_id", "split", "decoder", "sample", "score", "kl"]
    frame = pd.DataFrame(rows, columns=columns).assign(length=1.0, completion="", kl_sampled=0.0)
    frame["cluster"] = frame["item_id"]
    return frame.sample(frac=1.0, random_state=seed, ignore_index=True)


REFERENCE = scores(0)


def trial(trial_id, *, family="f", label="adamw", block=0, seed=0, sft_seed=0, state="completed", **more):
    place = {"family": family, "block": block, "seed": seed, "sft_seed": sft_seed, "dose": 1.0, "policy_path": "x"}
    return TrialRecord(trial_id=trial_id, label=label, method=label, state=state, **(place | more))


def merge(trial_id, parent, weight=0.5, state="completed", label="adamw+path"):
    point = {"posthoc": {"method": "linear", "weight": weight}}
    return TrialRecord(
        trial_id=trial_id, kind="posthoc", parent=parent, family="f", state=state, label=label, params=point
    )


def asked(*contrasts, ladder=(1.0,), weights=(0.5,), travel_of=None):
    """The question of a space with the branches adamw and ondare, and one grid, path or shift."""
    grid = {"method": "linear", "weights": list(weights), "travel_of": travel_of}
    return question_of(
        {
            "space": {"method": {"adamw": {}, "ondare": {}}},
            "design": {"ladder": list(ladder)},
            "posthoc": {"path": grid},
            "comparison": {
                "contrasts": contrasts or [["ondare", "adamw"]],
                "tax_limit": 4,
                "delta": 0.1,
                "baseline": "adamw",
            },
        }
    )


PATHS = asked(["ondare", "adamw + path"])


def read(trials, question=None, table=lambda trial_id: scores(sum(trial_id.encode()))):
    return read_points(trials, table, lambda family, sft_seed: REFERENCE, question or asked())


@pytest.mark.parametrize("split", ["search", "report"])
def test_readings_agree_with_the_trial_object(split):
    policy = scores(1)
    found = item_readings(policy, item_table(REFERENCE, split, 4), split)[0]
    own, theirs = (frame[frame["split"] == split] for frame in (policy, REFERENCE))
    expected = reward_and_tax(own, theirs)
    assert found == pytest.approx([expected["reward"], expected["tax"], expected["kl"]])


def test_readings_without_a_group_are_those_of_the_other_items():
    policy = scores(1)
    found = item_readings(policy, item_table(REFERENCE, "report", 3), "report")
    assert found.shape == (4, 3)
    for group in range(3):
        kept = [
            not (split == "report" and int(item.rsplit("-", 1)[1]) % 3 == group)
            for item, split in zip(policy["item_id"], policy["split"], strict=True)
        ]  # below ten items of a task, ids in order are numbers in order
        own, theirs = policy[kept], REFERENCE[REFERENCE["item_id"].isin(policy["item_id"][kept])]
        expected = reward_and_tax(own[own["split"] == "report"], theirs[theirs["split"] == "report"])
        assert found[1 + group] == pytest.approx([expected["reward"], expected["tax"], expected["kl"]])


@pytest.mark.parametrize(("kind", "known"), [("reward", [True, False, True]), ("tax", [False, True, False])])
def test_readings_of_one_kind_of_rows_alone(kind, known):
    """NaN is what was not scored."""
    policy, reference = (frame[frame["kind"] == kind] for frame in (scores(1), REFERENCE))
    found = item_readings(policy, item_table(reference, "search", 4), "search")
    assert np.isfinite(found).tolist() == [known] * len(found)


def test_no_more_groups_than_the_smallest_task_allows():
    assert item_table(REFERENCE, "report", 20).tax_weights.shape == (7, 20)
    assert item_table(scores(0, items=1), "report", 20).tax_weights.shape[0] == 1


def test_a_passage_is_in_one_group_of_the_jackknife():
    """60 passages with 8 questions: dealt item by item, the groups claim 3.2 points, the truth is 4.1."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"item_id": [f"{i:03d}" for i in range(480)], "cluster": [f"{i // 8}" for i in range(480)]})
    frame = frame.assign(kind="tax", task="reading", category="reading", split="report", decoder="greedy", kl=math.nan)

    def reading():
        known = rng.normal(0.57, 0.15, (2, 60, 1)).clip(0, 1)
        policy, reference = (rng.random((2, 60, 8)) < known) * 1.0
        return item_readings(frame.assign(score=(policy - reference).ravel()), table, "report")[:, 1]

    table = item_table(frame.assign(score=0.0), "report", 20)
    found = np.array([reading() for _ in range(300)])
    claimed = np.sqrt(found[:, 1:].var(axis=1) * 19)
    assert claimed.mean() == pytest.approx(found[:, 0].std(), rel=0.1)
    assert np.mean(np.abs(found[:, 0]) < 1.729 * claimed) == pytest.approx(0.9, abs=0.05)  # t, 19 degrees of freedom


def test_tables_from_before_clusters_are_read_item_by_item():
    without, own = (item_table(frame, "report", 3) for frame in (REFERENCE.drop(columns="cluster"), REFERENCE))
    assert (without.tax_weights == own.tax_weights).all()
    assert (without.reward_weights == own.reward_weights).all()


def test_the_sft_model_reads_nothing():
    assert item_readings(REFERENCE, item_table(REFERENCE, "report", 3), "report")[:, :2] == pytest.approx(0)


def test_what_was_not_scored_is_missing():
    only_tax = REFERENCE[REFERENCE["kind"] == "tax"]
    found = item_readings(only_tax, item_table(only_tax, "report", 3), "report")
    assert np.isnan(found[:, [0, 2]]).all()
    assert np.isfinite(found[:, 1]).all()


def test_a_score_that_is_no_number_is_no_reward():
    policy = scores(1)
    policy.loc[(policy["decoder"] == "sampled").idxmax(), "score"] = math.nan
    found = [item_readings(policy, item_table(REFERENCE, s, 3), s)[0, 0] for s in ("search", "report")]
    assert np.isnan(found).sum() == 1


def test_other_items_are_refused():
    with pytest.raises(ValueError, match="3 items of split report are in one table only, such as"):
        item_readings(scores(1, items=5), item_table(REFERENCE, "report", 3), "report")


def test_merges_join_their_parents_block_label_and_dose():
    trials = [trial("a", dose=2.0), trial("o", label="ondare", dose=2.0), merge("a+1", "a", 0.25)]
    points = read(trials, asked(["ondare", "adamw + path"], ladder=(2.0,)))
    assert points.blocks == (("f", "0", "b0-s0"),)
    assert points.label.tolist() == ["adamw", "ondare", "adamw"]
    assert points.grid.tolist() == ["", "", "path"]
    assert (points.dose.tolist(), points.weight.tolist()) == ([2.0] * 3, [1.0, 1.0, 0.25])
    assert points.report.shape == (3, 7, 3)


def test_a_shift_is_on_no_way_back():
    question = asked(["ondare", "adamw + path"], weights=(), travel_of="ondare")
    points = read([trial("a"), trial("o", label="ondare"), merge("a+0", "a", 0.02)], question)
    assert np.isnan(points.weight).tolist() == [False, False, True]


@pytest.mark.parametrize("state", ["completed", "failed"])
def test_merges_that_nothing_compares_are_not_read(state):
    assert read([trial("a"), trial("o", label="ondare"), merge("a+0", "a", state=state)]).grid.tolist() == ["", ""]


def test_blocks_are_families_sft_seeds_blocks_and_seeds():
    runs = [("f", 0, 0, 0), ("f", 0, 0, 1), ("f", 0, 1, 0), ("f", 1, 0, 0), ("g", 0, 0, 0)]
    trials = [
        trial(f"{label}{n}", label=label, family=f, sft_seed=sft, block=b, seed=s)
        for n, (f, sft, b, s) in enumerate(runs)
        for label in ("adamw", "ondare")
    ]
    assert len(read(trials).blocks) == 5


def test_a_diverged_run_leaves_the_block_a_failed_one_does_not():
    trials = [trial("a"), trial("o", label="ondare", state="diverged", policy_path=None)]
    points = read(trials)
    assert (points.label.tolist(), points.blocks, points.left_out) == (["adamw"], (("f", "0", "b0-s0"),), ())
    more = [*trials, trial("a1", seed=1), trial("o1", label="ondare", seed=1, state="failed"), trial("a2", seed=2)]
    found = read(more)
    assert (found.left_out, found.unfinished) == ((("f", "0", "b0-s1"),), (("f", "0", "b0-s2"),))
    with pytest.raises(ValueError, match="no block of 1 is complete in"):
        read([trial("a"), trial("o", label="ondare"), merge("x", "a", state="failed")], PATHS)


def test_a_block_without_all_doses_is_left_out():
    trials = [trial("a"), trial("a2", dose=2.0), trial("o", label="ondare")]
    question = asked(ladder=(1.0, 2.0))
    with pytest.raises(ValueError, match="no block of 1 is complete"):
        read(trials, question)
    assert len(read([*trials, trial("o2", label="ondare", dose=2.0)], question).label) == 4


def test_baselines_of_a_search_are_passed_over():
    assert len(read([trial("a"), trial("o", label="ondare"), trial("z", baseline=True)]).block) == 2


def test_a_merge_without_its_parent_is_refused():
    with pytest.raises(ValueError, match="parent a of merged trial x is not among the trials"):
        read([merge("x", "a")])


def test_the_sft_models_table_is_asked_for_once_for_each_sft_seed():
    wanted = []

    def reference(family, sft_seed):
        wanted.append((family, sft_seed))
        return REFERENCE

    trials = [trial("a"), trial("b", seed=1), trial("c", sft_seed=1)]
    trials += [trial(f"o{t.trial_id}", label="ondare", seed=t.seed, sft_seed=t.sft_seed) for t in trials]
    read_points(trials, lambda trial_id: scores(1), reference, asked())
    assert wanted == [("f", 0), ("f", 1)]


def merged_blocks(counts, **more):
    """Blocks of adamw and ondare, the AdamW run of each with that many of two merges."""
    trials = []
    for block, count in enumerate(counts):
        trials += [trial(f"a{block}", block=block), trial(f"o{block}", block=block, label="ondare")]
        trials += [merge(f"a{block}+{i}", f"a{block}", 0.25 * (i + 1)) for i in range(count)]
    return [one.model_copy(update=more) if one.label == "ondare" else one for one in trials]


TWO = asked(["ondare", "adamw + path"], weights=(0.25, 0.5))


def test_a_block_with_merges_missing_is_left_out():
    """As after an interruption while merges are made: a run's grid counts once it is whole."""
    points = read(merged_blocks([2, 1, 0]), TWO)
    assert points.blocks == (("f", "0", "b0-s0"),)
    assert points.unfinished == (("f", "0", "b1-s0"), ("f", "0", "b2-s0"))
    assert len(read(merged_blocks([2, 1, 0])).blocks) == 3


def test_a_diverged_run_has_no_merges_to_miss():
    first, *others = merged_blocks([0, 2])
    alone = [first.model_copy(update={"state": "diverged", "policy_path": None}), *others]
    assert len(read(alone, TWO).blocks) == 2


def test_no_shift_is_missed_where_the_branch_that_says_how_far_diverged():
    """Such a block shortens the shifted arm's curve; left out, the blocks in which the tested arm diverged would go."""
    question = asked(["ondare", "adamw + path"], weights=(), travel_of="ondare")
    diverged = trial("o", label="ondare", state="diverged", policy_path=None)
    assert len(read([trial("a"), diverged], question).blocks) == 1
    with pytest.raises(ValueError, match="no block of 1 is complete"):
        read([trial("a"), trial("o", label="ondare")], question)


def test_a_policy_without_a_reward_costs_its_block_and_is_named():
    trials = merged_blocks([2, 2])

    def table(trial_id):
        made = scores(sum(trial_id.encode()))
        if trial_id == "a1+1":
            made.loc[(made["decoder"] == "sampled").idxmax(), "score"] = math.nan
        return made

    points = read(trials, TWO, table)
    assert (points.unread, points.left_out) == (("a1+1",), (("f", "0", "b1-s0"),))
    assert len(points.label) == 4
    with pytest.raises(ValueError, match=r"without reward or tax: a1\+1"):
        read([one for one in trials if "0" not in one.trial_id[:2]], TWO, table)
