"""report.html in headless Chromium: plots are drawn, tables sort, the legend filters, nothing is fetched."""

import html
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from omsweep.report.page import page
from omsweep.results.comparison.reading import read_findings
from omsweep.results.view import read_view
from tests.written_sweep import WrittenSweep

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps"),
    *("--window-size=1300,1000", "--virtual-time-budget=20000", "--dump-dom"),
)

LISTENER = """<script>
window.seen = {errors: [], refused: []};
window.addEventListener("error", event => seen.errors.push(String(event.message || event.target)), true);
window.addEventListener("unhandledrejection", event => seen.errors.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", event => seen.refused.push(event.blockedURI));
console.error = (...all) => seen.errors.push(all.join(" "));
</script>"""

PROBE = """<script>
window.addEventListener("load", () => setTimeout(() => {
  const column = (table, name) => {
    const heads = Array.from(document.querySelectorAll(table + " thead tr:last-child th"));
    const head = heads.find(one => one.textContent.trim() === name);
    const cells = () => Array.from(document.querySelectorAll(table + " tbody tr"))
      .map(row => row.cells[heads.indexOf(head)].dataset.sort ?? null);
    return {head, cells, click: () => head.querySelector("button").click()};
  };
  const plots = Array.from(document.querySelectorAll('.plotly-graph-div[id^="front"]'));
  const attained = Array.from(document.querySelectorAll('.plotly-graph-div[id^="comparison"]'));
  const chip = document.querySelector('button[data-filter="label"][data-value="ondare"]');
  const reward = column("#trials", "reward"), name = column("#trials", "trial");
  const box = document.querySelector('input[data-group="g-cost"]');
  const costs = () => Array.from(document.querySelectorAll("td.g-cost")).some(cell => !cell.hidden);
  const out = {
    points: plots.map(plot => plot.querySelectorAll(".scatterlayer .points path").length),
    widths: plots.map(plot => plot.getBoundingClientRect().width),
    cards: plots.map(plot => plot.closest("figure").getBoundingClientRect().width),
    attained: attained.map(plot => plot.querySelectorAll(".scatterlayer .lines path").length),
    verdicts: Array.from(document.querySelectorAll("#comparison td .badge")).map(label => label.textContent),
    wide: document.documentElement.scrollWidth > window.innerWidth,
    inky: document.querySelectorAll(".scatterlayer .errorbars path, .scatterlayer .yerror").length,
  };
  reward.click(); out.rewardsDown = reward.cells(); out.sorted = reward.head.getAttribute("aria-sort");
  reward.click(); out.rewardsUp = reward.cells();
  name.click(); out.names = name.cells();
  out.costsAtFirst = costs(); box.click(); out.costsThen = costs();
  chip.click();
  out.pressed = chip.getAttribute("aria-pressed");
  out.rowsShown = Array.from(document.querySelectorAll("#trials tbody tr")).filter(row => !row.hidden)
    .map(row => row.dataset.label);
  setTimeout(() => {
    out.pointsFiltered = plots.map(plot => plot.querySelectorAll(".scatterlayer .points path").length);
    out.fetched = performance.getEntriesByType("resource").map(entry => entry.name);
    Object.assign(out, seen);
    const result = document.createElement("pre");
    result.id = "probe"; result.textContent = JSON.stringify(out);
    document.body.appendChild(result);
  }, 500);
}, 500));
</script>"""


@pytest.fixture(scope="module")
def browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        reason = f"no Chromium on PATH (looked for {', '.join(BROWSERS)})"
        if os.environ.get("OMSWEEP_REQUIRE_BROWSER") == "1":
            pytest.fail(f"{reason}, and OMSWEEP_REQUIRE_BROWSER=1")
        pytest.skip(reason)
    return found


def opened(browser, content, folder):
    """What the page's probe reports after Chromium opened `content` from a file."""
    target = folder / "report.html"
    target.write_text(content, encoding="utf-8")
    profile = folder / "profile"
    command = [browser, *FLAGS, f"--user-data-dir={profile}", target.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, f"the probe did not finish: {done.stderr[-2000:]}"
    return json.loads(html.unescape(found.group(1)))


def probed(content):
    return content.replace("<title>", f"{LISTENER}<title>", 1).replace("</body>", f"{PROBE}</body>", 1)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, fill_sweep):
    return fill_sweep(WrittenSweep(tmp_path_factory.mktemp("runs"), "demo"))


@pytest.fixture(scope="module")
def found(fill_question, tmp_path_factory):
    """The comparison of another sweep: shown on this one's page it needs no browser of its own."""
    folder = fill_question(WrittenSweep(tmp_path_factory.mktemp("question"), "demo"), families=("tiny-llama",))
    return read_findings(folder, folder.sweep()["resolved"], folder.trials())


@pytest.fixture(scope="module")
def seen(browser, sweep, found, tmp_path_factory):
    view = replace(read_view(sweep), findings=found)
    return opened(browser, probed(page(view)), tmp_path_factory.mktemp("page"))


def test_every_scored_trial_and_the_sft_model_are_drawn(seen):
    assert seen["points"] == [10, 10]
    assert seen["inky"] > 0


def test_plots_stay_in_their_cards_and_the_page_in_its_window(seen):
    assert len(seen["widths"]) == 2
    for width, card in zip(seen["widths"], seen["cards"], strict=True):
        assert 300 < width <= card
    assert not seen["wide"]


def test_the_comparison_is_drawn_with_a_verdict_for_every_contrast(seen, found):
    assert seen["attained"] == [5]
    assert sorted(seen["verdicts"]) == sorted(line.verdict for line in found.lines if line.verdict is not None)


def test_nothing_went_wrong_and_nothing_was_fetched(seen):
    assert seen["errors"] == []
    assert seen["refused"] == []
    assert [name for name in seen["fetched"] if not name.startswith("data:")] == []


def test_a_click_sorts_with_missing_numbers_last(seen, sweep):
    rewards = sorted(trial.reward for trial in sweep.trials() if trial.reward is not None)
    assert seen["sorted"] == "descending"
    down, up = ([None if v is None else float(v) for v in seen[key]] for key in ("rewardsDown", "rewardsUp"))
    assert down == [*reversed(rewards), None, None]
    assert up == [*rewards, None, None]
    assert len(seen["names"]) == 20
    assert seen["names"] == sorted(seen["names"])


def test_column_groups_open(seen):
    assert (seen["costsAtFirst"], seen["costsThen"]) == (False, True)


def test_the_legend_switches_a_method_off_in_plots_and_tables(seen):
    assert seen["pressed"] == "false"
    assert set(seen["rowsShown"]) == {"adamw", "onties"}
    assert seen["pointsFiltered"] == [7, 7]


def test_the_probe_notices_errors_and_fetches(browser, sweep, tmp_path):
    """The two assertions above can fail."""
    broken = '<img src="http://127.0.0.1:9/x.png"><script>missing()</script></main>'
    seen = opened(browser, probed(page(read_view(sweep)).replace("</main>", broken, 1)), tmp_path)
    assert any("missing is not defined" in message for message in seen["errors"])
    assert any("127.0.0.1:9" in address for address in seen["refused"])
