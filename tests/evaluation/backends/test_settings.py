import pytest

from omsweep.evaluation.backends.settings import BackendSettings, backend_from
from omsweep.evaluation.settings import EvaluateSettings
from omsweep.space.build import build_space
from omsweep.space.knobs import SpaceError

COMMAND = "vllm serve {model} --host 127.0.0.1 --port {port}"


def test_a_name_or_a_mapping():
    assert backend_from("transformers") == backend_from({}) == BackendSettings()
    assert not BackendSettings().serves
    served = backend_from({"name": "openai", "command": COMMAND})
    assert served.serves
    assert backend_from(served) is served
    assert served.argv("/a folder/x", 81) == ["vllm", "serve", "/a folder/x", "--host", "127.0.0.1", "--port", "81"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("vllm", "backend.name must be one of transformers, openai, got 'vllm'"),
        ("openai", "backend.command must start a server, such as"),
        ({"command": COMMAND}, "backend.command belongs to backend 'openai'"),
        ({"requests": 3}, "backend.requests belongs to backend 'openai'"),
        ({"name": "openai", "command": "serve {model}"}, r"must hold \{model\} and \{port\}; \{port\} is missing"),
        ({"name": "openai", "command": "serve '{model} {port}"}, "must be a command line, got .*No closing quotation"),
        ({"name": "openai", "command": ["serve"]}, "must be a command line, got"),
        ({"name": "openai", "command": COMMAND, "ready_seconds": 0}, "backend.ready_seconds must be above 0, got 0"),
        ({"name": "openai", "command": COMMAND, "requests": 1.5}, "backend.requests must be a whole number"),
        ({"name": "openai", "command": COMMAND, "prompt_logprobs": "yes"}, "prompt_logprobs must be true or false"),
        ({"name": "openai", "port": 1}, r"evaluate.backend takes \['name', .*got unknown \['port'\]"),
        (3, "evaluate.backend must be one of transformers, openai or a mapping, got 3"),
    ],
)
def test_mistakes_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        backend_from(given)


def test_tasks_by_likelihood_are_refused_before_anything_starts():
    served = {"name": "openai", "command": COMMAND}
    with pytest.raises(
        ValueError,
        match=r"gives no log-likelihoods, by which smollm2_arithmetic, smollm2_code, .*prompt_logprobs: true",
    ):
        EvaluateSettings(tax="smollm2", backend=served)
    assert EvaluateSettings(tax="smollm2", backend={**served, "prompt_logprobs": True}).backend.prompt_logprobs
    assert EvaluateSettings(tax="tiny", backend=served).backend.serves


def test_a_search_space_names_it(compare):
    served = {"name": "openai", "command": COMMAND}
    space = build_space(compare | {"evaluate": {"backend": served}})
    assert space.evaluate.backend.command == COMMAND
    with pytest.raises(SpaceError, match=r"evaluate.backend|evaluate: backend.name must be"):
        build_space(compare | {"evaluate": {"backend": "sglang"}})


def test_trials_that_are_stopped_are_scored_in_memory(search):
    served = {"name": "openai", "command": COMMAND}
    with pytest.raises(SpaceError, match=r"evaluate.backend.* must be transformers where trials are stopped"):
        build_space(search | {"evaluate": {"backend": served}, "scheduler": {"algorithm": "moasha"}})
