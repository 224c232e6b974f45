"""What a report reads from a sweep's folder."""

import pytest

from omsweep.report.write import write_front
from omsweep.results.view import read_view


def test_families_and_labels_keep_the_spaces_order(folder, make_trial, make_space):
    folder.create(make_space())
    for label, family in (("extra", "own"), ("onties", "tiny-qwen2"), ("adamw", "tiny-llama")):
        folder.append(make_trial(f"{family}-{label}", label=label, family=family))
    view = read_view(folder)
    assert view.families == ["tiny-llama", "tiny-qwen2", "own"]
    assert view.labels == ["adamw", "onties", "extra"]


def test_controls_and_merges_stand_after_their_branch(folder, make_trial, make_space):
    folder.create(make_space())
    for label, kind in (("onties", "real"), ("ondare+b", "real"), ("ondare+a", "flipped"), ("adamw+a", "real")):
        folder.append(make_trial(f"{label}-{kind}", label=label, task_vector=kind))
    for label, kind in (("ondare", "flipped"), ("ondare", "real"), ("adamw", "real")):
        folder.append(make_trial(f"{label}-{kind}", label=label, task_vector=kind))
    assert read_view(folder).labels == [
        *("adamw", "adamw+a", "ondare", "ondare+b", "ondare/flipped", "ondare+a/flipped", "onties"),
    ]


def test_a_space_with_one_fixed_method_and_own_families(folder, make_trial, make_space):
    space = make_space(families=[{"name": "own", "base": "b", "sft": "s"}])
    space["space"] = space["space"] | {"method": "adamw"}
    folder.create(space)
    folder.append(make_trial("a", family="own"))
    view = read_view(folder)
    assert (view.families, view.labels) == (["own"], ["adamw"])


def test_settings_leave_out_what_has_columns_of_its_own(folder, make_trial, make_space):
    folder.create(make_space())
    folder.append(make_trial("a", params={"trial_id": "a", "family": "x", "beta": 0.1, "nested": {"k": 1}}))
    assert read_view(folder).settings == {"a": {"beta": 0.1, "nested.k": 1}}


def test_report_scores_survive_the_next_reading(demo):
    first, second = (member["trial_id"] for member in read_view(demo).summary["members"][:2])
    demo.rescored(first, reward=0.4, reward_se_items=0.05, tax=1.5)
    write_front(demo)
    demo.rescored(second, reward=0.6, tax=2.5)
    demo.front_json.unlink()  # the log is where they are
    members = {member["trial_id"]: member for member in read_view(demo).summary["members"]}
    assert (members[first]["reward_report"], members[first]["reward_report_se_items"]) == (0.4, 0.05)
    assert (members[second]["reward_report"], members[second]["tax_report"]) == (0.6, 2.5)


def test_a_folder_without_a_sweep_is_named(folder):
    with pytest.raises(FileNotFoundError, match="no sweep in .*demo"):
        read_view(folder)
