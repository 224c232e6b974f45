"""What is refused once the SFT models are scored and before anything is trained."""

import pytest

from omsweep.engine.prepare import check_tax
from omsweep.store.records import Prepared, Scores


def prepared(**numbers: float) -> Prepared:
    return Prepared(base="b", sft="s", weights_hash="0", dtype="float32", reference=Scores(**numbers))


@pytest.mark.parametrize("tax", ["tax_regressed", "tax_worst"])
def test_a_tax_that_the_items_cannot_give_is_refused(tax: str) -> None:
    check_tax("tax", prepared(tax=0.0))
    check_tax(tax, prepared(tax=0.0, **{tax: 0.0}))
    with pytest.raises(ValueError, match=f"objectives.tax: {tax} is corrected for item noise, and a task of the tax"):
        check_tax(tax, prepared(tax=0.0))
