"""What a worker is declared to have: the file's word, else the family's."""

from omsweep.families.family import ModelFamily, Resources
from omsweep.space.resources import scorer_resources, worker_resources
from omsweep.space.schema import Evaluate, Train


def train(**settings: object) -> Train:
    return Train.model_validate(settings)


def family(**resources: float) -> ModelFamily:
    return ModelFamily(name="f", base="b", sft="s", resources=Resources(**resources))


def test_the_file_goes_before_the_family() -> None:
    usual = family(cpus=4, gpus=1, gpu_memory_gib=79)
    assert worker_resources(train(), usual) == usual.resources
    declared = train(resources_per_worker={"gpus": 2, "gpu_memory_gib": 40})
    assert worker_resources(declared, usual) == Resources(cpus=4, gpus=2, gpu_memory_gib=40)


def test_without_its_gpu_the_familys_gpu_memory_does_not_count() -> None:
    usual = family(gpus=1, gpu_memory_gib=79)
    assert worker_resources(train(resources_per_worker={"gpus": 0}), usual) == Resources(gpus=0)


def test_a_worker_that_only_scores_has_what_one_that_trains_has_unless_it_says() -> None:
    usual, trained = family(gpus=1, gpu_memory_gib=79), train(resources_per_worker={"cpus": 8})
    assert scorer_resources(Evaluate(), trained, usual) == Resources(cpus=8, gpus=1, gpu_memory_gib=79)
    own = Evaluate.model_validate({"workers": 1, "resources_per_worker": {"cpus": 2, "gpus": 0}})
    assert scorer_resources(own, trained, usual) == Resources(cpus=2, gpus=0)
