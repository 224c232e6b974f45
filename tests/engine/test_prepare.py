"""What the engine asks of the tasks that make things ready, and what is refused once the SFT models are scored."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from omsweep.engine.placement import Worker
from omsweep.engine.prepare import check_tax, of_data, prepare_all
from omsweep.plan.design import draw
from omsweep.space.build import build_space
from omsweep.store.records import Prepared, Scores
from tests.stub_work import STUB

READ = {"source": "preferences mine", "kind": "paired", "records": 4, "taken": 3, "unread": ()}
READ |= {"dropped": {"the prompt is empty": 1}, "first": {"the prompt is empty": 2}}
FOUND = {"source": "preferences mine", "prompts": 3, "items": 9, "same": 0, "overlapping": 1, "examples": ()}


def test_log_probs_are_spread_over_a_trials_workers_and_overlaps_are_said(
    compare: dict[str, Any], tmp_path: Path, local_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare, folder = STUB.prepare, str(tmp_path)

    def prepared(wanted: Any, progress: Any) -> Any:
        models, frame = prepare(wanted, progress)
        return models.model_copy(update={"contamination": (FOUND | {"listed": ""},), "records": (READ,)}), frame

    def note(wanted: Any, models: Any, progress: Any, *, part: int, parts: int) -> int:
        [(_, [(_, readings), *_])] = wanted.sources
        (Path(folder) / f"{wanted.family.name}-{part}-of-{parts}").write_text(str(len(readings)))
        return 0

    compare["space"]["algorithm"] = "dpo"
    compare["families"] = ["tiny-llama", "tiny-qwen2"]
    compare["train"] = {"steps": 2, "batch_size": 8, "workers": 2}
    compare["design"] = {"blocks": 3}
    space = build_space(compare)
    work = dataclasses.replace(STUB, prepare=prepared, reference=note)
    ready = prepare_all(space, draw(space), dict.fromkeys(space.family_names, Worker(cpus=0.5)), Console(), work)
    noted = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert noted == {f"{name}-{part}-of-2": "3" for name in compare["families"] for part in range(2)}
    shown = capsys.readouterr().out
    assert shown.count("preferences mine: of 3 prompts 0 are the same") == 1
    assert shown.count("preferences mine: 4 records, 3 taken") == shown.count("1  dropped: the prompt is empty") == 1
    assert shown.count("tiny-llama: reference log-probs cached") == 1
    assert of_data(ready, "contamination") == [FOUND | {"listed": ""}]


def prepared(**numbers: float) -> Prepared:
    return Prepared(base="b", sft="s", weights_hash="0", dtype="float32", reference=Scores(**numbers))


@pytest.mark.parametrize("tax", ["tax_regressed", "tax_worst"])
def test_a_tax_that_the_items_cannot_give_is_refused(tax: str) -> None:
    check_tax("tax", prepared(tax=0.0))
    check_tax(tax, prepared(tax=0.0, **{tax: 0.0}))
    with pytest.raises(ValueError, match=f"objectives.tax: {tax} is corrected for item noise, and a task of the tax"):
        check_tax(tax, prepared(tax=0.0))
