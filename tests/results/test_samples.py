"""Answers before and after: the largest gains, the worst losses, and regressions in as many categories as there are."""

import pandas as pd

from omsweep.results.samples import EACH, LONGEST, read_samples, samples
from omsweep.results.view import read_view


def table(scores, *, completion="{}"):
    """Answers by (kind, category, item)."""
    rows = [
        {"kind": k, "task": c, "category": c, "item_id": i, "split": "search", "decoder": "greedy", "score": s}
        | {"completion": completion.format(i)}
        for (k, c, i), s in scores.items()
    ]
    return pd.DataFrame(rows)


def test_gains_losses_and_regressions():
    changes = {"a": 0.9, "b": 0.5, "c": 0.2, "d": 0.1, "e": -0.3, "f": 0.0}
    questions = {
        ("tax", "math", "m1"): 0.0,
        ("tax", "math", "m2"): 0.0,
        ("tax", "code", "c1"): 0.0,
        ("tax", "code", "c2"): 1,
    }
    before = table({("reward", "open", i): 1.0 for i in changes} | dict.fromkeys(questions, 1.0))
    after = table({("reward", "open", i): 1.0 + c for i, c in changes.items()} | questions, completion="x" * 800)
    found = samples(before, after, {"a": "what?"})
    by_kind = {kind: [one.item_id for one in found if one.kind == kind] for kind in ("gain", "loss", "regression")}
    assert by_kind == {"gain": ["a", "b", "c"], "loss": ["e"], "regression": ["c1", "m1", "m2"]}
    assert len(by_kind["gain"]) == EACH
    assert (found[0].prompt, found[1].prompt) == ("what?", None)
    assert found[0].before == "a"
    assert len(found[0].after) < LONGEST + 5
    assert (found[0].score_before, found[0].score_after) == (1.0, 1.9)


def test_a_sweep_has_samples_of_its_members_and_none_where_tables_are_gone(folder, make_trial, make_space):
    folder.create(make_space())
    for name, reward, tax in (("a", 0.5, 1.0), ("b", 0.6, 2.0), ("c", -1.0, 3.0)):
        folder.append(make_trial(name, reward=reward, tax=tax))
    folder.write_reference_scores("tiny-llama", table({("reward", "open", "p"): 0.0}))
    for name in ("a", "c"):
        folder.write_scores(name, table({("reward", "open", "p"): 0.5}))
    found = read_samples(folder, read_view(folder))
    assert list(found) == ["a"], "b has no table, c is not on the front"
    assert found["a"][0].kind == "gain"
