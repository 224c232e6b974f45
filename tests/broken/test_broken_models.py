"""Broken model folders: used as good ones are, or refused with a sentence of ours, never with a foreign exception."""

import random
import shutil
from pathlib import Path

import pytest

from omsweep.families.folder import check_causal, stored_dtype
from omsweep.families.load import empty_model, load_generation_config, load_model, load_tokenizer, weights_hash
from omsweep.families.tiny.architecture import random_family
from omsweep.merging.offline import merge
from omsweep.optim.task_vector_inspection import inspect_task_vector
from tests.broken.models import MUTATIONS

SEEDS = range(100)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / request.param
    return random_family(folder, request.param, hidden_size=16, intermediate_size=16)


def use(folder: Path, base: Path, *, checked: bool) -> None:
    """What preparation, an inspection, a merge and a trial do with an SFT model; the check comes first."""
    if checked:
        check_causal(folder, answers=True)
        stored_dtype(folder)
    weights_hash(str(folder))
    inspect_task_vector(base, folder)
    merge(base, [folder], "linear", [0.5])
    load_tokenizer(str(folder))
    load_generation_config(str(folder))
    empty_model(str(folder))
    load_model(str(folder))


def test_a_good_folder_passes(good: Path) -> None:
    use(good, good, checked=True)


@pytest.mark.parametrize("checked", [True, False])
def test_it_works_or_is_refused_in_our_words(good: Path, tmp_path: Path, checked: bool) -> None:
    foreign: dict[int, object] = {}
    refused = 0
    for seed in SEEDS:
        rng, folder = random.Random(seed), tmp_path / str(seed)
        shutil.copytree(good, folder)
        mutations = rng.sample(MUTATIONS, rng.choice([1, 1, 1, 2, 3]))
        try:
            for mutate in mutations:
                mutate(folder, rng)
            use(folder, good, checked=checked)
        except ValueError as error:
            refused += 1
            if type(error) is not ValueError or not str(error) or "\n" in str(error):
                foreign[seed] = (mutations, repr(error))
        except BaseException as error:
            foreign[seed] = (mutations, repr(error))
        shutil.rmtree(folder)
    assert not foreign
    assert refused > len(SEEDS) // 2
