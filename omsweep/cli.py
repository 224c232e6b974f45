"""The command line. Answers `--help` and `check` without importing torch, TRL or Ray."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path

from omsweep import __version__
from omsweep.commands import DEFAULT_STORAGE, FAILED
from omsweep.foreign import error_line, keep_traceback, refusal
from omsweep.provenance import revision
from omsweep.redaction import redacted, refuse_secrets, visible
from omsweep.secrets import guard

BAD_USAGE, INTERRUPTED = 2, 130
LONGEST_LINE = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 done, 1 failed, 2 what the user can mend, 130 interrupted.

    An error that nobody foresaw is said in one line and its traceback is in a file; `OMSWEEP_TRACEBACK` raises it.
    """
    guard()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        _refuse_secrets(words)
    except ValueError as error:
        sys.stderr.write(f"omsweep: {error}\n")
        return BAD_USAGE
    options = _parser().parse_args(words)
    try:
        # imported when it is called: `--help` and `check` stay fast
        code: int = import_module(f"omsweep.commands.{options.verb}").execute(options)
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if os.environ.get("OMSWEEP_TRACEBACK"):
            raise
        said = refusal(error)
        line = redacted(_unforeseen(options.verb, error) if said is None else said)
        sys.stderr.write(f"omsweep: {visible(line, lines=True)}\n")
        return FAILED if said is None else BAD_USAGE


def _refuse_secrets(words: Sequence[str]) -> None:
    """Refuse a secret in any argument of any command, before anything reads it: shells and jobs show command lines."""
    for before, word in pairwise(["", *words]):
        option, _, value = word.partition("=") if word.startswith("--") else (before, "", word)
        refuse_secrets(option if option.startswith("--") else "an argument", value)


class _Version(argparse.Action):
    """As argparse's own, but git is asked only when it is called."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        found = revision()
        commit, modified = found["git_revision"], " with changes" if found["git_modified"] else ""
        sys.stdout.write(f"omsweep {__version__}" + (f" (git {commit}{modified})" if commit else "") + "\n")
        parser.exit()


def _unforeseen(verb: str, error: Exception) -> str:
    line = error_line(error)
    line = line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} ..."
    try:
        where = f"the traceback is in {keep_traceback(error)}"
    except OSError as refused:
        where = f"no file can be made for the traceback ({refused.strerror}), OMSWEEP_TRACEBACK=1 shows it"
    return f"{verb} was stopped by {line}; {where}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="omsweep", description="Find the alignment recipe with the most reward for the least tax."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print version and git revision, and end")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="verb")

    run = commands.add_parser("run", help="run a sweep, or go on with it: train, score, track and report every trial")
    extend = commands.add_parser("extend", help="run more blocks, seeds or trials of a sweep")
    fork = commands.add_parser("fork", help="run a new sweep that starts from an earlier one's results")
    fork.add_argument("old", metavar="OLD", help="name of the earlier sweep, in the same storage")
    for parser_ in (run, extend, fork):
        _add_space(parser_)
        default = "" if parser_ is fork else " (default: the file's name)"
        parser_.add_argument("--name", required=parser_ is fork, help=f"name of the sweep and its folder{default}")
        _add_running(parser_)
        parser_.add_argument(
            "--repair", action="store_true", help="go on with a log that is damaged, without the damaged events"
        )

    retry = commands.add_parser("retry", help="try failed trials of a sweep again")
    retry.add_argument("name", help="name of the sweep")
    retry.add_argument("--trial", action="append", default=[], metavar="ID", help="one of them (default: all failed)")
    retry.add_argument("--why", default="", help="kept in the sweep's log")
    _add_running(retry)

    check = commands.add_parser("check", help="check a search space file and say what it would run")
    _add_space(check)
    check.add_argument(
        "--show-examples",
        action="store_true",
        help="show the first local records as each family's template writes them",
    )
    check.add_argument(
        "--replay", metavar="SWEEP", help="what the file's scheduler would have done to a sweep's trials"
    )
    _add_storage(check)

    list_ = commands.add_parser("list", help="list the sweeps of a storage, or the jobs of a cluster that run some")
    _add_where(list_)
    list_.add_argument("--json", action="store_true", help="print plain data instead of tables")

    stop = commands.add_parser("stop", help="stop a sweep in order, and wait until it has written its report")
    stop.add_argument("name", help="name of the sweep")
    _add_where(stop)

    status = commands.add_parser("status", help="show how far a sweep is and its front")
    status.add_argument("name", help="name of the sweep")
    _add_where(status)
    status.add_argument("--json", action="store_true", help="print plain data instead of tables")

    _add_watch(commands.add_parser("watch", help="watch a sweep until it ends, from any machine that sees its storage"))
    _add_taking_home(commands)

    report = commands.add_parser("report", help="write a sweep's front, report, study and comparison again")
    _add_report(report)
    report.add_argument("--sync", action="store_true", help="have MLflow told what its sweep could not write there")
    report.add_argument("--tracking-uri", help="MLflow tracking URI for --sync (default: the sweep's)")

    submit = commands.add_parser("submit", help="run a sweep as a Ray job on a cluster")
    _add_space(submit)
    submit.add_argument("--address", help="address of the cluster's dashboard (default: $RAY_API_SERVER_ADDRESS)")
    submit.add_argument("--name", help="name of the sweep and its folder (default: the file's name)")
    submit.add_argument("--storage", required=True, help="folder all nodes of the cluster share; absolute")
    submit.add_argument("--tracking-uri", help="MLflow tracking URI the cluster reaches")
    submit.add_argument("--no-wait", action="store_true", help="return once the job is accepted")

    _add_merge(commands.add_parser("merge", help="make a model from a policy, its SFT model and its base, untrained"))

    _add_prefs(commands.add_parser("prefs", help="make preference pairs from a model's own answers and a scorer"))

    families = commands.add_parser("families", help="list the model families that a search space can name")
    families.add_argument("--json", action="store_true", help="print JSON with every field instead of a table")

    sandbox = commands.add_parser("sandbox", help="try on this machine whether programs of models can be run safely")
    sandbox.description = "Runs hostile programs in the sandbox and shows what came of each; 1 if one was not held."
    sandbox.add_argument(
        "--references",
        action="append",
        default=[],
        metavar="BENCHMARK=FILE",
        help="instead, run the solutions of a benchmark's file, which must pass, and the same without their work",
    )

    _add_data(commands.add_parser("data", help="fetch or check the data files that a tax suite wants"))

    _add_cache(commands.add_parser("cache", help="list, check or clear what is trained or made once and kept"))

    tau = commands.add_parser("tau", help="look at the task vector of two models: SFT minus base")
    verbs = tau.add_subparsers(required=True, metavar="COMMAND")
    inspect = verbs.add_parser("inspect", help="norm and zero share by layer, and where the two models do not match")
    inspect.add_argument("base", help="folder or hub id of the base model")
    inspect.add_argument("sft", help="folder or hub id of the SFT model")
    inspect.add_argument("--json", action="store_true", help="print JSON with everything instead of tables")
    return parser


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="name of the sweep")
    _add_storage(parser)
    parser.add_argument(
        "--compare", nargs="+", metavar="NAME", default=[], help="show two or more sweeps beside each other instead"
    )


def _add_taking_home(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    export = commands.add_parser("export", help="write a chosen policy of a sweep as a model folder with its card")
    _add_sweep(export)
    which = export.add_mutually_exclusive_group(required=True)
    which.add_argument("--trial", metavar="ID", help="the policy of this trial")
    which.add_argument("--knee", action="store_true", help="the knee of the family's front")
    which.add_argument("--max-tax", type=float, metavar="TAX", help="the most reward on the front with so little tax")
    export.add_argument("--family", help="whose front (default: the only family)")
    export.add_argument("--weight", type=float, metavar="W", help="SFT model + W (policy - SFT model) in its place")
    export.add_argument("--output", required=True, help="folder to write, new or empty")
    export.add_argument("--push", metavar="REPO", help="upload it there too; a new repository is private")

    evaluate = commands.add_parser("evaluate", help="score any checkpoint as a sweep scores its own policies")
    evaluate.add_argument("checkpoint", nargs="?", help="folder or hub id (id@revision)")
    evaluate.add_argument(
        "--add-reward",
        metavar="REWARD",
        help="instead: one more reward for its finished trials; a YAML file or its text",
    )
    evaluate.add_argument("--allow-scorer-code", action="store_true", help="with --add-reward: it may run Python")
    evaluate.add_argument("--sweep", required=True, metavar="NAME", help="whose SFT model, suite and scorer")
    _add_storage(evaluate)
    evaluate.add_argument("--family", help="whose SFT model, where the sweep has several (FAMILY or FAMILY#SFT_SEED)")
    evaluate.add_argument("--split", choices=("search", "report"), default="search", help="of items (default: search)")
    evaluate.add_argument("--output", metavar="FILE", help="write the scores by item: .parquet, .csv or .jsonl")
    evaluate.add_argument("--json", action="store_true", help="print plain data instead of a table")

    delete = commands.add_parser("delete", help="remove a sweep, its policies and scores")
    _add_sweep(delete)
    delete.add_argument("--yes", action="store_true", help="do not ask")


def _add_merge(parser: argparse.ArgumentParser) -> None:
    from omsweep.merging.posthoc import POSTHOC_METHODS

    rows = [
        f"  {name:16} {row.formula}\n{'':18} w {row.allowed}; {row.source}" for name, row in POSTHOC_METHODS.items()
    ]
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Merge weights tensor by tensor: files, configuration, tokenizer and chat template are the policy's,\n"
        "merge.json says how the model came about. Memory holds pieces of a few tensors, never a model.\n\n"
        "methods, w being --weight and S(x) what is kept of x:\n" + "\n".join(rows)
    )
    parser.epilog = (
        "layerwise: one --weight PART=W for each part, the first that matches a tensor counts. A part is a third of\n"
        "the layers (input, with the embedding; middle; output, with the head) or a glob over tensor names:\n"
        "  omsweep merge --method layerwise --weight input=0.2 --weight '*.mlp.*=0.5' --weight '*=0.8' ..."
    )
    parser.add_argument("--method", required=True, help="one of the above")
    parser.add_argument("--policy", required=True, help="folder or hub id of the trained policy")
    parser.add_argument("--sft", help="folder or hub id of the SFT model")
    parser.add_argument("--base", help="folder or hub id of the base model, where the formula has it")
    parser.add_argument(
        "--weight", dest="weights", action="append", required=True, metavar="[PART=]W", help="w of the formula"
    )
    parser.add_argument("--density", default="1", metavar="P", help="share of entries S keeps (default: 1)")
    parser.add_argument("--seed", default="0", metavar="N", help="seeds what S keeps (default: 0)")
    parser.add_argument("--output", required=True, help="folder to write, new or empty")


def _add_prefs(parser: argparse.ArgumentParser) -> None:
    from omsweep.evaluation.settings import SCORERS
    from omsweep.preferences.pairing import COMPARISONS
    from omsweep.preferences.request import PairSettings
    from omsweep.preferences.table import PREFERENCES

    parser.description = (
        "Sample answers to prompts, score them, and write pairs of a chosen and a rejected one, which a search space "
        "takes as `preferences: {path: OUT.jsonl}`. OUT.samples.jsonl keeps every answer and score, OUT.json says what "
        "they came from. The same command goes on where it was interrupted."
    )
    parser.add_argument("--model", required=True, help="family (its SFT model), folder or hub id (id@revision)")
    parser.add_argument(
        "--prompts", required=True, help=f"{', '.join(PREFERENCES)}, or a JSONL or Parquet file with prompt, perhaps id"
    )
    parser.add_argument(
        "--scorer", required=True, help=f"{', '.join(SCORERS)}, or what evaluate.reward takes: '{{scorer: ..., ...}}'"
    )
    parser.add_argument("--output", required=True, metavar="OUT.jsonl", help="file of pairs to write or to go on with")
    default = PairSettings()
    for name, what in (
        ("samples", "answers per prompt"),
        ("temperature", "of sampling"),
        ("max_new_tokens", "longest answer in tokens"),
        ("seed", "of the answers"),
        ("min_margin", "score points a pair must be more than apart"),
        ("pairs", f"{' or '.join(COMPARISONS)} of a prompt's answers"),
    ):
        option = "--" + name.replace("_", "-")
        parser.add_argument(
            option, metavar="HOW" if name == "pairs" else "N", help=f"{what} (default: {getattr(default, name)})"
        )
    parser.add_argument("--limit", metavar="N", help="take the first N prompts (default: all)")
    parser.add_argument("--batch-size", metavar="N", help="answers generated at a time (default: 64)")
    parser.add_argument("--dtype", help="of the model's weights (default: the family's, else float32)")


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.description = "Files lie in --data-root, which a search space names as evaluate.data_root."
    verbs = parser.add_subparsers(required=True, metavar="COMMAND", dest="action")
    for name, what in (
        ("fetch", "write the files that the hub has and that are not there yet; 1 if some are missing in the end"),
        ("verify", "compare fields, counts and repeated items with the published files; 1 if something is wrong"),
    ):
        verb = verbs.add_parser(name, help=what)
        verb.add_argument("--suite", default="paper", help="name or folder of the suite (default: paper)")
        verb.add_argument("--data-root", required=True, metavar="DIR", help="folder of the files")
        verb.add_argument("--task", action="append", metavar="NAME", help="of this task; may be given more than once")


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.description = "The cache is $OMSWEEP_CACHE, or ~/.cache/omsweep."
    verbs = parser.add_subparsers(required=True, metavar="COMMAND", dest="action")
    verbs.add_parser("ls", help="kind, size, age, last use and state of every entry")
    verify = verbs.add_parser("verify", help="read every entry and compare it with what was built; 1 if one is damaged")
    verify.add_argument("--repair", action="store_true", help="remove damaged entries: the next use builds them again")
    rm = verbs.add_parser(
        "rm",
        help="remove entries and leftovers of builds, the longest unused first; none that a process builds or uses",
    )
    rm.add_argument("--kind", action="append", help="those of this kind, as ls shows it; may be given more than once")
    rm.add_argument("--older-than", type=float, metavar="DAYS", help="those last used more than so many days ago")
    rm.add_argument("--to", type=float, metavar="GB", help="only until the cache has at most so many GB")
    rm.add_argument("--all", action="store_true", help="all of them")
    rm.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def _add_space(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("space", type=Path, help="search space file (YAML)")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set a key of the file, for example train.steps=50; may be given more than once",
    )


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.description = "Ctrl-C leaves the sweep alone."
    _add_sweep(parser)
    parser.add_argument("--interval", default="2", metavar="SECONDS", help="how often to look (default: 2)")
    parser.add_argument("--plain", action="store_true", help="a line for each change, as where stdout is no terminal")


def _add_where(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    _add_storage(where)
    where.add_argument("--address", help="look for Ray jobs through this dashboard (else of $RAY_API_SERVER_ADDRESS)")


def _add_storage(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--storage", help=f"folder that holds sweeps (default: {DEFAULT_STORAGE}/)")


def _add_running(parser: argparse.ArgumentParser) -> None:
    _add_storage(parser)
    parser.add_argument("--tracking-uri", help="MLflow tracking URI (default: sqlite:///<storage>/mlflow.db)")


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the sweep")
    _add_storage(parser)


if __name__ == "__main__":
    sys.exit(main())
