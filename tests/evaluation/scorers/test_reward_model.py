import pytest
import torch

from omsweep.evaluation.scorers import make_scorer
from omsweep.evaluation.settings import RewardSettings

CHATS = [[{"role": "user", "content": text}] for text in ("say one", "sum one two three please", "yes")]
REPLIES = ["good .", "yes", "no no no six"]


def scorer_of(folder):
    return make_scorer(RewardSettings(scorer="reward_model", model=str(folder)))


def logit_by_hand(folder, token_ids):
    from transformers import LlamaForSequenceClassification

    model = LlamaForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        hidden = model.model(torch.tensor([token_ids])).last_hidden_state[0, -1]
        return float(model.score(hidden))


def test_the_logit_at_the_last_token_of_the_chat(make_judge, tokenizer):
    folder = make_judge()
    texts = [
        f"<user> {chat[0]['content']} <assistant> {reply} <eos> " for chat, reply in zip(CHATS, REPLIES, strict=True)
    ]
    by_hand = [logit_by_hand(folder, tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert scorer_of(folder).score(CHATS, REPLIES) == pytest.approx(by_hand, abs=1e-4)


def test_without_a_template_prompt_and_reply_are_a_pair(make_judge, tokenizer):
    folder = make_judge(template=False)
    texts = [f"{chat[0]['content']} {reply}" for chat, reply in zip(CHATS, REPLIES, strict=True)]
    by_hand = [logit_by_hand(folder, tokenizer(text)["input_ids"]) for text in texts]
    assert scorer_of(folder).score(CHATS, REPLIES) == pytest.approx(by_hand, abs=1e-4)


def test_batches_and_order_change_nothing(make_judge):
    scorer = scorer_of(make_judge())
    together = scorer.score(CHATS * 7, REPLIES * 7)
    assert together == pytest.approx([scorer.score([c], [r])[0] for c, r in zip(CHATS, REPLIES, strict=True)] * 7)


def test_cutting_warns(make_judge):
    with pytest.warns(UserWarning, match="1 of 3 completions were cut to the reward model's 8 tokens"):
        scorer_of(make_judge(context=8)).score(CHATS, REPLIES)


def test_more_than_one_output_is_refused(make_judge):
    with pytest.raises(ValueError, match="must have 1 output, got 3"):
        scorer_of(make_judge(labels=3)).score(CHATS, REPLIES)


def test_nothing_is_loaded_before_the_first_score():
    scorer_of("nowhere/at-all")


def test_a_whole_policy_can_be_judged_by_it(make_judge, llama, tokenizer, prompts_file):
    from omsweep.evaluation.reward import score_reward

    reward = RewardSettings(scorer="reward_model", model=str(make_judge()), prompts=str(prompts_file))
    scores = score_reward(llama, tokenizer, scorer=reward, split="search", samples=2, max_new_tokens=6)
    assert set(scores["task"]) == {"reward_model"}
    assert scores["score"].nunique() > 10


def test_what_cannot_be_loaded_or_rendered_is_one_sentence(make_judge):
    folder = make_judge()
    (folder / "chat_template.jinja").write_text("{{ raise_exception('only poems') }}")
    with pytest.raises(ValueError, match=r"^cannot render the chat that ends with 'say one' .*: only poems"):
        scorer_of(folder).score(CHATS, REPLIES)
    folder = make_judge()  # a process keeps a model that it has loaded
    (folder / "config.json").write_text('{"model_type": "llama9"}')
    with pytest.raises(ValueError, match=f"^cannot load the reward model {folder}: "):
        scorer_of(folder).score(CHATS, REPLIES)
