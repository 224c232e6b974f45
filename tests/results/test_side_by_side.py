"""Sweeps beside each other: one reference point, what differs, and what is refused."""

import pytest

from omsweep.results.side_by_side import side_by_side
from omsweep.results.view import read_view
from tests.written_sweep import WrittenSweep


@pytest.fixture
def sweep(tmp_path, make_trial, make_space):
    def made(name, points, **changes):
        folder = WrittenSweep(tmp_path / "runs", name)
        folder.create(make_space(**({"families": ["tiny-llama"]} | changes)))
        folder.write_reference("tiny-llama", {"scores": {"math": 0.5}, "reward_absolute": changes.get("sft", 1.0)})
        for trial_id, (reward, tax) in points.items():
            folder.append(make_trial(trial_id, reward=reward, tax=tax))
        return read_view(folder)

    return made


def test_fronts_up_to_one_reference_point(sweep):
    one = sweep("one", {"a": (1.0, 5.0), "b": (0.2, 1.0)})
    other = sweep(
        "two", {"a": (2.0, 15.0), "c": (0.1, 2.0)}, objectives={"reference_point": {"reward": 0.0, "tax": 10.0}}
    )
    found = side_by_side([one, other])
    assert [(f.sweep, f.scored, f.members, f.on_common_front) for f in found.fronts] == [
        ("one", 2, ["b", "a"], ["b", "a"]),
        ("two", 2, ["c", "a"], ["a"]),
    ]
    assert [f.hypervolume for f in found.fronts] == [pytest.approx(15 + 4 * 0.2), pytest.approx(5 * 2 + 13 * 0.1)]
    assert found.cautions[0].startswith(
        "The sweeps have different reference points; hypervolumes here are up to reward 0 and tax 20"
    )
    assert found.view.labels == ["one", "two"]
    assert found.differences["objectives.reference_point.tax"] == ["20", "10"]


def test_later_scores_on_the_report_split_come_along(sweep, tmp_path):
    sweep("one", {"a": (1.0, 5.0)})
    folder = WrittenSweep(tmp_path / "runs", "three")
    assert not folder.exists()
    one, other = (read_view(WrittenSweep(tmp_path / "runs", "one")), sweep("two", {"b": (2.0, 5.0)}))
    assert [trial.trial_id for trial in side_by_side([one, other]).view.trials] == ["one:a", "two:b"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objectives": {"tax": "tax_worst"}}, r"differ in objectives.tax \(tax and tax_worst\)"),
        ({"evaluate": {"tax": "tiny", "reward": "length"}}, r"differ in evaluate.reward \(tiny and length\)"),
        ({"evaluate": {"tax": "tiny", "reward": "tiny", "limit": 9}}, r"differ in evaluate.limit \(– and 9\)"),  # noqa: RUF001
    ],
    ids=["objective", "scorer", "items"],
)
def test_what_measured_something_else_is_refused(sweep, changes, said):
    views = [sweep("one", {"a": (1.0, 1.0)}), sweep("two", {"a": (1.0, 1.0)}, **changes)]
    with pytest.raises(ValueError, match=said):
        side_by_side(views)


def test_how_it_was_scored_does_not_matter(sweep):
    evaluate = {"tax": "tiny", "reward": "tiny", "workers": 2, "report_split": "all", "batch_size": 8}
    assert side_by_side([sweep("one", {"a": (1.0, 1.0)}), sweep("two", {"a": (1.0, 1.0)}, evaluate=evaluate)]).fronts


@pytest.mark.parametrize("count", [1, 2])
def test_one_sweep_alone_is_refused(sweep, count):
    view = sweep("one", {"a": (1.0, 1.0)})
    with pytest.raises(ValueError, match="--compare takes two or more different sweeps, got one"):
        side_by_side([view] * count)


def test_settings_that_are_the_same_are_not_listed(sweep):
    views = [
        sweep("one", {"a": (1.0, 1.0)}),
        sweep("two", {"a": (1.0, 1.0)}, train={"steps": 50, "batch_size": 32, "workers": 1}),
    ]
    assert side_by_side(views).differences == {"train.steps": ["100", "50"]}


def test_another_sft_model_is_said(sweep, tmp_path):
    one = sweep("one", {"a": (1.0, 1.0)})
    folder = WrittenSweep(tmp_path / "runs", "two")
    sweep("two", {"a": (1.0, 1.0)})
    other = read_view(folder)
    changed = {"tiny-llama": {**other.references["tiny-llama"], "reward_absolute": 2.0}}
    from dataclasses import replace

    said = side_by_side([one, replace(other, references=changed)]).cautions
    assert "The SFT model of tiny-llama is another one in one and two: gains are over different models." in said
