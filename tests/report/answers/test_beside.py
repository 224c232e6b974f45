"""Sweeps beside each other on a page, in JSON and in the terminal."""

import json

import pytest

from omsweep.cli import BAD_USAGE, main
from tests.example_sweeps import fill
from tests.written_sweep import WrittenSweep


@pytest.fixture
def storage(tmp_path, make_space):
    fill(WrittenSweep(tmp_path, "one"))
    fill(WrittenSweep(tmp_path, "two"), blocks=4, failures=False)
    other = make_space(evaluate={"tax": "other", "reward": "tiny"})
    WrittenSweep(tmp_path, "other").create(other)
    return tmp_path


def test_two_sweeps_on_one_page(storage, capsys):
    assert main(["report", "--compare", "one", "two", "--storage", str(storage)]) == 0
    printed = capsys.readouterr().out
    assert "| tiny-llama | one |" in printed
    assert "| design.blocks | 3 | 4 |" in printed
    html = (storage / "compare-one-two.html").read_text()
    assert "2 sweeps that measured the same" in html
    assert "Settings that differ" in html
    content = json.loads((storage / "compare-one-two.json").read_text())
    assert content["sweeps"] == ["one", "two"]
    assert [one["family"] for one in content["fronts"]] == ["tiny-llama", "tiny-llama", "tiny-qwen2", "tiny-qwen2"]


def test_the_first_may_be_named_before(storage):
    assert main(["report", "one", "--compare", "two", "--storage", str(storage)]) == 0
    assert (storage / "compare-one-two.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--compare", "one"], "--compare takes two or more different sweeps, got one"),
        (["--compare", "one", "other"], "sweeps one and other differ in evaluate.tax (tiny and other)"),
        (["--compare", "one", "none"], "no sweep in"),
        (["--compare", "one", "two", "--sync"], "--sync is for one sweep"),
        ([], "report takes the name of a sweep, or --compare with two or more"),
    ],
)
def test_what_is_refused_is_said(storage, arguments, said, capsys):
    assert main(["report", *arguments, "--storage", str(storage)]) == BAD_USAGE
    assert said in capsys.readouterr().err
    assert not list(storage.glob("compare-*"))
