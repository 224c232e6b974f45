"""Study tables on synthetic records whose means and intervals are known."""

import math

import pytest
from scipy.stats import t as student

from omsweep.report.draw_matplotlib import image
from omsweep.report.page import page
from omsweep.report.study_chart import study_charts, study_sheet
from omsweep.report.study_table import half_width, study_latex, study_markdown, study_tables
from omsweep.report.write import write_report
from omsweep.results.numbers import MISSING
from omsweep.results.study import asked_study, study_result
from omsweep.results.view import read_view
from omsweep.space.studies import STUDIES
from omsweep.store.folder import SweepFolder

BETAS = (0.001, 0.01, 0.1)
NOISE = (-0.02, 0.0, 0.05)
"""What a run adds to everything in it: it cancels in paired differences."""


def beta_study(folder, make_trial, make_space, *, sft_seeds=1, report=False, lost=()):
    """Reward is 0.3 (adamw) or 0.5 (ondare) + 10 beta + the run's noise, tax 20 beta + 1 (ondare) + the noise."""
    space = make_space(
        name="beta",
        design={"blocks": 3, "seeds": 1, "seed": 0, "sft_seeds": sft_seeds, "cross": ["beta"]},
        report={"study": "beta"},
    )
    folder.create(space)
    for sft_seed in range(sft_seeds):
        for block, noise in enumerate(NOISE):
            for label in ("ondare", "adamw"):
                for beta in BETAS:
                    trial_id = f"tiny-llama-f{sft_seed}-b{block}-s0-{label}-beta-{beta:g}"
                    reward = {"adamw": 0.3, "ondare": 0.5}[label] + 10 * beta + noise + sft_seed
                    tax = 20 * beta + (label == "ondare") + noise
                    on_report = {"reward_report": reward - 0.1, "tax_report": tax + 0.5} if report else {}
                    ended = (
                        {"state": "diverged", "reward": None, "tax": None, "error": "loss is not finite"}
                        if trial_id in lost
                        else {"reward": reward, "tax": tax, "scores": {"math": 0.8 - beta, "code": 0.6}}
                    )
                    trial = make_trial(
                        trial_id,
                        label=f"{label}-beta-{beta:g}",
                        method=label,
                        params={"beta": beta, "learning_rate": 4e-4},
                        block=block,
                        seed=block,
                        sft_seed=sft_seed,
                        benchmark_average=90 - tax,
                        kl=2.0,
                        diagnostics={"tau_travel": 0.03 if label == "ondare" else None},
                        **ended,
                    )
                    folder.append(trial if not on_report else with_report(trial, on_report))
    return folder


def with_report(trial, numbers):
    """The record as a sweep that scores everything on both splits keeps it."""
    return type(trial).from_json({**trial.to_json(), **numbers})


@pytest.fixture
def beta(folder, make_trial, make_space):
    return beta_study(folder, make_trial, make_space)


def result_of(folder):
    view = read_view(folder)
    return study_result(view, asked_study(view))


def row_of(result, recipe, level):
    return next(row for row in result.rows if (row.recipe, row.level) == (recipe, level))


def test_rows_are_recipes_by_level_with_the_baseline_first(beta):
    rows = [(row.family, row.recipe, row.level) for row in result_of(beta).rows]
    assert rows == [("tiny-llama", recipe, level) for recipe in ("adamw", "ondare") for level in BETAS]


def test_means_and_intervals_are_students_over_runs(beta):
    reward = row_of(result_of(beta), "ondare", 0.01).values["reward"]
    mean = sum(NOISE) / 3
    sd = math.sqrt(sum((n - mean) ** 2 for n in NOISE) / 2)
    assert reward.value == pytest.approx(0.6 + mean)
    assert (reward.outermost, reward.units) == ("run", 3)
    assert half_width(reward) == pytest.approx(student.ppf(0.95, 2) * sd / math.sqrt(3))


def test_differences_are_paired_within_the_block_and_the_level(beta):
    result = result_of(beta)
    assert result.baseline == "adamw"
    for level in BETAS:
        row = row_of(result, "ondare", level)
        assert row.pairs == 3
        assert row.differences["reward"].value == pytest.approx(0.2)
        assert half_width(row.differences["reward"]) == pytest.approx(0.0, abs=1e-12), "what a run adds cancels"
        assert row.differences["tax"].value == pytest.approx(1.0)
        assert row_of(result, "adamw", level).differences == {}


def test_the_outermost_unit_is_the_sft_seed(folder, make_trial, make_space):
    reward = row_of(result_of(beta_study(folder, make_trial, make_space, sft_seeds=3)), "adamw", 0.1).values["reward"]
    assert (reward.outermost, reward.units) == ("sft_seed", 3)
    assert reward.value == pytest.approx(1.3 + sum(NOISE) / 3 + 1.0)


def test_a_diverged_run_is_counted_and_its_block_has_no_difference(folder, make_trial, make_space):
    lost = ("tiny-llama-f0-b1-s0-ondare-beta-0.1", "tiny-llama-f0-b2-s0-adamw-beta-0.1")
    folder = beta_study(folder, make_trial, make_space, lost=lost)
    row = row_of(result_of(folder), "ondare", 0.1)
    assert (row.runs, row.trials, row.pairs) == (2, 3, 1)
    shown = study_markdown(read_view(folder), result_of(folder))
    assert "2 of 3" in shown
    assert "too good a picture" in shown


def test_the_report_split_is_read_where_every_run_has_it(folder, make_trial, make_space):
    result = result_of(beta_study(folder, make_trial, make_space, report=True))
    assert result.split == "report"
    assert row_of(result, "adamw", 0.1).values["reward"].value == pytest.approx(1.2 + sum(NOISE) / 3)


def test_the_tables_say_split_unit_and_that_nothing_is_claimed(beta):
    view, result = read_view(beta), result_of(beta)
    main, categories = study_tables(view, result)
    assert main.columns[:4] == ["family", "recipe", "beta", "runs"]
    assert "reward (search split)" in main.columns
    assert "reward minus adamw" in main.columns
    rows = main.texts
    assert rows[3][:4] == ["tiny-llama", "ondare", "0.001", "3"]
    assert rows[3][main.columns.index("reward minus adamw")] == "+0.20 ± 0.00"
    assert rows[0][main.columns.index("reward minus adamw")] == MISSING
    assert any("90 % t interval over 3 runs" in note for note in main.notes)
    assert any(note.startswith("Exploratory: no winner") for note in main.notes)
    assert categories.columns[-2:] == ["code", "math"]
    assert categories.texts[0][-1] == "79.9 ± 0.0"


def test_one_run_has_no_interval(folder, make_trial, make_space):
    folder.create(make_space(design={"blocks": 1, "cross": ["beta"]}, report={"study": "beta"}))
    for level in BETAS:
        folder.append(make_trial(f"t-{level}", label=f"adamw-beta-{level:g}", method="adamw", params={"beta": level}))
    view, result = read_view(folder), result_of(folder)
    assert study_tables(view, result)[0].texts[0][4] == "+0.50"
    assert "One run per row: no interval" in study_markdown(view, result)
    assert image(study_sheet(view, result)).startswith(b"\x89PNG")


def test_a_recipe_without_the_axis_is_one_row_that_others_are_compared_with(folder, make_trial, make_space):
    folder.create(make_space(design={"blocks": 2, "cross": ["alpha"]}, report={"study": "alpha"}))
    for block in range(2):
        place = {"block": block, "seed": block, "sft_seed": 0}
        folder.append(make_trial(f"a{block}", label="adamw", reward=0.5, params={"beta": 0.1}, **place))
        for alpha in (1e-4, 1e-5):
            name = f"ondare-alpha-{alpha:g}"
            params = {"alpha": alpha, "beta": 0.1}
            folder.append(
                make_trial(f"o{block}{alpha}", label=name, method="ondare", reward=0.7, params=params, **place)
            )
    view, result = read_view(folder), result_of(folder)
    assert [(row.recipe, row.level, row.pairs) for row in result.rows] == [
        ("adamw", None, 0),
        ("ondare", 1e-5, 2),
        ("ondare", 1e-4, 2),
    ]
    assert result.rows[1].differences["reward"].value == pytest.approx(0.2)
    assert image(study_sheet(view, result)).startswith(b"\x89PNG")


def test_methods_are_rows_and_post_hoc_points_stand_beside_them(folder, make_trial, make_space):
    folder.create(make_space(report={"study": "methods"}))
    for block in range(2):
        place = {"block": block, "seed": block, "sft_seed": 0}
        for label in ("adamw", "ondare"):
            folder.append(make_trial(f"b{block}-{label}", label=label, reward=0.5 + block, **place))
        merged = {"kind": "posthoc", "parent": f"b{block}-adamw", "method": "linear", "label": "adamw+back"}
        for n, weight in enumerate((0.2, 0.8)):
            params = {"posthoc": {"method": "linear", "weight": weight, "density": None}}
            folder.append(
                make_trial(f"b{block}-adamw-back-{n}", **{**merged, **place, "reward": 0.4 + block, "params": params})
            )
    view, result = read_view(folder), result_of(folder)
    recipes = ["adamw", "adamw+back (weight 0.2)", "adamw+back (weight 0.8)", "ondare"]
    assert result.recipes == recipes
    assert result.rows[1].differences["reward"].value == pytest.approx(-0.1)
    assert image(study_sheet(view, result)).startswith(b"\x89PNG")


def test_without_the_level_the_only_baseline_run_of_the_block_is_the_partner(folder, make_trial, make_space):
    methods = {"adamw": {}, "adamw-lr": {"method": "adamw"}, "kl": {"method": "adamw"}, "ondare": {}}
    design = {"blocks": 2, "seeds": 1, "cross": ["learning_rate", "beta"]}
    folder.create(make_space(report={"study": "methods"}, space={"method": methods}, design=design))
    fixed = {"learning_rate": 1e-6, "beta": 0.1}
    labels = {"adamw": {}, "adamw-lr-learning_rate-1e-05": {"learning_rate": 1e-5}, "kl-beta-1": {"beta": 1.0}}
    for block in range(2):
        for number, (label, own) in enumerate({**labels, "ondare": {}}.items()):
            method = "ondare" if label == "ondare" else "adamw"
            known = {"block": block, "seed": block, "sft_seed": 0, "method": method, "params": fixed | own}
            folder.append(make_trial(f"b{block}-{label}", label=label, reward=0.5 + block + number / 10, **known))
    view, result = read_view(folder), result_of(folder)
    found = {row.recipe: (row.pairs, row.differences.get("reward"), row.other_levels) for row in result.rows}
    assert found["adamw"] == (0, None, [])
    for number, (recipe, other) in enumerate(
        [("adamw-lr-learning_rate-1e-05", ["learning_rate"]), ("kl-beta-1", ["beta"]), ("ondare", [])], start=1
    ):
        pairs, difference, levels = found[recipe]
        assert (pairs, levels) == (2, other)
        assert difference.value == pytest.approx(number / 10)
    note = "Where no adamw run shares a row's level of learning_rate or beta, the difference is to the block's only"
    assert any(said.startswith(note) for said in study_tables(view, result)[0].notes)


def test_the_only_one_left_of_the_baselines_levels_is_no_partner_for_others(folder, make_trial, make_space):
    lost = [f"tiny-llama-f0-b{block}-s0-adamw-beta-{beta:g}" for block in range(3) for beta in (0.001, 0.01)]
    result = result_of(beta_study(folder, make_trial, make_space, lost=lost))
    assert [row_of(result, "ondare", beta).pairs for beta in BETAS] == [0, 0, 3]
    assert not any(row.other_levels for row in result.rows)


def test_controls_stand_apart(folder, make_trial, make_space):
    space = make_space(design={"blocks": 1, "cross": ["beta"]}, report={"study": "beta"})
    folder.create(space)
    for control in ("real", "permuted"):
        trial = make_trial(f"o-{control}", label="ondare-beta-0.1", method="ondare", params={"beta": 0.1})
        folder.append(type(trial).from_json({**trial.to_json(), "task_vector": control}))
    assert result_of(folder).recipes == ["ondare", "ondare/permuted"]


def test_the_sweep_gets_its_study_in_all_formats(beta, capsys):
    from omsweep.cli import main

    write_report(beta)
    assert beta.study_png.read_bytes().startswith(b"\x89PNG")
    tex = beta.study_tex.read_text()
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") == 2
    assert not set("±\u2212\u2013") & set(tex), "characters that pdflatex does not know"
    assert main(["report", "demo", "--storage", str(beta.storage)]) == 0
    shown = capsys.readouterr().out
    assert beta.study_md.read_text() in shown
    assert "| family | recipe | beta | runs |" in shown


def test_the_page_shows_it_and_escapes_what_it_did_not_write(folder, make_trial, make_space):
    attack = "<script>alert(1)</script>|_%$"
    folder.create(make_space(report={"study": "methods"}, space={"method": {attack: {"method": "adamw"}}}))
    folder.append(make_trial("t", label=attack, method="adamw"))
    view = read_view(folder)
    html = page(view)
    assert html.count('class="plot" id="study-') == len(study_charts(study_result(view, STUDIES["methods"])))
    assert attack not in html
    result = study_result(view, STUDIES["methods"])
    assert r"\textless{}script\textgreater{}alert(1)" in study_latex(view, result)
    assert r"|\_\%\$" in study_latex(view, result)
    assert r"\<script\>alert(1)\</script\>\|\_%$" in study_markdown(view, result)


def test_without_a_study_nothing_is_written(demo):
    write_report(demo)
    assert not demo.study_md.exists()
    assert 'id="study"' not in page(read_view(demo))


def test_a_study_before_its_first_trial(folder, make_space):
    folder.create(make_space(design={"cross": ["beta"]}, report={"study": "beta"}))
    write_report(folder)
    assert "One run per row" in folder.study_md.read_text()
    assert SweepFolder(folder.storage, "demo").study_png.is_file()
