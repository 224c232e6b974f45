"""What all trials from one SFT model of a family share: its folders, task vectors, preference data, tokenised data, SFT
scores. The reference's log-probs are in `reference.py`.

Everything lands in the cache, keyed by recipe; what is returned is plain data that names it.
"""

import time
from dataclasses import replace
from typing import Any

from omsweep.cache import recipe_hash
from omsweep.console import say
from omsweep.families.family import ModelFamily
from omsweep.foreign import calling
from omsweep.preferences.settings import PreferenceData
from omsweep.provenance import versions
from omsweep.store.records import Prepared, Scores
from omsweep.trial.gpu_memory import hold_gpu_memory
from omsweep.trial.merge import check_models, check_parts
from omsweep.trial.models import sft_model
from omsweep.trial.prepare.request import Preparation
from omsweep.trial.prepare.reward_model import build_reward_model
from omsweep.trial.prepare.training_data import training_data
from omsweep.trial.scoring import answers_of, reference_table

PREFERENCE_SEED = 0
SILENT_SECONDS = 60


class Milestones:
    """A progress bar for logs: a line at each quarter of the way, and every minute, with the time left."""

    def __init__(self, *, total: int, desc: str) -> None:
        self._total, self._desc, self._done = total, desc, 0
        self._began = self._said = time.monotonic()

    def update(self, n: int = 1) -> None:
        """Count `n` more steps."""
        before, self._done = self._done, self._done + n
        now = time.monotonic()
        if 4 * before // self._total < 4 * self._done // self._total or now - self._said >= SILENT_SECONDS:
            left = (now - self._began) * (self._total - self._done) / self._done
            say(f"{self._desc}: {self._done}/{self._total}, about {left:.0f} s left")
            self._said = now

    def close(self) -> None:
        """Nothing is held open."""


def prepare_family(wanted: Preparation, progress: Any) -> tuple[Prepared, Any]:
    """Build or find everything that the trials of one family read which start from one SFT model.

    Args:
        wanted: what to make ready.
        progress: a tqdm-like class for progress bars.

    Returns:
        What was made ready, and the SFT model's table of scores on every split that all policies are scored on.

    Raises:
        ValueError: a family, preference data, reward prompts or suite that cannot be used, preference prompts that are
            scored on, or a base and SFT model that do not fit.
    """
    import pandas

    from omsweep.evaluation.scored_texts import scored_texts
    from omsweep.evaluation.statistics import reward_and_tax
    from omsweep.families.decoding import resolved_decoding
    from omsweep.families.load import load_generation_config, load_tokenizer, prepare, weights_hash
    from omsweep.trial.prepare.task_vectors import say_vocabulary

    family = wanted.family
    hold_gpu_memory(wanted.gpu_memory_gib)
    with calling("read the tax suite and the reward prompts"):
        scored = scored_texts(wanted.evaluate)
    for reward in wanted.evaluate.all_rewards:
        build_reward_model(reward, progress=progress)
    folders = prepare(family, progress=progress)
    check_models(wanted.base_users, family.name, folders.base, folders.sft)
    if wanted.base_users or wanted.task_vectors:
        say_vocabulary(family.name, folders)
    check_parts(wanted.points_by_part, folders.sft)
    tokenizer = load_tokenizer(
        folders.sft,
        revision=folders.sft_revision,
        chat_template=family.chat_template,
        template_arguments=family.decoding.template_arguments,
    )
    generation_config = load_generation_config(folders.sft, revision=folders.sft_revision)
    models = Prepared(
        base=str(folders.base),
        base_revision=folders.base_revision,
        base_hash=weights_hash(folders.base, folders.base_revision) if wanted.base_users else None,
        sft=str(folders.sft),
        sft_revision=folders.sft_revision,
        sft_seed=family.sft_seed,
        weights_hash=weights_hash(folders.sft, folders.sft_revision),
        dtype=wanted.dtype,
        chat_template=tokenizer.get_chat_template(),
        decoding=resolved_decoding(tokenizer, generation_config, family.decoding).model_dump(mode="json"),
        gpu_memory_gib=wanted.gpu_memory_gib,
        versions=versions(),
    )
    task_vectors = _task_vectors(wanted, models, progress)

    def load_pairs(source: PreferenceData) -> Any:
        return _preferences(wanted, source, models, tokenizer, progress)

    data = training_data(wanted, models, tokenizer, load_pairs, scored)
    tables = {split: reference_table(wanted.evaluate, models, split) for split in wanted.splits}
    for limit in wanted.rung_limits:
        reference_table(replace(wanted.evaluate, limit=limit), models, "search")
    made = {
        "task_vectors": task_vectors,
        **data,
        "reference": Scores(**reward_and_tax(tables["search"], tables["search"])),
    }
    return models.model_copy(update=made), pandas.concat(tables.values(), ignore_index=True)


def _task_vectors(wanted: Preparation, models: Prepared, progress: Any) -> dict[str, str]:
    from omsweep.trial.prepare.task_vectors import task_vector_files

    other = None if wanted.other is None else _with_sft_of(models, wanted.other, progress)
    files = task_vector_files(
        wanted.task_vectors, models, other=other, dtype=wanted.task_vector_dtype, progress=progress
    )
    return {kind: str(file) for kind, file in files.items()}


def _with_sft_of(models: Prepared, family: ModelFamily, progress: Any) -> Prepared:
    """The same models with another SFT model of the family in place of the first."""
    from omsweep.families.load import prepare, weights_hash

    folders = prepare(family, progress=progress)
    other = {
        "sft": str(folders.sft),
        "sft_revision": folders.sft_revision,
        "weights_hash": weights_hash(folders.sft, folders.sft_revision),
    }
    return models.model_copy(update=other)


def _preferences(
    wanted: Preparation,
    source: PreferenceData,
    models: Prepared,
    tokenizer: Any,
    progress: Any,
) -> Any:
    from omsweep.evaluation.generation import generate
    from omsweep.families.decoding import Decoding
    from omsweep.preferences.load import load_preferences

    evaluate, decoding = wanted.evaluate, Decoding(**models.decoding)

    def sample_completions(prompts: Any, samples: int, seed: int) -> list[list[str]]:
        bar = progress(total=len(prompts) * samples, desc="preference answers")
        drawn = generate(
            sft_model(models),
            tokenizer,
            prompts,
            decoding=decoding,
            samples=samples,
            temperature=1.0,
            max_new_tokens=evaluate.max_new_tokens,
            seed=seed,
            batch_size=evaluate.batch_size,
            on_finished=bar.update,
        )
        bar.close()
        return [[completion.text for completion in row] for row in drawn]

    return load_preferences(
        source,
        family_key=recipe_hash({**answers_of(models), "max_new_tokens": evaluate.max_new_tokens}),
        generate=sample_completions,
        seed=PREFERENCE_SEED,
    )
