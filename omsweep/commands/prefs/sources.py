"""The model that answers and the scorer that judges, for `omsweep prefs`: found, identified, loaded when needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from omsweep.align.template import tokenizer_hash
from omsweep.evaluation.generation import encode_prompts, generate
from omsweep.evaluation.rewards.reward_models import trained_folder
from omsweep.evaluation.scorers import make_scorer
from omsweep.evaluation.settings import RewardSettings
from omsweep.families.chat_template import check_prompts, template_of
from omsweep.families.decoding import PLAIN, Decoding, resolved_decoding
from omsweep.families.folder import check_causal
from omsweep.families.load import (
    empty_model,
    find,
    load_generation_config,
    load_model,
    load_tokenizer,
    prepare,
    weights_hash,
)
from omsweep.families.table import FAMILIES, family_from
from omsweep.merging.names import listed
from omsweep.preferences.collection import AnswerPrompts
from omsweep.preferences.pairing import Answer, finite
from omsweep.preferences.prompts import Prompt
from omsweep.preferences.request import PairSettings
from omsweep.trial.models import placed
from omsweep.trial.prepare.reward_model import build_reward_model


@dataclass(frozen=True, kw_only=True)
class PairSources:
    """A model's folder, how it is loaded and answers, and its scorer; `identity` names the bytes of both."""

    folder: str
    dtype: str
    tokenizer: Any
    decoding: Decoding
    reward: RewardSettings
    identity: dict[str, Any]

    def check_room(self, prompts: Sequence[Prompt], max_new_tokens: int) -> None:
        """ValueError naming the prompts that the chat template cannot render, or that leave no room for an answer."""
        called = ((f"prompt {prompt.id}", prompt.messages) for prompt in prompts)
        check_prompts(template_of(self.tokenizer), called, self.folder)
        context = getattr(empty_model(self.folder).config, "max_position_embeddings", None)
        lengths = map(len, encode_prompts(self.tokenizer, [prompt.messages for prompt in prompts]))
        long = [
            f"{prompt.id} ({length} tokens)"
            for prompt, length in zip(prompts, lengths, strict=True)
            if context is not None and length + max_new_tokens > context
        ]
        if long:
            raise ValueError(
                f"prompts must leave room for max_new_tokens={max_new_tokens} in the model's context of {context} "
                f"tokens, too long: {listed(long)}"
            )

    def answering(self, settings: PairSettings, *, batch_size: int) -> AnswerPrompts:
        """Load both, the scorer first because it may not fit; returns what samples and scores some prompts."""
        scorer = make_scorer(self.reward)
        scorer.score([], [])
        model = placed(load_model(self.folder, dtype=self.dtype))

        def answer(prompts: Sequence[Prompt]) -> list[list[Answer]]:
            chats = [prompt.messages for prompt in prompts]
            drawn = generate(
                model,
                self.tokenizer,
                chats,
                decoding=self.decoding,
                samples=settings.samples,
                temperature=settings.temperature,
                max_new_tokens=settings.max_new_tokens,
                seed=settings.seed,
                batch_size=batch_size,
            )
            flat = [(chat, completion) for chat, row in zip(chats, drawn, strict=True) for completion in row]
            scores = iter(scorer.score([chat for chat, _ in flat], [completion.text for _, completion in flat]))
            return [
                [
                    Answer(text=one.text, score=finite(next(scores)), tokens=one.length, finished=one.finished)
                    for one in row
                ]
                for row in drawn
            ]

        return answer


def resolve_sources(model: str, reward: RewardSettings, *, dtype: str | None) -> PairSources:
    """Find a model and a scorer, hash their weights and load the tokenizer; an embedded family may have to be trained.

    Args:
        model: family name, folder or hub id.
        reward: the scorer.
        dtype: None: the family's, else float32.

    Raises:
        ValueError: neither family nor folder nor hub id that can be had, or no chat template.
    """
    family = family_from(model) if model in FAMILIES else None
    build_reward_model(reward, progress=tqdm)
    judge = _judge(reward)
    if family is None:
        folder, commit = _outside(model)
    elif family.recipe is not None:
        folder, commit = prepare(family).sft, None
    else:
        folder, commit = find(family.sft, revision=family.revision)
    asked = family.decoding if family else PLAIN
    tokenizer = load_tokenizer(
        folder,
        chat_template=family.chat_template if family else None,
        template_arguments=asked.template_arguments,
    )
    decoding = resolved_decoding(tokenizer, load_generation_config(folder), asked)
    chosen = dtype or (family.dtype if family else "float32")
    answering = {
        "revision": commit,
        "weights_hash": weights_hash(folder),
        "tokenizer_hash": tokenizer_hash(tokenizer),
        "decoding": decoding.model_dump(mode="json"),
    }
    return PairSources(
        folder=folder,
        dtype=chosen,
        tokenizer=tokenizer,
        decoding=decoding,
        reward=reward,
        identity={"model": answering | {"dtype": chosen}, "scorer": judge},
    )


def _outside(model: str) -> tuple[str, str | None]:
    try:
        found = find(model)
        check_causal(Path(found[0]), answers=True)
        return found
    except ValueError as error:
        raise ValueError(f"--model is no family (omsweep families), and {error}") from error


def _judge(reward: RewardSettings) -> dict[str, Any]:
    """Commit and weights of the scorer's model; empty for a scorer without one."""
    if reward.model is None:
        return {}
    folder, commit = find(trained_folder(reward.model), revision=reward.revision)
    hashed = weights_hash(folder) if any(Path(folder).glob("*.safetensors")) else None
    return {"revision": commit, "weights_hash": hashed}
