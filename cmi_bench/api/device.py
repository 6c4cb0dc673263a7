"""A device by its name."""

import re

from cmi_bench.errors import UserError
from cmi_bench.inference.devices import resolve_devices


def torch_device(name: str) -> str:
    """Return the torch device that a name stands for.

    Args:
        name: "auto" (a GPU if there is one), "cpu", "cuda" (the first GPU) or "cuda:1".

    Raises:
        UserError: There is no such device on this machine.
    """
    cuda = re.fullmatch(r"cuda(?::(\d+))?", name)
    if cuda is None and name not in ("auto", "cpu"):
        raise UserError(f"There is no device {name!r}.", "Use auto, cpu, cuda, or cuda:0, cuda:1, ...")
    try:
        if cuda is None:
            return resolve_devices(name, 1).this_process
        return resolve_devices("gpu", [int(cuda[1] or 0)]).this_process
    except UserError as error:
        raise UserError(error.what, "Use the device cpu, or one that is there.") from error
