"""`omsweep export`: a chosen policy of a sweep as a Hugging Face folder with its model card."""

import argparse
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from omsweep.cluster.storage import storage_path
from omsweep.commands import DEFAULT_STORAGE, DONE
from omsweep.console import say
from omsweep.families.family import ModelFamily
from omsweep.families.licences import Rule, carried, rule_for
from omsweep.merging.posthoc import PosthocPoint
from omsweep.report.card.made import Exported
from omsweep.results.answers.picks import chosen
from omsweep.results.numbers import short, with_error
from omsweep.results.progress import space_of
from omsweep.results.view import SweepView, view_of
from omsweep.store.folder import SweepFolder, reference_of
from omsweep.store.records import Prepared, TrialRecord
from omsweep.store.state import SweepState, prepared_of
from omsweep.trial.export import LINEAR, at_hand, kept_policy


class Chosen(NamedTuple):
    """The trial that is exported, and how it was chosen, a sentence."""

    trial: TrialRecord
    how: str


class Origin(NamedTuple):
    """What a policy was made from, and the licence that this comes with."""

    prepared: Prepared
    family: ModelFamily | None
    licence: str
    rule: Rule | None


def execute(options: argparse.Namespace) -> int:
    """Choose the trial, check all that can be refused, then write the folder and say what it is."""
    folder = SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.name)
    state, output = folder.state(), Path(options.output)
    view = view_of(folder, state)
    taken = _taken(options, view)
    weight = _weight(options.weight, taken.trial)
    trial, parent = _with_policies(folder, state, taken.trial)

    from omsweep.merging.checkpoint import check_output, new_folder
    from omsweep.report.card.text import card
    from omsweep.trial.export import write_policy

    check_output(output)
    origin = _origin(state, trial)
    name = _named(origin.rule, options, output)
    if options.push is not None:
        _refuse_no_hub(options.push)
    with new_folder(output) as made:
        exported = Exported(
            **origin._asdict(),
            name=name,
            trial=trial,
            scored=_scored(view, trial, weight),
            weight=weight,
            chosen=taken.how,
            weights_hash=write_policy(trial, parent, origin.prepared, made, weight=weight),
            files=_carry(origin, made),
            command=_command(options, trial),
        )
        (made / "README.md").write_text(card(exported, view, state), encoding="utf-8")
    _say(exported, output)
    if options.push is not None:
        _push(options.push, output)
    return DONE


def _origin(state: SweepState, trial: TrialRecord) -> Origin:
    """The models that a trial was made from, which are there when this returns, and what their licence asks."""
    from omsweep.families.load import weights_hash
    from omsweep.report.card.sources import licence_of, origin

    space = space_of(state)
    family = None if space is None else next((one for one in space.families if one.name == trial.family), None)
    data = reference_of(state.prepared, trial.family, trial.sft_seed)
    if not data or not data.get("models"):
        raise ValueError(f"the sweep does not say which SFT model {trial.trial_id} was trained from")
    prepared = at_hand(prepared_of(data), family)
    if prepared.base_hash is None and prepared.base_revision is None:  # nothing else would tell which model it was
        prepared = prepared.model_copy(update={"base_hash": weights_hash(prepared.base)})
    sft, base = Path(prepared.sft), Path(prepared.base)
    licence = licence_of(family, [sft, base])
    licences = [licence, licence_of(family, [base]), *([family.licence] if family else [])]
    hubs = [one.hub for one in (origin(family, which, prepared) for which in ("base", "sft")) if one.hub]
    return Origin(prepared, family, licence, rule_for(licences, hubs, [sft, base]))


def _carry(origin: Origin, folder: Path) -> list[str]:
    """Write the licences and notices that go along; their names."""
    files = carried(Path(origin.prepared.sft), Path(origin.prepared.base), origin.rule)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return sorted(files)


def _taken(options: argparse.Namespace, view: SweepView) -> Chosen:
    """The trial that the options name; ValueError naming what there is."""
    by_id = {trial.trial_id: trial for trial in view.trials}
    if options.trial is not None:
        if options.trial not in by_id:
            there = ", ".join(view.member_ids) or ", ".join(by_id) or "none"
            raise ValueError(f"no trial {options.trial} of sweep {view.name} has ended; on a front: {there}")
        trial = by_id[options.trial]
        if options.family not in (None, trial.family):
            raise ValueError(f"{trial.trial_id} is of family {trial.family}, not {options.family}")
        place = "is" if trial.trial_id in view.member_ids else "is not"
        return Chosen(trial, f"It was named by its id; it {place} on its family's front.")
    family = _family(options.family, view)
    trial_id = chosen(view, family, max_tax=options.max_tax)
    what = (
        "the knee of its family's front"
        if options.max_tax is None
        else f"the most {view.objectives.reward.name} on its family's front with {view.objectives.tax.name} of at most"
        f" {short(options.max_tax)}"
    )
    return Chosen(by_id[trial_id], f"It was chosen as {what}.")


def _family(asked: str | None, view: SweepView) -> str:
    if asked is None and len(view.families) == 1:
        return view.families[0]
    if asked not in view.families:
        got = "this sweep has several" if asked is None else f"got {asked!r}"
        raise ValueError(f"--family must be one of {', '.join(view.families) or 'none'}; {got}")
    return asked


def _weight(given: float | None, trial: TrialRecord) -> float | None:
    if given is None:
        return None
    if trial.kind == "posthoc":
        raise ValueError(
            f"--weight is for a trained policy, {trial.trial_id} is merged already; its policy is {trial.parent}"
        )
    if given == 1.0:
        return None
    PosthocPoint(method=LINEAR, weight=given)
    return given


def _with_policies(
    folder: SweepFolder, state: SweepState, trial: TrialRecord
) -> tuple[TrialRecord, TrialRecord | None]:
    """The trial, and of one that is merged again its parent, with the places of their policies; ValueError where none
    was kept."""
    own = kept_policy(trial, folder.path)
    if own is not None:
        return trial.model_copy(update={"policy_path": str(own)}), None
    if trial.state != "completed":
        raise ValueError(f"{trial.trial_id} has no policy: it {_WITHOUT[trial.state]}")
    if trial.kind == "posthoc":
        assert trial.parent is not None, "a post-hoc trial is merged from another"
        parent = state.trials[trial.parent].record
        there = kept_policy(parent, folder.path)
        if there is not None:
            return trial.model_copy(update={"policy_path": None}), parent.model_copy(update={"policy_path": str(there)})
    gone = trial.parent if trial.kind == "posthoc" else trial.trial_id
    keep = (state.resolved.get("keep") or {}).get("policies", "all")
    why = f"keep.policies is {keep}" if keep != "all" else "its folder is gone"
    raise ValueError(
        f"the policy of {gone} was not kept ({why}). `omsweep run SPACE --name NEW --set keep.policies=all` trains the"
        " sweep again and keeps all"
    )


_WITHOUT: Mapping[str, str] = {
    "stopped": "was stopped on its way, and its scores are of its last rung",
    "diverged": "diverged",
    "failed": "failed; `omsweep retry` tries it again",
}


def _scored(view: SweepView, trial: TrialRecord, weight: float | None) -> TrialRecord | None:
    """The trial whose scores are those of the exported model; of an interpolation, the post-hoc trial that is it."""
    if weight is None:
        return trial
    point: Any = PosthocPoint(method=LINEAR, weight=weight).as_data()
    same = (
        one
        for one in view.trials
        if one.parent == trial.trial_id
        and one.state == "completed"
        and {name: one.params.get("posthoc", {}).get(name) for name in point} == point
    )
    return next(same, None)


def _named(rule: Rule | None, options: argparse.Namespace, output: Path) -> str:
    """The model's name: its repository's or folder's, with the prefix that a licence asks for."""
    name = (options.push or "").rpartition("/")[2] or output.resolve().name
    if rule is None or rule.keeps(name):
        return name
    if options.push is not None:
        allowed = options.push.rpartition("/")[0] + "/" + rule.named(name)
        raise ValueError(
            f"--push {options.push}: a model made from {rule.name} must have a name that begins with {rule.prefix}"
            f" ({rule.source}); allowed is for example {allowed.lstrip('/')}"
        )
    return rule.named(name)


def _command(options: argparse.Namespace, trial: TrialRecord) -> str:
    weight = [] if options.weight is None else ["--weight", str(options.weight)]
    return shlex.join(["omsweep", "export", options.name, "--trial", trial.trial_id, *weight, "--output", "FOLDER"])


def _say(made: Exported, output: Path) -> None:
    scored, rule = made.scored, made.rule
    said = (
        "not scored in the sweep: `omsweep evaluate` does that"
        if scored is None
        else f"reward {with_error(scored.reward, scored.reward_se_items)}, tax"
        f" {with_error(scored.tax, scored.tax_se_items)} (search split)"
    )
    weight = "" if made.weight is None else f", weight {made.weight:g} of the way from its SFT model"
    say(f"{output}: {made.trial.trial_id}{weight}; {said}; weights {made.weights_hash}")
    if rule is not None:
        must = f"its name must begin with {rule.prefix}: the card calls it {made.name}" if rule.prefix else "any name"
        say(f"made from {rule.name} ({rule.source}): {must}; the notice is in NOTICE")


def _refuse_no_hub(repository: str) -> None:
    """ValueError, or what the hub raises, where nothing can be uploaded."""
    from huggingface_hub import HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise ValueError(f"--push {repository}: the hub is switched off (HF_HUB_OFFLINE)")
    if get_token() is None:
        raise ValueError(f"--push {repository}: log in first, with `hf auth login` or HF_TOKEN in the environment")
    HfApi().whoami()


def _push(repository: str, output: Path) -> None:
    """Upload the folder; a repository that is not there is made, private."""
    from huggingface_hub import HfApi

    hub = HfApi()
    hub.create_repo(repository, private=True, exist_ok=True)
    where = hub.upload_folder(repo_id=repository, folder_path=output, commit_message="Export from omsweep")
    say(f"pushed to {where}")
