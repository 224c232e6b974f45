"""What licences ask of derived models: names, notices, files that go along."""

from pathlib import Path

import pytest

from omsweep.families.licences import RULES, carried, rule_for

LLAMA_3 = "META LLAMA 3 COMMUNITY LICENSE AGREEMENT\nMeta Llama 3 Version Release Date: April 18, 2024"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Empty folders of an SFT model and its base."""
    for name in ("sft", "base"):
        (tmp_path / name).mkdir()
    return tmp_path / "sft", tmp_path / "base"


@pytest.mark.parametrize(
    ("licences", "models", "name"),
    [
        (["llama3"], [], "Llama 3"),
        (["llama3.1"], [], "Llama 3.1"),
        (["llama3 (base); the SFT model's card names none"], [], "Llama 3"),
        (["unknown"], ["meta-llama/Meta-Llama-3-8B"], "Llama 3"),
        (["unknown"], ["meta-llama/Llama-3.2-1B"], "Llama 3.2"),
        (["unknown"], ["meta-llama/Llama-2-7b-hf"], "Llama 2"),
        (["gemma"], [], "Gemma"),
        (["apache-2.0"], ["Qwen/Qwen2.5-0.5B", "org/tinyllama-1.1b"], None),
    ],
)
def test_the_rule_is_found_by_licence_or_name(licences: list[str], models: list[str], name: str | None) -> None:
    rule = rule_for(licences, models, [])
    assert (None if rule is None else rule.name) == name


def test_the_rule_is_found_by_the_licence_in_a_folder(folders: tuple[Path, Path]) -> None:
    (folders[1] / "LICENSE.txt").write_text(LLAMA_3)
    rule = rule_for(["unknown"], [], folders)
    assert rule is not None
    assert rule.name == "Llama 3"


def test_names() -> None:
    llama_3 = next(rule for rule in RULES if rule.name == "Llama 3")
    assert [llama_3.keeps(name) for name in ("Llama-3-mine", "llama3_mine", "Llama-mine", "mine-Llama-3")] == [
        *(True, True),
        *(False, False),
    ]
    assert llama_3.named("mine") == "Llama-3-mine"
    gemma = next(rule for rule in RULES if rule.name == "Gemma")
    assert gemma.named("mine") == "mine"


def test_files_go_along_and_none_replaces_another(folders: tuple[Path, Path]) -> None:
    sft, base = folders
    (sft / "LICENSE").write_text("of the SFT model")
    (base / "LICENSE").write_text("of the base")
    (base / "USE_POLICY.md").write_text("not for this")
    (base / "README.md").write_text("no licence")
    assert carried(sft, base, None) == {
        "LICENSE": b"of the SFT model",
        "BASE_LICENSE": b"of the base",
        "USE_POLICY.md": b"not for this",
    }


def test_a_notice_is_written_where_none_says_it(folders: tuple[Path, Path]) -> None:
    rule = rule_for(["llama3.1"], [], [])
    assert rule is not None
    assert carried(*folders, rule)["NOTICE"].decode() == rule.notice + "\n"
    (folders[0] / "Notice.txt").write_text(rule.notice.replace(", Inc", ",\nInc"))
    assert list(carried(*folders, rule)) == ["Notice.txt"]
