"""Text of others is nowhere alive: not in a terminal, not on the page, not in a table, not in MLflow."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from omsweep.console import Console, say
from omsweep.engine.terminal import trial_line
from omsweep.report.draw_plotly import _plain
from omsweep.report.page import templates
from omsweep.report.tables import status
from omsweep.report.text_table import TextTable, latex, markdown
from omsweep.report.write import write_report
from omsweep.results.view import read_view
from omsweep.sinks.fields import tags_of
from tests import example_sweeps
from tests.written_sweep import WrittenSweep

SOURCE = Path(__file__).parents[1] / "omsweep"
HOSTILE = (
    "<script>alert(1)</script></script>\"' [red]x[/] [/] [link=http://evil]y[/link] \x1b[31mred \x1b]8;;http://evil\x07z"
    "\x1b]8;;\x07 \x1b]52;c;cm0=\x07 \x9b2J \u202egpj.exe\u2066 \u2028 one\nomsweep: done\r\nback\x08\x08"
)
ALIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printed(what: Any) -> str:
    file = io.StringIO()
    Console(file=file, width=400).print(what)
    return file.getvalue()


def table(cell: Any) -> Table:
    made = Table("name", title=escape(HOSTILE))
    made.add_row(cell)
    return made


def record(**changes: Any) -> Any:
    return example_sweeps.trial("t-1", state="failed", reward=None, tax=None, error=HOSTILE, **changes)


SHOWN = {
    "text": lambda: printed(Text(HOSTILE)),
    "markup": lambda: printed(f"[red]failed[/]: {escape(HOSTILE)}"),
    "table": lambda: printed(table(escape(HOSTILE))),
    "trial": lambda: printed(trial_line(record(), {})),
    "markdown": lambda: markdown(TextTable(title=HOSTILE, columns=[HOSTILE], rows=[[HOSTILE]], notes=[HOSTILE])),
    "latex": lambda: latex(TextTable(title=HOSTILE, columns=[HOSTILE], rows=[[HOSTILE]], notes=[HOSTILE])),
    "page": lambda: templates().from_string("<p title='{{ x }}'>{{ x }}</p>").render(x=HOSTILE),
    "chart": lambda: _plain(HOSTILE),
    "mlflow": lambda: json.dumps(tags_of({"error": HOSTILE}), ensure_ascii=False),
}


@pytest.mark.parametrize("where", SHOWN)
def test_hostile_text_is_nowhere_alive(where: str) -> None:
    shown = SHOWN[where]()
    assert not ALIVE.search(shown), repr(ALIVE.search(shown))
    assert "u202e" in shown, "it can still be read"
    if where in ("page", "chart"):
        assert "<script" not in shown
    if where in ("trial", "markdown", "latex"):
        assert not re.search(r"^omsweep: done", shown, flags=re.MULTILINE), "a message makes no line of its own"


def test_a_terminal_keeps_our_own_colours() -> None:
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system="standard").print(Text("\x1b[32mx\x1b[5n", style="red"))
    assert file.getvalue() == "\x1b[31mx\\u001b[5n\x1b[0m\n"


def test_what_is_said_is_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[2Jb", end="")
    say("c\x07", error=True)
    assert tuple(capsys.readouterr()) == ("a\\u001b[2Jb", "c\\u0007\n")


def test_a_sweep_with_a_hostile_failure(tmp_path: Path) -> None:
    sweep = example_sweeps.fill(WrittenSweep(tmp_path, "s"), blocks=1, failures=False)
    sweep.append(record())
    write_report(sweep)
    page = sweep.report_html.read_text()
    assert not ALIVE.search(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert "alert(1)</script>" not in page
    assert not ALIVE.search("".join(printed(line) for line in status(read_view(sweep), 200)))


def test_everything_is_written_by_one_function_or_one_console() -> None:
    """Text that goes another way to a terminal would be obeyed there."""
    others = re.compile(r"from rich\.console import .*\bConsole\b|std(out|err)\.write\(|(?<![\w.])print\(")
    own = {"console.py", "secrets.py", "cli.py"}
    files = [file for file in SOURCE.rglob("*.py") if file.relative_to(SOURCE).as_posix() not in own]
    assert not [f"{file.name}: {found[0]}" for file in files if (found := others.search(file.read_text()))]
