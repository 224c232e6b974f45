"""What a sweep found, for people: front.json, front.png, report.html and tables for the terminal."""

from omsweep.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "family_hypervolumes": "omsweep.results.front",
        "front_summary": "omsweep.results.front",
        "print_status": "omsweep.report.tables",
        "write_front": "omsweep.report.write",
        "write_report": "omsweep.report.write",
    },
)
