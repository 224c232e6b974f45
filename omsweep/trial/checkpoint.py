"""A saved model, whoever trained it, scored as a trial's policy is."""

from typing import Any

from omsweep.evaluation.settings import EvaluateSettings
from omsweep.evaluation.spread import Models
from omsweep.store.records import Prepared
from omsweep.trial.models import placed, sft_model
from omsweep.trial.scoring import score_split, served


def score_checkpoint(
    evaluate: EvaluateSettings, prepared: Prepared, path: str, split: str, *, reference: Any = None
) -> tuple[Any, dict[str, Any]]:
    """A saved model's table of scores on a split, and the numbers of `Scores`, named as on the search split.

    Its chat template and stop tokens are the SFT model's. `kl` is None for a model with another vocabulary
    and where a server answers.

    Args:
        evaluate: what is measured.
        prepared: of the SFT model that it is measured against.
        path: folder or hub id.
        split: `search` or `report`.
        reference: the SFT model's table; None: from the cache, or scored now.

    Raises:
        ValueError: transformers cannot load it, or it has no tokenizer.
    """
    from omsweep.families.load import find, load_model, load_tokenizer

    tokenizer = load_tokenizer(path, chat_template=prepared.chat_template)
    if evaluate.backend.serves:
        models = Models(None, tokenizer, folder=find(path)[0])
        with served(evaluate, prepared, models) as backend:
            return score_split(evaluate, prepared, models, split, reference=reference, backend=backend)
    policy, sft = placed(load_model(path, dtype=prepared.dtype)), sft_model(prepared)
    comparable = policy.config.vocab_size == sft.config.vocab_size
    models = Models(policy, tokenizer, sft if comparable else None)
    return score_split(evaluate, prepared, models, split, reference=reference)
