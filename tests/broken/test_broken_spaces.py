"""Whatever is broken in a search space: it loads, or one sentence of ours names file and place, within seconds."""

import time
from pathlib import Path

import pytest

from omsweep.commands.check.load import load_checked
from omsweep.commands.check.summary import print_check
from omsweep.space.yaml_text import SpaceFileError
from tests.broken.spaces import GOOD, broken_spaces
from tests.broken.suites import write_suite

COUNT, SEED, SECONDS = 150, 17, 8
"""`SECONDS` is for a busy machine; the slowest takes one on a free one."""


def test_a_broken_search_space_loads_or_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_suite(tmp_path / "suite")
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "is the sky blue", "chosen": "yes", "rejected": "no"}\n')
    file, refused = tmp_path / "space.yaml", 0
    for text, settings in broken_spaces(COUNT, SEED):
        file.write_text(text, encoding="utf-8", newline="")
        started = time.monotonic()
        try:
            print_check(file, load_checked(file, settings))
        except SpaceFileError as error:
            refused += 1
            said = str(error)
            assert said.startswith((f"{file}: ", "--set ")), said
            assert "\n" not in said, said
            assert len(said) < 3000, said
        assert time.monotonic() - started < SECONDS, (text, settings)
    assert COUNT / 3 < refused < COUNT  # neither nothing is wrong, nor everything
    assert "Traceback" not in capsys.readouterr().out


def test_the_search_space_that_is_broken_is_good(tmp_path: Path) -> None:
    import yaml

    write_suite(tmp_path / "suite")
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "is the sky blue", "chosen": "yes", "rejected": "no"}\n')
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(GOOD, sort_keys=False))
    assert len(load_checked(tmp_path / "space.yaml").branches) == 3
