"""Whether what a space's rewards name can be read: templates and baselines of judges."""

from omsweep.evaluation.judges.baseline import baseline_answers
from omsweep.evaluation.judges.questions import template_of
from omsweep.evaluation.judges.settings import SFT
from omsweep.space.knobs import SpaceError
from omsweep.space.search_space import SearchSpace


def check_rewards(space: SearchSpace) -> None:
    """Raises SpaceError naming the reward and the file; no judge is asked."""
    for reward in space.evaluate.all_rewards:
        key = "reward" if reward is space.evaluate.reward else f"rewards.{reward.name}"
        if reward.judge is None:
            continue
        try:
            template_of(reward.judge.template_file)
            if reward.judge.against != SFT:
                baseline_answers(reward.judge.against)
        except (ValueError, OSError) as error:
            raise SpaceError(f"evaluate.{key}.judge", str(error)) from None
        wanted = reward.judge.key
        if wanted is not None and wanted not in space.file.secrets:
            raise SpaceError(
                f"evaluate.{key}.judge.key",
                f"{wanted} must be named under `secrets`, {{{wanted}: env}} or {{{wanted}: 'file:/PATH'}}: workers have"
                " no variables but these",
            )
