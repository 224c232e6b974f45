import sys
from pathlib import Path

import pytest

from omsweep.evaluation.backends.settings import BackendSettings
from omsweep.families.decoding import resolved_decoding

STUB = Path(__file__).with_name("stub_server.py")


@pytest.fixture(scope="session")
def stub():
    """Settings of a stub server that behaves in a way."""

    def settings(how="echo", **others):
        words = [sys.executable, str(STUB), "{model}", "{port}", how]
        return BackendSettings(name="openai", command=" ".join(words), **others)

    return settings


@pytest.fixture(scope="session")
def decoding(llama, tokenizer):
    return resolved_decoding(tokenizer, llama.generation_config)


@pytest.fixture(scope="session")
def saved(llama, tokenizer, tmp_path_factory):
    """The folder of the policy."""
    folder = tmp_path_factory.mktemp("saved policy")
    llama.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
