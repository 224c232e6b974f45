"""Whether a search space varies what its study is about. Torch-free."""

from collections.abc import Mapping, Sequence

from omsweep.space.branches import Branch
from omsweep.space.crossing import alive
from omsweep.space.knobs import Fixed, Knob, SpaceError
from omsweep.space.schema import SpaceFile
from omsweep.space.studies import STUDIES, Study

PATH = "report.study"


def check_study(file: SpaceFile, shared: Mapping[str, Knob], branches: Sequence[Branch]) -> None:
    """A study needs equal draws for all levels of its axis, and two levels under some method; raises SpaceError."""
    if file.report.study is None:
        return
    study = STUDIES[file.report.study]
    if file.mode != "compare":
        raise SpaceError(PATH, f"{study.name!r} needs mode: compare, which gives every level the same draws")
    if file.design is not None and file.design.ladder:
        raise SpaceError(PATH, f"{study.name!r} shows one run of a recipe in a block, and design.ladder trains several")
    if study.axis == "label":
        if len(branches) < 2:
            raise SpaceError(PATH, "'methods' compares the branches of space.method, and there is one")
        return
    for branch in branches:
        for name in filter(None, (study.axis, study.also)):
            knob = alive(branch, shared).get(name)
            if isinstance(knob, Fixed) and isinstance(knob.value, Mapping):
                raise SpaceError(
                    PATH, f"{study.name!r} needs one number of {name} per run, and {branch.label} has by_name"
                )
    if not _varies(study, shared, branches):
        raise SpaceError(
            PATH,
            f"{study.name!r} needs two levels of {study.axis} within a block, and no method here has them: give"
            f" {study.axis} as {{choice: [...]}} and name it in design.cross, or give it in branches of one method",
        )


def _varies(study: Study, shared: Mapping[str, Knob], branches: Sequence[Branch]) -> bool:
    """Whether some method has branches with different fixed values of the axis."""
    levels: dict[str, set[str]] = {}
    for branch in branches:
        knobs = alive(branch, shared)
        for name in (study.axis, study.also):
            if isinstance(knob := knobs.get(name or ""), Fixed):
                levels.setdefault(branch.method, set()).add(f"{name} {knob.value!r}")
    return any(len(values) > 1 for values in levels.values())
