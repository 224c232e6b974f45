"""The container file and what is sent to whoever builds it."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy/Containerfile").read_text()
STEPS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", TEXT, flags=re.M)).splitlines()
    if line
]
SENT = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]


def steps(instruction: str) -> list[str]:
    return [rest for name, rest in STEPS if name == instruction]


def test_every_line_is_an_instruction() -> None:
    assert {name for name, _ in STEPS} == {"FROM", "ARG", "RUN", "COPY", "ENV", "USER", "WORKDIR", "CMD"}
    assert steps("FROM") == ["python:3.11-slim"]


def test_dependencies_are_the_locked_ones_with_an_index_of_ones_choice() -> None:
    assert "CUDA_INDEX=" in steps("ARG")
    (locked,) = [step for step in steps("RUN") if "requirements.lock" in step]
    assert '--extra-index-url "$CUDA_INDEX"' in locked
    (own,) = [step for step in steps("RUN") if step.endswith(" /opt/omsweep")]
    assert "--no-deps" in own


def test_nothing_runs_as_root() -> None:
    assert steps("USER") == ["ray"]
    names = [name for name, _ in STEPS]
    assert "RUN" not in names[names.index("USER") :]
    assert any("useradd --uid 1000" in step for step in steps("RUN"))  # the user of the manifests


def test_it_holds_no_secret_and_asks_for_a_token() -> None:
    settings = dict(re.findall(r"(\w+)=(\S*)", " ".join(steps("ENV") + steps("ARG"))))
    assert settings["RAY_AUTH_MODE"] == "token"
    assert settings["RAY_TRAIN_ENABLE_STATE_TRACKING"] == "1"
    assert not [name for name in settings if re.search("TOKEN|PASSWORD|SECRET|KEY", name)]


def test_only_what_the_image_needs_is_sent() -> None:
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert all((ROOT / name).exists() for name in SENT)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"requirements.lock", "pyproject.toml", project["readme"], *project["license-files"], "omsweep"} <= set(SENT)
    assert not {".git", "tests", "runs", ".cache"} & set(SENT)


@pytest.mark.parametrize("source", [step.split()[0] for step in steps("COPY")])
def test_what_is_copied_is_sent(source: str) -> None:
    assert source == "." or source in SENT
