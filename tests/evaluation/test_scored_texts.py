from shutil import copytree

from omsweep.evaluation.scored_texts import reward_texts, scored_texts
from omsweep.evaluation.settings import EvaluateSettings, RewardSettings


def test_every_item_of_every_split_is_there_as_asked_and_without_its_template(suite_path, prompts_file, tmp_path):
    folder = copytree(suite_path, tmp_path / "suite")
    wrapped = (folder / "repeat.yaml").read_text().replace("{{prompt}}", "Question: {{prompt}}\\nAnswer:")
    (folder / "repeat.yaml").write_text(wrapped)
    settings = EvaluateSettings(tax=str(folder), reward=RewardSettings(prompts=str(prompts_file)), limit=1)
    texts = scored_texts(settings)
    assert len({text.item for text in texts}) == 30 + 30 + 36 + 24
    of_item = [text.prompt for text in texts if text.item == "tax item repeat-0"]
    assert of_item == ["Question: say one\nAnswer:", "say one"]
    assert {text.item for text in reward_texts(str(prompts_file))} == {f"reward prompt p{n}" for n in range(24)}


def test_the_choices_of_an_item_may_be_its_texts(suite_path, prompts_file, tmp_path):
    folder = copytree(suite_path, tmp_path / "suite")
    chosen = (folder / "choosing.yaml").read_text()
    (folder / "choosing.yaml").write_text(chosen.replace('doc_to_text: "{{prompt}}"', "doc_to_text: label"))
    texts = scored_texts(EvaluateSettings(tax=str(folder), reward=RewardSettings(prompts=str(prompts_file))))
    assert "sum one two" in [text.prompt for text in texts]
