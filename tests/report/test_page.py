"""report.html as text: everything escaped, nothing loaded from outside, every number where it belongs."""

import csv
import io
import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
import yaml

from omsweep.report.draw_plotly import figure
from omsweep.report.front_chart import front_chart
from omsweep.report.page import page
from omsweep.report.write import write_report
from omsweep.results.numbers import MISSING
from omsweep.results.view import read_view
from tests.written_sweep import WrittenSweep

ATTACK = '</script><script>alert("x")</script><img src=http://evil.example/x onerror=alert(1)>&'


class Parsed(HTMLParser):
    """Tags with attributes, and the rows of each table as lists of cell texts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.tables, self.words = [], [], []
        self._silent = self._in_cell = False
        self.feed(html)
        self.tables = [rows for rows in self.tables if rows]  # that of all trials is filled by the page's script
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self._in_cell = self._in_cell or tag in ("td", "th")
        self._silent = tag in ("script", "style")

    def handle_data(self, data):
        if not self._silent:
            self.words.append(data)
        if self._in_cell:
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag):
        self._silent = False
        self._in_cell = self._in_cell and tag not in ("td", "th")


def trials_of(html):
    """What the page's script has of the trials: by id each column's value, texts as texts; and all the data."""
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])
    columns = {
        one["title"]: [one["words"][v] if v >= 0 else None for v in one["values"]] if "words" in one else one["values"]
        for one in data["columns"]
    }
    return {name: {t: v[i] for t, v in columns.items()} for i, name in enumerate(columns["trial"])}, data


@pytest.fixture(scope="module")
def demo(tmp_path_factory, fill_sweep):
    """One demo for the module; the tests only read it."""
    return fill_sweep(WrittenSweep(tmp_path_factory.mktemp("runs"), "demo"))


@pytest.fixture(scope="module")
def demo_html(demo):
    return page(read_view(demo))


@pytest.fixture(scope="module")
def demo_page(demo_html):
    return Parsed(demo_html)


def test_trained_and_merged_trials_are_counted_apart(folder, make_trial, make_space):
    folder.create(make_space())
    folder.append(make_trial("a"))
    folder.append(make_trial("a+line-0", label="adamw+line", kind="posthoc", parent="a", reward=0.4))
    content = page(read_view(folder))
    assert "1 trained, 1 merged after training; 2 completed" in content
    assert "Small points with a dot were merged after training" in content


def test_nothing_is_loaded_from_anywhere(demo_page):
    for tag, attributes in demo_page.tags:
        for name in ("src", "href", "action", "data", "srcset", "poster"):
            value = attributes.get(name)
            beside = value in ("trials.csv", "trials.jsonl", "front.json")
            assert value is None or beside or value.startswith(("#", "data:")), (tag, name, value[:80])
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
    policy = [a["content"] for tag, a in demo_page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert policy[0].startswith("default-src 'none';")
    assert "http" not in policy[0]


def test_plotly_is_inlined_once_and_cannot_share(demo_html):
    assert demo_html.count("plotly.js v") == 1
    charts = demo_html.count('class="plot"')
    assert charts == 2
    assert demo_html.count('"showSendToCloud":false') == charts


def test_whatever_comes_from_outside_is_escaped(folder, make_trial, make_space):
    folder.create(make_space(name=ATTACK))
    folder.write_reference(ATTACK, {"scores": {ATTACK: 0.9}})
    for state in ("completed", "failed", "diverged"):
        folder.append(
            make_trial(
                state,
                state=state,
                label=ATTACK,
                family=ATTACK,
                method=ATTACK,
                algorithm=ATTACK,
                error=ATTACK,
                params={ATTACK: ATTACK, "x": state},
                scores={ATTACK: 0.5},
                diagnostics={ATTACK: 1.0},
                accelerator=ATTACK,
                policy_path=ATTACK,
            )
        )
    html = page(read_view(folder))
    parsed = Parsed(html)
    assert "img" not in {tag for tag, _ in parsed.tags}
    assert not [a for _, a in parsed.tags if "onerror" in a]
    own_scripts = 4  # plotly.js, the figure, the trials' data, the page's own
    assert [tag for tag, _ in parsed.tags].count("script") == html.count("</script>") == own_scripts
    assert "<script>alert" not in html
    assert "alert(&#34;x&#34;)" in html
    trials, _ = trials_of(html)
    assert trials["failed"]["error"] == trials["failed"]["label"] == ATTACK


def test_every_trial_has_its_numbers(demo, demo_html):
    rows, data = trials_of(demo_html)
    trials = {trial.trial_id: trial for trial in demo.trials()}
    assert list(rows) == list(trials)
    row, trial = rows["tiny-qwen2-b1-s1-ondare"], trials["tiny-qwen2-b1-s1-ondare"]
    for title, value in {
        "reward": trial.reward,
        "tax": trial.tax,
        "KL": trial.kl,
        "learning rate": trial.params["learning_rate"],
        "learning rate applied": trial.learning_rate_applied,
        "density": 0.6,
        "retained share": 0.6,
        "math": 100 * trial.scores["math"],
    }.items():
        assert row[title] == pytest.approx(value, rel=1e-5)
    assert (row["merge active"], row["weights hash"]) == ("yes", trial.weights_hash)
    (reward,) = [one for one in data["columns"] if one["title"] == "reward"]
    assert reward["errors"][list(rows).index(trial.trial_id)] == pytest.approx(1.96 * 0.045)
    assert (rows["failed-1"]["state"], rows["failed-1"]["reward"]) == ("failed", None)
    members = {member["trial_id"] for member in read_view(demo).summary["members"]}
    assert {list(rows)[i] for i in data["members"]} == members


def test_settings_that_were_tuned_stand_before_those_that_a_method_has(demo_html):
    _, data = trials_of(demo_html)
    settings = [one["title"] for one in data["columns"] if one["group"] == "settings"]
    assert settings.index("beta") < settings.index("semantics")


def test_trials_out_of_sight_are_counted_under_the_front(folder, make_trial, make_space):
    folder.create(make_space())
    folder.append(make_trial("a"))
    assert "not shown" not in Parsed(page(read_view(folder))).text
    folder.append(make_trial("b", tax=60.0, reward=-3.0))
    assert "1 trial outside of the plot not shown." in Parsed(page(read_view(folder))).text


def test_settings_all_trials_share_are_said_once(folder, fill_sweep):
    html = page(read_view(fill_sweep(folder, failures=False)))
    _, data = trials_of(html)
    assert {one["title"] for one in data["columns"] if one.get("same")} >= {"steps", "state", "attempts"}


def test_categories_are_differences_to_the_sft_model(demo, demo_page):
    (table,) = [
        rows for rows in demo_page.tables if rows[0][0] == "trial" and "tiny-qwen2" in rows[2][0] and len(rows) == 11
    ]
    assert table[1][0] == "SFT model, %"
    assert table[1][-1] == "87.5"
    trial = next(t for t in demo.trials() if t.trial_id == table[2][0].removeprefix("★ "))
    shown = dict(zip(table[0], table[2], strict=True))
    assert shown["math"].replace("\u2212", "-") == f"{100 * (trial.scores['math'] - 0.875):+.1f}".replace("+0.0", "0.0")
    assert float(shown["average"].replace("\u2212", "-")) == pytest.approx(-trial.tax, abs=0.06)


def test_policies_are_compared_with_the_sft_model_they_started_from(folder, make_trial, make_space):
    folder.create(make_space())
    for sft_seed, score in ((0, 0.5), (1, 0.7)):
        folder.write_reference("tiny-llama", {"scores": {"math": score}}, sft_seed=sft_seed)
        folder.append(make_trial(f"f{sft_seed}", sft_seed=sft_seed, scores={"math": 0.6}, tax=100 * (score - 0.6)))
    parsed = Parsed(page(read_view(folder)))
    (table,) = [rows for rows in parsed.tables if rows[0][3:4] == ["math"]]
    shown = {row[0].removeprefix("★ "): row[3].replace("\u2212", "-") for row in table[1:]}
    assert shown == {"SFT model 0, %": "50.0", "SFT model 1, %": "70.0", "f0": "+10.0", "f1": "-10.0"}


def test_controls_are_labels_of_their_own_beside_their_branch(folder, make_trial, make_space):
    folder.create(make_space())
    folder.append(make_trial("c", label="ondare", task_vector="permuted", reward=0.4, tax=0.5))
    for label in ("onties", "ondare", "adamw"):
        folder.append(make_trial(label, label=label))
    view = read_view(folder)
    assert view.labels == ["adamw", "ondare", "ondare/permuted", "onties"]
    assert {"ondare", "ondare/permuted"} <= set(view.summary["families"]["tiny-llama"]["labels"])
    assert {member["label"] for member in view.summary["members"]} <= set(view.labels)
    shown, _ = trials_of(page(view))
    assert (shown["c"]["label"], shown["c"]["task vector"]) == ("ondare/permuted", "permuted")


def test_categories_without_an_sft_score_show_the_policies_own(folder, make_trial, make_space):
    folder.create(make_space())
    folder.append(make_trial("a", scores={"math": 0.5}, benchmark_average=50.0))
    parsed = Parsed(page(read_view(folder)))
    assert "The SFT model's scores are not recorded" in parsed.text
    (table,) = [rows for rows in parsed.tables if rows[0][3:4] == ["math"]]
    assert table[1][3:] == ["50.0", "50.0"]


def test_failures_come_with_their_messages(demo_page):
    assert "2 trials ended without scores" in demo_page.text
    assert "RuntimeError: out of <memory> & time" in demo_page.text
    assert "loss is not finite at step 12" in demo_page.text


def test_one_seed_says_exploratory_and_shows_no_spread(demo_page):
    assert "One seed per setting: exploratory, no ranking." in demo_page.text
    assert "Item noise" in demo_page.text
    assert "for which it is unknown" in demo_page.text


def test_several_seeds_show_their_spread(folder, fill_sweep):
    parsed = Parsed(page(read_view(fill_sweep(folder, seeds=2, blocks=2, failures=False))))
    assert "exploratory" not in parsed.text
    (table,) = [rows for rows in parsed.tables if rows[0][0] == "family"]
    assert "reward, sd over seeds" in table[0]
    assert all(row[-1] != MISSING for row in table[1:])


def test_a_setting_that_lost_its_other_seeds_forbids_ranking(folder, make_trial, make_space):
    folder.create(make_space())
    folder.append(make_trial("a", seed=0))
    folder.append(make_trial("b", seed=1))
    folder.append(make_trial("c", seed=0, label="ondare"))
    parsed = Parsed(page(read_view(folder)))
    assert "Some settings have one seed only: exploratory, no ranking." in parsed.text


def test_hypervolume_per_method_only_in_compare_mode(demo_page, fill_sweep, tmp_path):
    (table,) = [rows for rows in demo_page.tables if rows[0][0] == "family"]
    assert "hypervolume" in table[0]
    assert [row[:2] for row in table[1:3]] == [["tiny-llama", "adamw"], ["tiny-llama", "ondare"]]
    search = Parsed(page(read_view(fill_sweep(WrittenSweep(tmp_path, "demo"), mode="search"))))
    (table,) = [rows for rows in search.tables if rows[0][0] == "family"]
    assert "hypervolume" not in table[0]
    assert "No hypervolume per method" in search.text


def test_unequal_numbers_of_scored_trials_are_said(folder, make_trial, make_space):
    folder.create(make_space())
    folder.append(make_trial("a", label="adamw"))
    folder.append(make_trial("b", label="adamw"))
    folder.append(make_trial("c", label="ondare"))
    assert "from unequal numbers of scored trials" in Parsed(page(read_view(folder))).text


def test_the_report_split_is_shown_once_members_are_rescored(demo, demo_page):
    view = read_view(demo)
    assert "No member has been scored on it yet." in demo_page.text
    member = view.summary["members"][0]
    numbers = {"reward": 0.321, "reward_se_items": 0.05, "tax": 7.654, "tax_se_items": 0.5}
    demo.rescored(member["trial_id"], **numbers)
    parsed = Parsed(page(read_view(demo)))
    (table,) = [rows for rows in parsed.tables if "reward, report" in rows[0]]
    assert len(table) == 2
    shown = dict(zip(table[0], table[1], strict=True))
    assert shown["trial"] == member["trial_id"]
    assert shown["reward, report"].replace("\xa0", " ") == "+0.32 ± 0.10"
    assert shown["tax, report"].replace("\xa0", " ") == "+7.65 ± 0.98"


def test_the_space_and_the_versions_are_there_to_run_it_again(demo, demo_page):
    (link,) = [a for tag, a in demo_page.tags if tag == "a" and "download" in a]
    assert yaml.safe_load(unquote(link["href"].partition(",")[2])) == demo.sweep()["resolved"]
    assert "omsweep run demo.yaml --name demo-again" in demo_page.text
    for name, version in demo.sweep()["versions"].items():
        assert name in demo_page.text
        assert version is None or version in demo_page.text


def test_a_sweep_that_was_interrupted_says_so_at_its_top(folder, make_space, make_trial):
    folder.create(make_space())
    for name in ("a", "b"):
        folder.append(make_trial(name))
    assert "equal draws for every method" not in page(read_view(folder))
    folder.happened("driver", closed="interrupted")
    text = Parsed(page(read_view(folder))).text
    assert "demo Interrupted: 2 of 18 trials have ended. 2 trials of 1 method" in text
    assert "Trials 2 of 18 2 completed" in text
    assert "blocked design, whose draws are not all there" in text


def test_a_whole_sweep_has_equal_draws_and_nothing_missing(tmp_path, fill_sweep):
    sweep = fill_sweep(WrittenSweep(tmp_path, "demo"))
    sweep.happened("driver", closed="completed")
    text = Parsed(page(read_view(sweep))).text
    assert "blocked design, equal draws for every method" in text
    assert "demo 20 trials of 3 methods" in text


def test_attempts_and_tracebacks_are_shown_where_there_were_several(folder, make_space, make_trial):
    folder.create(make_space())
    folder.append(make_trial("a"))
    folder.happened("proposed", "b", trial={"family": "tiny-llama", "label": "adamw"})
    folder.happened("started", "b", attempt=1)
    folder.happened("lost", "b", attempt=1, reason="hung", error="hung", traceback=None)
    folder.happened("started", "b", attempt=2)
    folder.happened("ended", "b", attempt=2, outcome={"state": "failed", "error": "no"}, traceback="tracebacks/b-2.txt")
    html = page(read_view(folder))
    parsed = Parsed(html)
    assert [row["attempts"] for row in trials_of(html)[0].values()] == [1, 2]
    assert "1 trial ended without scores. 1 attempt was lost (1 hung)." in parsed.text
    assert "2 attempts. Traceback: tracebacks/b-2.txt in the sweep's folder." in parsed.text


def test_before_the_first_trial(folder, make_space):
    folder.create(make_space())
    parsed = Parsed(page(read_view(folder)))
    assert "No trial has finished yet." in parsed.text
    assert "plotly" not in {a.get("class") for _, a in parsed.tags}


def test_write_report_leaves_its_files_and_nothing_else(tmp_path, fill_sweep):
    demo = fill_sweep(WrittenSweep(tmp_path, "demo"))
    before = {entry.name for entry in demo.path.iterdir()}
    write_report(demo)
    written = {entry.name for entry in demo.path.iterdir()} - before
    derived = {"sweep.json", "trials.jsonl", "references.json"}
    assert written == derived | {"front.json", "front.png", "answers.json", "trials.csv", "report.html"}
    assert demo.front_png.read_bytes().startswith(b"\x89PNG")
    assert demo.report_html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert json.loads(demo.front_json.read_text())["hypervolume"] > 0


def test_every_number_is_in_the_csv_beside_the_page(tmp_path, fill_sweep):
    demo = fill_sweep(WrittenSweep(tmp_path, "demo"))
    write_report(demo)
    rows = {row["trial_id"]: row for row in csv.DictReader(io.StringIO(demo.trials_csv.read_text()))}
    for trial in demo.trials():
        row = rows[trial.trial_id]
        assert row["reward"] == ("" if trial.reward is None else repr(trial.reward))
        assert row["params.learning_rate"] == repr(trial.params["learning_rate"])
        assert all(row[f"scores.{name}"] == repr(score) for name, score in trial.scores.items())


def test_the_points_of_a_figure_are_trials(demo):
    view = read_view(demo)
    traces = [trace for trace in figure(front_chart(view, "tiny-llama")).data if trace.customdata]
    shown = [view.trials[place] for trace in traces for place in trace.customdata]
    assert sorted(trial.trial_id for trial in shown) == sorted(one.trial_id for one in view.scored("tiny-llama"))
    assert [(trial.tax, trial.reward) for trial in shown] == [
        pair for trace in traces for pair in zip(trace.x, trace.y, strict=True)
    ]
    assert all(trace.error_x.visible for trace in traces)
