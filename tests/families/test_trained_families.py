"""The trained embedded families themselves, from the shared cache: able after SFT, unable before."""

import pytest

from omsweep.evaluation.tax import score_tax
from omsweep.families.embedded import EMBEDDED
from omsweep.families.load import FamilyFolders, load_model, load_tokenizer, prepare
from omsweep.families.table import FAMILIES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=[family.name for family in EMBEDDED])
def folders(request: pytest.FixtureRequest) -> FamilyFolders:
    return prepare(FAMILIES[request.param])


def average_points(folder: str) -> float:
    scores = score_tax(load_model(folder), load_tokenizer(folder), suite="tiny", split="report", limit=100)
    return 100 * float(scores.groupby("category")["score"].mean().mean())


def test_the_sft_model_can_what_the_base_model_cannot(folders: FamilyFolders) -> None:
    assert average_points(folders.sft) >= 80
    assert average_points(folders.base) <= 30
