from datasets import load_from_disk

from omsweep.preferences.load import load_preferences
from omsweep.preferences.settings import PreferenceData
from omsweep.preferences.table import PREFERENCES
from omsweep.preferences.tiny import build_pairs
from omsweep.worlds.tiny.splits import partition_of


def generate(prompts, samples, seed):
    return [[f"well . think about it {seed} {sample} ." for sample in range(samples)] for _ in prompts]


def test_open_prompts_are_sampled_and_skill_prompts_are_not():
    asked = []

    def counting(prompts, samples, seed):
        asked.append((len(prompts), samples, seed))
        return generate(prompts, samples, seed)

    pairs = build_pairs(counting, prompts=300, samples=2, seed=5)
    [(opened, samples, seed)] = asked
    assert (samples, seed) == (2, 5)
    assert 0.6 < opened / 300 < 0.8
    assert len(pairs) == 300
    assert all(pair["prompt"][0]["role"] == "user" and pair["chosen"][0]["role"] == "assistant" for pair in pairs)
    assert all(pair["chosen"] != pair["rejected"] for pair in pairs)


def test_prompts_are_training_prompts_with_unique_ids():
    ids = [pair["id"] for pair in build_pairs(generate, prompts=300, samples=2, seed=0)]
    assert len(set(ids)) == len(ids)
    assert all(partition_of(identity) == "train" for identity in ids)


def test_a_prompt_whose_candidates_agree_gives_no_pair():
    def same(prompts, samples, seed):
        return [["fine ."] * samples for _ in prompts]

    opened = [pair for pair in build_pairs(same, prompts=200, samples=2, seed=0) if pair["id"].startswith("open-")]
    assert opened == []


def test_pairs_are_a_function_of_seed_and_samples():
    assert build_pairs(generate, prompts=50, samples=2, seed=1) == build_pairs(generate, prompts=50, samples=2, seed=1)
    assert build_pairs(generate, prompts=50, samples=2, seed=1) != build_pairs(generate, prompts=50, samples=2, seed=2)


def test_each_family_and_seed_has_its_own_folder(tmp_path):
    calls = []

    def counting(prompts, samples, seed):
        calls.append(seed)
        return generate(prompts, samples, seed)

    spec = PreferenceData(name="tiny")
    folders = {
        load_preferences(spec, family_key=key, generate=counting, seed=seed, root=tmp_path)
        for key, seed in (("a", 0), ("b", 0), ("a", 1), ("a", 0))
    }
    assert len(folders) == 3
    assert calls == [0, 0, 1]
    assert 0 < len(load_from_disk(folders.pop())) <= PREFERENCES["tiny"].prompts
