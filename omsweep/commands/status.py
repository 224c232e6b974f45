"""`omsweep status`: how far a sweep is, what runs, and its front."""

import argparse
import json
from dataclasses import asdict

from omsweep.cluster.storage import storage_path
from omsweep.commands import DEFAULT_STORAGE, DONE, dashboard_address
from omsweep.console import say
from omsweep.report.tables import print_status
from omsweep.results.progress import Driver
from omsweep.results.view import SweepView, read_view
from omsweep.store.folder import SweepFolder
from omsweep.strict_json import plain

LOG_LINES = 30


def execute(options: argparse.Namespace) -> int:
    """Print the state of a sweep from its folder; without the folder what its cluster's dashboard knows."""
    folder = SweepFolder(storage_path(options.storage, DEFAULT_STORAGE), options.name)
    address = dashboard_address(options.address)
    if options.address or (address and options.storage is None and not folder.exists()):
        return _of_job(address, options.name, as_data=options.json)
    driver = None if folder.exists() else Driver.of(folder.files)
    if driver is not None:
        raise FileNotFoundError(f"sweep {folder.path} has no trials yet: {driver.name} prepares its models and data")
    if options.json:
        text = json.dumps(as_json(read_view(folder)), indent=2, allow_nan=False, ensure_ascii=False)
        say(text)
    else:
        print_status(folder)
    return DONE


def _of_job(address: str | None, name: str, *, as_data: bool) -> int:
    """Print how the last job of a sweep stands, and the end of its log."""
    from omsweep.cluster.dashboard import connected, job_of

    with connected(address) as client:
        job = job_of(client, name)
        log = client.get_job_logs(job.job_id).splitlines()[-LOG_LINES:]
        where = client.get_address()
    if as_data:
        text = json.dumps(plain(asdict(job) | {"log": log}), indent=2, ensure_ascii=False)
    else:
        text = f"{name}: job {job.job_id} on {where}, {job.how}; the end of its log:\n" + "\n".join(log)
    say(text)
    return DONE


def as_json(view: SweepView) -> dict[str, object]:
    """What `status --json` prints: a sweep's progress, and its fronts."""
    summary = view.summary
    families = {
        name: {key: content[key] for key in ("scored", "hypervolume", "note", "members")}
        for name, content in summary["families"].items()
    }
    found = {"scored": summary["scored"], "hypervolume": summary["hypervolume"], "families": families}
    made: dict[str, object] = plain({"name": view.name, **asdict(view.progress), **found})
    return made
