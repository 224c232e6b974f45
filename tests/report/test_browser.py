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
from omsweep.results.samples import Sample
from omsweep.results.view import read_view
from tests.written_sweep import WrittenSweep

pytestmark = [pytest.mark.browser, pytest.mark.slow]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-default-apps"),
    *("--window-size=1300,1000", "--virtual-time-budget=20000", "--dump-dom"),
)

SAMPLE = Sample(
    kind="gain",
    item_id="p1",
    category="open",
    prompt="What is <b>tea</b> & </script>?",
    before="A drink.",
    after="A fine drink <i>indeed</i>.",
    score_before=0.1,
    score_after=0.9,
)

LISTENER = """<script>
window.seen = {errors: [], refused: []};
window.addEventListener("error", event => seen.errors.push(String(event.message || event.target)), true);
window.addEventListener("unhandledrejection", event => seen.errors.push(String(event.reason)));
document.addEventListener("securitypolicyviolation", event => seen.refused.push(event.blockedURI));
console.error = (...all) => seen.errors.push(all.join(" "));
</script>"""

PROBE = """<script>
const wait = milliseconds => new Promise(done => setTimeout(done, milliseconds));
const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
const symbols = plot => plot.querySelectorAll(".scatterlayer .points path").length;
function column(name) {
  const heads = all("#table thead th"), head = heads.find(one => one.textContent.trim() === name);
  if (!head) return {head: null, cells: []};
  return {head, cells: all("#table tbody tr").map(row => row.cells[heads.indexOf(head)].dataset.sort ?? null)};
}
function click(plot, place) {
  const box = plot.querySelector(".nsewdrag").getBoundingClientRect(), {xaxis, yaxis} = plot._fullLayout;
  const at = {bubbles: true, view: window, clientX: box.x + xaxis.d2p(place[0]), clientY: box.y + yaxis.d2p(place[1])};
  const on = plot.querySelector(".nsewdrag");
  on.dispatchEvent(new MouseEvent("mousemove", at));
  on.dispatchEvent(new MouseEvent("mousedown", at));
  document.dispatchEvent(new MouseEvent("mouseup", at));
}
async function probe(act) {
  await wait(1500);
  const out = await act();
  out.fetched = performance.getEntriesByType("resource").map(entry => entry.name);
  const result = document.createElement("pre");
  result.id = "probe"; result.textContent = JSON.stringify({...out, ...seen});
  document.body.appendChild(result);
}
window.addEventListener("load", () => probe(ACT).catch(error => probe(async () => ({broken: String(error)}))));
</script>"""

SMALL = """async () => {
  const plots = all('.plot[id^="front"]'), attained = all('.plot[id^="comparison"]');
  const out = {
    points: plots.map(symbols),
    widths: plots.map(plot => plot.getBoundingClientRect().width),
    cards: plots.map(plot => plot.closest("figure").getBoundingClientRect().width),
    attained: attained.map(plot => plot.querySelectorAll(".scatterlayer .lines path").length),
    verdicts: all("#comparison td .badge").map(label => label.textContent),
    wide: document.documentElement.scrollWidth > window.innerWidth,
    inky: document.querySelectorAll(".scatterlayer .errorbars path, .scatterlayer .yerror").length,
    settingsEnd: Math.max(...["learning rate", "beta", "density"].map(name =>
      column(name).head.getBoundingClientRect().right)),
  };
  column("reward").head.querySelector("button").click();
  out.rewardsDown = column("reward").cells; out.sorted = column("reward").head.getAttribute("aria-sort");
  column("reward").head.querySelector("button").click(); out.rewardsUp = column("reward").cells;
  column("trial").head.querySelector("button").click(); out.names = column("trial").cells;
  const has = () => Boolean(column("train (s)").head);
  out.costsAtFirst = has(); document.querySelector('input[data-group="cost"]').click(); out.costsThen = has();
  const trace = plots[0].data.filter(one => one.customdata).at(-1);
  click(plots[0], [trace.x[0], trace.y[0]]);
  await wait(400);
  const panel = document.getElementById("details");
  out.clicked = named.words[named.values[trace.customdata[0]]];
  out.opened = panel.querySelector("h2 code")?.textContent;
  out.headings = all("h3", panel).map(one => one.textContent);
  out.curve = panel.querySelectorAll(".curve .lines path").length;
  out.said = panel.textContent;
  out.address = location.hash;
  const hover = plots[0].querySelector(".hoverlayer text");
  out.tooltip = hover && {text: hover.textContent, ink: getComputedStyle(hover).fill};
  document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
  out.closed = panel.hidden;
  document.querySelector('#table tr[data-trial="3"] button').click();
  out.openedFromTable = panel.querySelector("h2 code").textContent;
  const chip = all('button[data-filter="label"]').find(one => one.textContent.trim() === "ondare");
  chip.click();
  await wait(400);
  out.pressed = chip.getAttribute("aria-pressed");
  out.rowsShown = column("label").cells;
  out.categoriesShown = all("#categories tr[data-trial]").filter(row => !row.hidden).length;
  out.pointsFiltered = plots.map(symbols);
  const search = document.getElementById("search");
  search.value = "kto qwen2"; search.dispatchEvent(new Event("input"));
  await wait(600);
  out.found = column("trial").cells; out.foundPoints = plots.map(symbols);
  document.getElementById("all").click();
  out.everything = column("trial").cells.length;
  return out;
}"""

LARGE = """async () => {
  await wait(1500);
  const rows = () => document.querySelectorAll("#table tbody tr").length;
  const out = {elements: document.querySelectorAll("*").length, rows: rows(), first: column("trial").cells[0],
    points: all('.plot[id^="front"]').map(symbols),
    note: document.querySelector("#fronts figure .plot + .lead").textContent};
  document.getElementById("after").click(); out.second = column("trial").cells[0];
  column("reward").head.querySelector("button").click(); out.best = Number(column("reward").cells[0]);
  openTrial(9999); out.opened = document.querySelector("#details h2 code").textContent;
  const search = document.getElementById("search");
  search.value = "b17-"; search.dispatchEvent(new Event("input"));
  await wait(1500);
  out.found = document.getElementById("shown").textContent;
  return out;
}"""


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


def probed(content, act):
    script = PROBE.replace("ACT", act)
    return content.replace("<title>", f"{LISTENER}<title>", 1).replace("</body>", f"{script}</body>", 1)


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
    view = read_view(sweep)
    losses = {trial.trial_id: [0.7 - 0.002 * step for step in range(250)] for trial in view.trials}
    told = {trial_id: [SAMPLE] for trial_id in view.member_ids}
    view = replace(view, findings=found, losses=losses, samples=told)
    return opened(browser, probed(page(view), SMALL), tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def large(browser, sweep, tmp_path_factory):
    """A page of 10,000 trials: those of the demo, often."""
    view = read_view(sweep)
    scored = [trial for trial in view.trials if trial.reward is not None]
    trials = [
        one.model_copy(update={"trial_id": f"b{i}-{one.trial_id}", "reward": one.reward + 1e-4 * i})
        for i in range(600)
        for one in scored
    ][:10_000]
    members = [{**member, "trial_id": f"b0-{member['trial_id']}"} for member in view.summary["members"]]
    losses = {trial.trial_id: [0.7] * 250 for trial in trials}
    likely = {"front_probability": {trial.trial_id: 0.5 for trial in trials}}
    families = {name: {**content, **likely} for name, content in view.summary["families"].items()}
    summary = {**view.summary, "members": members, "families": families}
    view = replace(view, trials=trials, losses=losses, summary=summary)
    return opened(browser, probed(page(view), LARGE), tmp_path_factory.mktemp("large"))


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
    assert down[-2:] == up[-2:] == [None, None]
    assert down[:-2] == pytest.approx(rewards[::-1], rel=1e-5)
    assert up[:-2] == pytest.approx(rewards, rel=1e-5)
    assert len(seen["names"]) == 20
    assert seen["names"] == sorted(seen["names"])


def test_column_groups_open(seen):
    assert (seen["costsAtFirst"], seen["costsThen"]) == (False, True)


def test_tuned_settings_are_in_view(seen):
    assert seen["settingsEnd"] < 1280


def test_a_click_on_a_point_opens_its_trial(seen, sweep):
    assert seen["opened"] == seen["clicked"]
    assert seen["address"] == f"#trial={seen['clicked']}"
    for heading in ("Recipe", "Results", "Categories", "Learning curve", "Answers before and after"):
        assert heading in seen["headings"]
    assert seen["curve"] == 1
    assert f"omsweep export demo --trial {seen['clicked']} --output {seen['clicked']}" in seen["said"]
    for text in (SAMPLE.prompt, SAMPLE.before, SAMPLE.after):
        assert text in seen["said"]
    assert seen["closed"]
    assert seen["openedFromTable"] in {trial.trial_id for trial in sweep.trials()} - {seen["opened"]}


def test_a_tooltip_is_dark_and_says_the_recipe(seen):
    assert seen["clicked"] in seen["tooltip"]["text"]
    assert "learning rate" in seen["tooltip"]["text"]
    assert sum(map(int, re.findall(r"\d+", seen["tooltip"]["ink"]))) < 200


def test_a_chip_switches_a_method_off_in_plots_and_tables(seen):
    assert seen["pressed"] == "false"
    assert set(seen["rowsShown"]) == {"adamw", "onties"}
    assert seen["pointsFiltered"] == [7, 7]
    assert seen["categoriesShown"] == 12


def test_a_search_filters_plots_and_table(seen):
    assert len(seen["found"]) == 2
    assert all("qwen2" in name for name in seen["found"])
    assert seen["foundPoints"] == [1, 3]
    assert seen["everything"] == 20


def test_ten_thousand_trials_are_paged_and_thinned(large):
    assert "broken" not in large
    assert large["errors"] == []
    assert large["rows"] == 50
    assert large["elements"] < 20_000
    assert all(100 < count < 2_200 for count in large["points"])
    assert "are drawn" in large["note"]
    assert large["first"] != large["second"]
    assert large["best"] > 1.0
    assert large["opened"].startswith("b555-")
    assert large["found"] == "18 of 10000"


def test_the_probe_notices_errors_and_fetches(browser, sweep, tmp_path):
    """The two assertions above can fail."""
    broken = '<img src="http://127.0.0.1:9/x.png"><script>missing()</script></main>'
    seen = opened(browser, probed(page(read_view(sweep)).replace("</main>", broken, 1), "async () => ({})"), tmp_path)
    assert any("missing is not defined" in message for message in seen["errors"])
    assert any("127.0.0.1:9" in address for address in seen["refused"])
