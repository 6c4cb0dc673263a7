"""Work on items together; where that fails, find out which item is to blame."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from cmi_bench.errors import RunError, UserError

log = logging.getLogger(__name__)

Item = TypeVar("Item")


def in_halves(
    items: Sequence[Item],
    work: Callable[[Sequence[Item]], None],
    *,
    blame: Callable[[Item, str], None],
) -> None:
    """Do the work on all items at once; if that raises, on each half, down to the item that fails alone.

    So a batch that is too large for the device's memory is halved until it fits, and a broken clip
    costs no other clip its score.

    Args:
        items: What to work on.
        work: Raises if it cannot; must be safe to repeat on parts.
        blame: Called with an item that fails alone, and the reason.

    Raises:
        RunError: Passed on from `work`.
    """
    if not items:
        return
    try:
        work(items)
        return
    except RunError:
        raise
    except Exception as error:  # whatever a model raises is its failure on these items
        log.debug("%d items together failed", len(items), exc_info=True)
        reason = _reason(error)
    # Outside of the handler: its traceback would keep the tensors of the failed attempt in memory.
    if len(items) == 1:
        blame(items[0], reason)
        return
    middle = len(items) // 2
    for half in (items[:middle], items[middle:]):
        in_halves(half, work, blame=blame)


def _reason(error: Exception) -> str:
    return error.what if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
