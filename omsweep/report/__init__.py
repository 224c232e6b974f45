"""What a sweep found, for people: front.json, front.png, report.html and tables for the terminal."""

from importlib import import_module
from typing import Any

_PUBLIC = {
    "family_hypervolumes": "omsweep.results.front",
    "front_summary": "omsweep.results.front",
    "print_status": "omsweep.report.tables",
    "write_front": "omsweep.report.write",
    "write_report": "omsweep.report.write",
}
__all__ = ["family_hypervolumes", "front_summary", "print_status", "write_front", "write_report"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
