import json
import shutil

import pytest

from omsweep.evaluation.suite import load_suite
from omsweep.evaluation.suite_files import content_hash
from omsweep.worlds.tiny.splits import split_of


@pytest.fixture
def own_suite(suite_path, tmp_path):
    return shutil.copytree(suite_path, tmp_path / "suite")


def test_items_have_ids_categories_and_splits(suite_path):
    suite = load_suite(suite_path)
    assert sorted(suite.tasks) == ["answer", "choosing", "repeat"]
    repeat = suite.items["repeat"]
    assert [item.item_id for item in repeat] == [f"repeat-{number}" for number in range(30)]
    assert {item.category for item in repeat} == {"talk"}
    assert [item.split for item in repeat[:4]] == ["report", "search", "search", "report"]
    choosing = suite.items["choosing"]
    assert {item.category for item in choosing} == {"choice"}
    assert len({item.item_id for item in choosing}) == 36
    assert all(item.split == split_of(item.item_id) for item in choosing)


def test_ids_made_from_content_do_not_depend_on_the_order(own_suite):
    before = {item.item_id for item in load_suite(own_suite).items["choosing"]}
    data = own_suite / "data" / "choosing.jsonl"
    data.write_text("".join(reversed(data.read_text().splitlines(keepends=True))))
    assert {item.item_id for item in load_suite(own_suite).items["choosing"]} == before


def test_a_suite_is_loaded_once_and_again_when_it_changes(own_suite):
    first = load_suite(own_suite)
    assert load_suite(own_suite) is first
    data = own_suite / "data" / "repeat.jsonl"
    data.write_text("".join(data.read_text().splitlines(keepends=True)[:20]))
    assert len(load_suite(own_suite).items["repeat"]) == 20


def test_limit_takes_a_sample_of_a_split(suite_path):
    suite = load_suite(suite_path)
    some, more = (suite.chosen("search", limit)["repeat"] for limit in (3, 8))
    assert set(some) < set(more)
    assert some != suite.items["repeat"][: len(some)]
    assert {len(items) for items in suite.chosen("report", 2).values()} == {2}
    assert len(suite.chosen("search", None)["repeat"]) == 20


PASSAGES = [f"{name} is in the park ." for name in ("anna", "ben")]


def rewrite(suite, task, change):
    data = suite / "data" / f"{task}.jsonl"
    records = [change(number, json.loads(line)) for number, line in enumerate(data.read_text().splitlines())]
    data.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_questions_on_one_passage_are_a_cluster_in_one_split(own_suite):
    rewrite(own_suite, "choosing", lambda n, record: record | {"passage": PASSAGES[n % 2]})
    choosing = load_suite(own_suite).items["choosing"]
    assert len({item.cluster for item in choosing}) == 2
    assert all(item.cluster == choosing[item.index % 2].cluster for item in choosing)
    assert all(item.split == split_of(item.cluster) for item in choosing)
    assert all(item.cluster == item.item_id for item in load_suite(own_suite).items["repeat"])


def test_a_passage_of_two_tasks_is_one_cluster(own_suite):
    for task in ("choosing", "repeat"):
        rewrite(own_suite, task, lambda n, record: {"split": None} | record | {"context": PASSAGES[0], "split": None})
    suite = load_suite(own_suite)
    assert len({item.cluster for task in ("choosing", "repeat") for item in suite.items[task]}) == 1


def test_a_task_names_the_field_of_its_passages(own_suite):
    yaml = own_suite / "choosing.yaml"
    plain = yaml.read_text()
    yaml.write_text(plain.replace("metadata: {version: 1.0}", "metadata: {version: 1.0, cluster: label}"))
    assert len({item.cluster for item in load_suite(own_suite).items["choosing"]}) == 2
    yaml.write_text(plain.replace("metadata: {version: 1.0}", "metadata: {version: 1.0, cluster: title}"))
    with pytest.raises(ValueError, match=r"'choosing': metadata.cluster must be a field of every .*, got 'title'"):
        load_suite(own_suite)


def test_a_passage_declared_in_two_splits_is_refused(own_suite):
    rewrite(own_suite, "repeat", lambda n, record: record | {"cluster": "one"})
    with pytest.raises(ValueError, match="items of cluster 'one' declare splits 'report' and 'search'"):
        load_suite(own_suite)


def test_an_id_of_two_tasks_is_two_clusters(own_suite):
    for task in ("repeat", "answer"):
        rewrite(own_suite, task, lambda n, record: record | {"id": n})
    suite = load_suite(own_suite)
    clusters = [item.cluster for task in ("repeat", "answer") for item in suite.items[task]]
    assert len(set(clusters)) == len(clusters) == 60


def test_a_group_gives_the_category(own_suite):
    (own_suite / "groups.yaml").write_text("group: choices\ntask: [choosing]\n")
    assert {item.category for item in load_suite(own_suite).items["choosing"]} == {"choices"}


def test_a_group_may_list_a_tag_and_change_a_task(own_suite):
    (own_suite / "groups.yaml").write_text(
        "group: all\ntask:\n  - choice\n  - inner\n  - {task: repeat, num_fewshot: 2, fewshot_split: test}\n"
    )
    (own_suite / "inner.yaml").write_text("group: inner\ntask: [answer]\n")
    suite = load_suite(own_suite)
    assert sorted(suite.tasks) == ["answer", "choosing", "repeat"]
    assert suite.items["choosing"][0].category == "all"
    assert suite.tasks["repeat"].get_config("num_fewshot") == 2
    assert suite.tasks["answer"].get_config("num_fewshot") == 0


def test_an_unknown_task_in_a_group_is_named(own_suite, monkeypatch):
    from lm_eval.tasks import TaskManager

    from omsweep.evaluation import suite

    # lm-eval's own tasks take seconds to list; that they are looked at is all that matters here.
    asked = []

    def without_defaults(include_path, include_defaults):
        asked.append(include_defaults)
        return TaskManager(include_path=include_path, include_defaults=False)

    monkeypatch.setattr(suite, "TaskManager", without_defaults)
    (own_suite / "groups.yaml").write_text("group: all\ntask: [repeat, gsm9k]\n")
    with pytest.raises(ValueError, match=r"lists unknown tasks \['gsm9k'\]"):
        load_suite(own_suite)
    assert asked == [False, True]


def test_equal_items_without_ids_get_different_ones(own_suite):
    data = own_suite / "data" / "choosing.jsonl"
    data.write_text(data.read_text() + data.read_text())
    items = load_suite(own_suite).items["choosing"]
    assert len({item.item_id for item in items}) == len(items) == 72


def test_an_id_used_twice_is_named(own_suite):
    data = own_suite / "data" / "repeat.jsonl"
    data.write_text(data.read_text() + data.read_text())
    with pytest.raises(ValueError, match="'repeat' has two items with id 'repeat-0'"):
        load_suite(own_suite)


def test_an_empty_split_is_named(own_suite):
    data = own_suite / "data" / "answer.jsonl"
    data.write_text("".join(line for line in data.read_text().splitlines(keepends=True) if "report" in line))
    with pytest.raises(ValueError, match=r"split 'search' has no item in tasks \['answer'\]"):
        load_suite(own_suite).chosen("search", None)


def test_a_yaml_that_cannot_be_read_is_not_left_out_silently(own_suite):
    (own_suite / "broken.yaml").write_text("task: broken\n  metric_list: [")
    with pytest.raises(ValueError, match=r"broken\.yaml declares a task that lm-eval did not take"):
        load_suite(own_suite)


def test_a_template_without_a_task_is_no_mistake(own_suite):
    (own_suite / "_template.yaml").write_text("output_type: generate_until\n")
    assert len(load_suite(own_suite).tasks) == 3


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no lm-eval task"):
        load_suite(tmp_path)


def test_content_hash_sees_names_and_bytes_and_not_caches(own_suite):
    before = content_hash(own_suite)
    (own_suite / "__pycache__").mkdir()
    (own_suite / "__pycache__" / "x.pyc").write_text("x")
    (own_suite / ".hidden").write_text("x")
    assert content_hash(own_suite) == before
    (own_suite / "answer.yaml").rename(own_suite / "answers.yaml")
    renamed = content_hash(own_suite)
    (own_suite / "answers.yaml").write_text("task: other\n")
    assert len({before, renamed, content_hash(own_suite)}) == 3
    assert content_hash(own_suite / "answers.yaml") != content_hash(own_suite / "repeat.yaml")
