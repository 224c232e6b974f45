"""Levels of a crossed knob are branches that meet the same draws; a study names an axis that varies within a block."""

from collections import Counter, defaultdict
from typing import Any, get_args

import pytest

from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError
from omsweep.space.schema import Report
from omsweep.space.studies import STUDIES
from tests.space_files import drawn

LEVELS = [1e-3, 1e-2, 0.1]


@pytest.fixture
def crossed(compare: dict[str, Any]) -> dict[str, Any]:
    """Three levels of beta in six blocks; `mine` fixes its own beta."""
    compare["space"]["beta"] = {"choice": LEVELS}
    compare["space"]["method"]["mine"]["beta"] = 0.05
    compare["design"] |= {"cross": ["beta"]}
    return compare


def test_every_level_is_a_branch_of_its_own(crossed: dict[str, Any]) -> None:
    labels = [branch.label for branch in build_space(crossed).branches]
    assert labels == [
        *("adamw-beta-0.001", "adamw-beta-0.01", "adamw-beta-0.1"),
        *("ondare-beta-0.001", "ondare-beta-0.01", "ondare-beta-0.1"),
        "mine",
    ]


def test_levels_of_a_block_share_all_other_draws(crossed: dict[str, Any]) -> None:
    blocks: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for sample in drawn(build_space(crossed)):
        if sample["method"] == "ondare" and sample["label"] != "mine":
            blocks[sample["family"], sample["block"], sample["seed"]].append(sample)
    assert len(blocks) == 24
    for samples in blocks.values():
        assert [s["beta"] for s in samples] == LEVELS
        assert len({(s["learning_rate"], s["algorithm"], s["density"], s["tau_travel"]) for s in samples}) == 1


def test_crossing_changes_no_other_draw(crossed: dict[str, Any]) -> None:
    plain = {**crossed, "design": {**crossed["design"], "cross": []}}
    places = [
        {(s["family"], s["block"], s["seed"], s["density"]) for s in drawn(build_space(content)) if "density" in s}
        for content in (plain, crossed)
    ]
    assert places[0] == places[1]


def test_two_crossed_knobs_make_a_grid(crossed: dict[str, Any]) -> None:
    crossed["space"]["algorithm"] = {"choice": ["dpo", "kto"]}
    crossed["design"]["cross"] = ["algorithm", "beta"]
    labels = Counter(sample["label"] for sample in drawn(build_space(crossed)))
    assert labels["adamw-kto-beta-0.01"] == 24
    assert labels["mine-dpo"] == 24
    assert len(labels) == 2 * 3 * 2 + 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"design": {"cross": ["gamma"]}}, "design.cross.0: 'gamma' is not drawn by any method"),
        ({"design": {"cross": ["learning_rate"]}}, "design.cross.0: 'learning_rate' is drawn from a range"),
        ({"design": {"cross": ["beta", "beta"]}}, "design.cross: must not repeat a knob"),
        ({"report": {"study": "density"}}, "report.study: 'density' needs two levels of density within a block"),
        ({"report": {"study": "alpha"}}, "report.study: 'alpha' needs two levels of alpha"),
        ({"report": {"study": "beta"}, "design": {}}, "report.study: 'beta' needs two levels of beta within a block"),
        ({"report": {"study": "speed"}}, "report.study: must be 'beta', 'alpha', "),
        ({"report": {"studies": "beta"}}, "report.studies: unknown key 'studies'; allowed: study"),
    ],
)
def test_what_cannot_be_crossed_or_studied_is_said(
    crossed: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpaceError) as caught:
        build_space(crossed | change)
    assert message in str(caught.value)


def test_a_study_takes_one_number_a_run(compare: dict[str, Any]) -> None:
    compare["space"]["method"] = {
        "adamw": {},
        "ondare": {"semantics": "equations", "alpha": 1e-4},
        "parts": {"method": "ondare", "semantics": "equations", "alpha": {"by_name": {"*norm*": 0.0, "*": 1e-4}}},
    }
    with pytest.raises(
        SpaceError, match=r"report.study: 'alpha' needs one number of alpha per run, and parts has by_name"
    ):
        build_space(compare | {"report": {"study": "alpha"}})


def test_a_level_may_be_none(crossed: dict[str, Any]) -> None:
    crossed["space"]["method"]["ondare"] = {"semantics": "equations", "alpha": 0.01, "clip": {"choice": [None, 1.0]}}
    crossed["design"]["cross"] = ["clip"]
    labels = [branch.label for branch in build_space(crossed).branches]
    assert {"ondare-clip-none", "ondare-clip-1"} <= set(labels)


def test_a_study_needs_equal_draws(search: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match=r"^report\.study: 'methods' needs mode: compare"):
        build_space(search | {"report": {"study": "methods"}})


@pytest.mark.parametrize(
    ("study", "ondare"),
    [
        ("alpha", {"alpha": {"choice": [1e-4, 1e-3]}}),
        ("alpha", {"tau_travel": {"choice": [0.01, 0.1]}}),
        ("density", {"density": {"choice": [0.5, 1.0]}}),
        ("gap_steps", {"gap_steps": {"choice": [1, 5]}}),
    ],
)
def test_a_knob_of_one_method_is_crossed_under_it_alone(
    compare: dict[str, Any], study: str, ondare: dict[str, Any]
) -> None:
    compare["space"]["method"] = {"adamw": {}, "ondare": {"semantics": "equations", **ondare}}
    compare |= {"design": {"blocks": 1, "cross": list(ondare)}, "report": {"study": study}}
    assert [branch.origin for branch in build_space(compare).branches] == ["adamw", "ondare", "ondare"]


def test_what_is_merged_after_training_is_merged_at_every_level(crossed: dict[str, Any]) -> None:
    crossed["posthoc"] = {"back": {"method": "linear", "weights": [0.5], "of": ["adamw", "mine"]}}
    (grid,) = build_space(crossed).posthoc
    assert grid.of == ("adamw-beta-0.001", "adamw-beta-0.01", "adamw-beta-0.1", "mine")
    crossed["posthoc"] = {"shift": {"method": "tau_shift", "weights": [], "travel_of": "ondare"}}
    with pytest.raises(SpaceError, match=r"^posthoc\.shift\.travel_of: must be a branch without levels"):
        build_space(crossed)


def test_levels_may_be_written_as_branches(compare: dict[str, Any]) -> None:
    compare["space"]["method"] = {"low": {"method": "adamw", "beta": 0.01}, "high": {"method": "adamw", "beta": 0.1}}
    compare["report"] = {"study": "beta"}
    assert build_space(compare).file.report.study == "beta"


def test_the_schema_lists_the_studies_there_are() -> None:
    literal = get_args(Report.model_fields["study"].annotation)[0]
    assert get_args(literal) == tuple(STUDIES)
