"""The page of deviations names tests; each of them exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_the_page_names_exists() -> None:
    page = (ROOT / "docs" / "deviations.md").read_text()
    file, seen = "", 0
    for found in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", page):
        file = found[0] or file
        if found != ("", ""):
            assert (ROOT / file).is_file(), file
            assert f"def {found[1]}" in (ROOT / file).read_text(), (file, found[1])
            seen += 1
    assert seen >= 20
