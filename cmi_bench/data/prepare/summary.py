"""What there is when `task=prepare` is done, in words."""

import logging

from cmi_bench.data.manifest import read_manifest
from cmi_bench.data.prepare.prepare import Preparation
from cmi_bench.data.prepare.space import in_words

log = logging.getLogger(__name__)

SHOWN = 3


def summary(preparation: Preparation) -> str:
    """Return one line about the audio that is there; what of it cannot be decoded is warned about."""
    order = preparation.order
    known = read_manifest(order.manifest).records
    records = [known[path] for path in preparation.wanted() if path in known]
    broken = [record.path for record in records if record.error]
    if broken:
        more = f" and {len(broken) - SHOWN} more" if len(broken) > SHOWN else ""
        log.warning(
            "Upstream's own, but not to be decoded: %s%s. `python run.py task=doctor` says why.",
            ", ".join(broken[:SHOWN]),
            more,
        )
    size = in_words(sum(record.bytes for record in records))
    hours = sum(record.seconds or 0.0 for record in records) / 3600
    return f"All there: {len(records):,} audio files, {size}, {hours:,.1f} hours, in {order.root}"
