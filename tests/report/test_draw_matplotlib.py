"""front.png: drawn for every kind of sweep, and what is in it."""

import io

import matplotlib.image
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from omsweep.report import draw_matplotlib
from omsweep.report.draw_plotly import figure
from omsweep.report.front_chart import front_chart, front_sheet
from omsweep.report.styles import PALETTE, colours_of, markers_of
from omsweep.results.view import read_view


def front_image(view):
    return draw_matplotlib.image(front_sheet(view))


def pixels(image):
    return matplotlib.image.imread(io.BytesIO(image), format="png")


@pytest.fixture
def drawn(monkeypatch):
    """The figure that was drawn last, to look at its parts."""
    figures = []

    class Canvas(FigureCanvasAgg):
        def __init__(self, figure):
            figures.append(figure)
            super().__init__(figure)

    monkeypatch.setattr(draw_matplotlib, "FigureCanvasAgg", Canvas)
    return figures


def test_one_panel_per_family_with_all_scored_trials(demo, drawn):
    view = read_view(demo)
    image = pixels(front_image(view))
    assert image.shape[1] > 1200
    assert image[..., :3].std() > 0.02, "something was drawn"
    panels = drawn[0].axes
    assert [panel.get_title(loc="left").strip() for panel in panels] == ["tiny-llama", "tiny-qwen2"]
    for panel, family in zip(panels, view.families, strict=True):
        symbols = [line for line in panel.lines if line.get_marker() != "None"]
        points = {pair for line in symbols for pair in zip(*line.get_data(), strict=True)}
        trials = view.scored(family)
        assert points == {(0, 0), *((trial.tax, trial.reward) for trial in trials)}
        bars = [path for lines in panel.collections for path in lines.get_paths()]
        assert len(bars) == 2 * len(trials), "a tax and a reward error bar each"
        assert len(panel.patches) == 1, "the hypervolume is shaded"


def test_the_caption_says_what_error_bars_cover_and_that_one_seed_ranks_nothing(demo, drawn):
    front_image(read_view(demo))
    texts = " ".join(text.get_text() for text in drawn[0].texts)
    assert "1.96 item standard errors" in texts
    assert "not the spread over seeds" in texts
    assert "exploratory, no ranking" in texts
    assert "reference point reward 0, tax 20 points" in texts


def test_several_seeds_are_said(folder, fill_sweep, drawn):
    front_image(read_view(fill_sweep(folder, seeds=2, blocks=2, failures=False)))
    texts = " ".join(text.get_text() for text in drawn[0].texts)
    assert "2 seeds per setting" in texts
    assert "no ranking" not in texts


def test_a_trial_without_known_noise_has_no_bar(folder, make_trial, make_space, drawn):
    folder.create(make_space(objectives={"tax": "tax_worst", "reference_point": {"reward": 0, "tax": 20}}))
    folder.append(make_trial("a", tax_worst=3.0, reward_se_items=0.1, tax_se_items=0.5))
    front_image(read_view(folder))
    assert [len(lines.get_paths()) for lines in drawn[0].axes[0].collections] == [1]


def test_before_the_first_score(folder, make_space):
    folder.create(make_space())
    assert pixels(front_image(read_view(folder))).shape[2] in (3, 4)


def test_many_methods_and_families_fit(folder, make_trial, make_space):
    folder.create(make_space())
    for i in range(10):
        folder.append(make_trial(f"t{i}", label=f"a-rather-long-label-{i}", family=f"family-{i % 4}", tax=i, reward=i))
    image = pixels(front_image(read_view(folder)))
    assert image.shape[0] > 1200


@pytest.mark.parametrize("families", [("tiny-llama",), ("tiny-llama", "tiny-qwen2", "mine")])
def test_nothing_is_drawn_past_the_edges(folder, fill_question, drawn, families):
    fill_question(folder, families=families)
    front_image(read_view(folder))
    whole = drawn[0]
    inside = whole.bbox.padded(1)
    texts = [*whole.texts, *whole.legends[0].get_texts(), *(text for axes in whole.axes for text in axes.texts)]
    assert len(texts) > 10
    for text in texts:
        box = text.get_window_extent()
        assert (text.get_text(), box.x0 >= inside.x0, box.x1 <= inside.x1) == (text.get_text(), True, True)


def test_methods_differ_in_colour_and_the_baseline_is_grey():
    labels = ["adamw", *(f"m{i}" for i in range(len(PALETTE)))]
    colours = colours_of(labels)
    assert len(set(colours.values())) == len(labels)
    assert colours["adamw"] not in PALETTE
    assert colours_of(["m0", "adamw"])["m0"] == colours["m0"], "the place of the baseline moves no colour"


def test_what_is_merged_has_its_parents_colour_and_moves_no_other():
    colours = colours_of(["adamw", "adamw+line", "ondare", "ondare+ties", "ondare/flipped", "ondare+ties/flipped"])
    assert colours["adamw+line"] == colours["adamw"]
    assert colours["ondare+ties"] == colours["ondare"]
    assert colours["ondare+ties/flipped"] == colours["ondare/flipped"] != colours["ondare"]
    assert colours["ondare"] == colours_of(["adamw", "ondare"])["ondare"]


def test_what_is_merged_has_a_marker_of_its_own(folder, make_trial, make_space, drawn):
    folder.create(make_space())
    folder.append(make_trial("a", tax=1.0, reward=0.5))
    folder.append(make_trial("a+line-0", label="adamw+line", kind="posthoc", parent="a", tax=2.0, reward=0.8))
    view = read_view(folder)
    front_image(view)
    markers = {
        tax: [line.get_marker() for line in drawn[0].axes[0].lines if list(line.get_xdata()) == [tax]]
        for tax in (1.0, 2.0)
    }
    assert (len(markers[1.0]), len(markers[2.0])) == (1, 2)
    assert set(markers[2.0]) == {*markers[1.0], "."}
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend == ["adamw", "dpo", "merged after training", "front", "on the front", "SFT model"]
    traces = [trace for trace in figure(front_chart(view, "tiny-llama")).data if trace.customdata]
    assert {view.trials[t.customdata[0]].label: t.marker.symbol for t in traces} == {
        "adamw": "circle",
        "adamw+line": "circle-dot",
    }


def test_algorithms_differ_in_marker():
    markers = markers_of(["dpo", "ipo", "kto"])
    assert len({marker.plotly for marker in markers.values()}) == 3
    assert len({marker.matplotlib for marker in markers.values()}) == 3
