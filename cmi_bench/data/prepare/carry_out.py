"""Do what the plan says."""

import logging
from pathlib import Path

import httpx2

from cmi_bench.data.prepare.fetch_all import fetch_all, raise_first
from cmi_bench.data.prepare.plan import Plan
from cmi_bench.data.prepare.record import add_to_record
from cmi_bench.data.prepare.work import Work

log = logging.getLogger(__name__)


def carry_out(plan: Plan, client: httpx2.Client, *, root: Path, jobs: int) -> None:
    """Fetch, unpack and record; what is complete when something else fails is unpacked and recorded as well.

    Raises:
        UserError: Something could not be had.
    """
    failures = fetch_all(client, plan.downloads, jobs=jobs)
    for work in plan.works:
        if not any(item.target in failures for item in work.downloads):
            _finish(work, root)
    raise_first(failures)


def _finish(work: Work, root: Path) -> None:
    if work.unpacked_bytes:
        log.info("Unpacking %s ...", work.name)
    contents = dict(work.contents) | dict(work.finish())
    if contents:
        add_to_record(root, work.slug, contents, origin=work.origin)
