"""Tensors read strictly, and digests of weights.

Every tensor that a network has is in the file, and every tensor of the file is used or listed as not used. Digests are
kept from run to run, so that gigabytes are read once and not whenever a model is built.
"""

import hashlib
import io
import logging
import pickle
import re
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from cmi_bench.errors import UserError
from cmi_bench.utils.files import content_key, write_text_atomic

log = logging.getLogger(__name__)

NAMES_SHOWN = 5
"""Tensors named in an error; the rest are counted."""
WHOLE = "Is it the whole checkpoint, with its own configuration?"


def load_strictly(
    network: nn.Module,
    file: Path,
    *,
    name_in_file: Callable[[str], str] = str,
    not_used: Iterable[str] = (),
) -> None:
    """Fill a network, which may have been built without memory (on the meta device), from one file.

    Args:
        network: What to fill; afterwards in float32, mapped from the file, and without gradients.
        file: A `.safetensors` file, or a state dict that PyTorch saved.
        name_in_file: Returns what a tensor of the network is called there.
        not_used: Patterns (fnmatch) of tensors of the file that are not loaded.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape, or the file cannot be read.
    """
    own = network.state_dict()
    wanted = {name_in_file(name): tensor for name, tensor in own.items()}
    tensors = read_tensors(file, wanted, not_used=not_used)
    refuse("missing", wanted.keys() - tensors.keys(), [file], WHOLE)
    network.load_state_dict({name: tensors[name_in_file(name)] for name in own}, assign=True)
    network.requires_grad_(False)


def read_tensors(
    file: Path,
    wanted: Mapping[str, Tensor],
    *,
    rename: Callable[[str], str] = str,
    not_used: Iterable[str] = (),
) -> dict[str, Tensor]:
    """Return those of the tensors wanted that a file has, as float32.

    Args:
        file: A `.safetensors` file, or a state dict that PyTorch saved.
        wanted: Tensors of the right shapes, by name.
        rename: Returns the name in `wanted` of what the file calls otherwise.
        not_used: Patterns (fnmatch) of tensors that may be there and are not loaded.

    Raises:
        UserError: A tensor is unexpected or of another shape, or the file cannot be read.
    """
    with _opened(file) as stored:
        names = {rename(name): name for name in stored.names}
        unknown = [names[name] for name in without(names.keys() - wanted.keys(), not_used)]
        refuse("unexpected", unknown, [file], "Does the configuration belong to these weights?")
        found = {name: stored.tensor(theirs) for name, theirs in names.items() if name in wanted}
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise UserError(
                f"{file}: tensor {names[name]} has shape {list(tensor.shape)}; the configuration makes it"
                f" {list(wanted[name].shape)}.",
                "Use the configuration files that came with the weights.",
            )
    return {name: tensor.to(torch.float32) for name, tensor in found.items()}


def without(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the names that match none of the patterns (fnmatch, case counts)."""
    known = tuple(patterns)
    return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in known)]


class _Stored(NamedTuple):
    """An open file of tensors."""

    names: list[str]
    tensor: Callable[[str], Tensor]


@contextmanager
def _opened(file: Path) -> Iterator[_Stored]:
    try:
        if file.suffix == ".safetensors":
            with safe_open(file, framework="pt") as opened:
                yield _Stored(list(opened.keys()), opened.get_tensor)
        else:  # of a pickle nothing but tensors is read, so that it can run no code
            tensors = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
            yield _Stored(list(tensors), tensors.__getitem__)
    except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0]
        kind = file.suffix if file.suffix == ".safetensors" else f"{file.suffix} (state dict)"
        raise UserError(f"Cannot read {file}: {reason}", f"It must be a complete {kind} file; get it again.") from error


STORAGES = {
    "BFloat16Storage": torch.bfloat16,
    "BoolStorage": torch.bool,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "ShortStorage": torch.int16,
}
"""PyTorch's names in pickles of what holds numbers."""


class _Ignored:
    """Stands in a pickle for everything that is no tensor: takes any content, and does nothing."""

    def __init__(self, *_args: object, **_kwargs: object) -> None: ...

    def __call__(self, *_args: object, **_kwargs: object) -> "_Ignored":
        return self

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None:
        """Drop an item."""

    def extend(self, items: object) -> None:
        """Drop items."""


class _StoredTensor(NamedTuple):
    """A tensor in a pickle, not read yet."""

    storage: tuple[str, torch.dtype]
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild(storage: Any, offset: Any, shape: Any, stride: Any, *_rest: object) -> _StoredTensor:
    return _StoredTensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


class _TensorsOnly(pickle.Unpickler):
    """Reads tensors, dictionaries, lists, texts and numbers, and imports nothing, so that no code can run.

    `torch.load(weights_only=True)` does as much, but not for pickles of protocol 4 (torch 2.14.1), nor where NumPy's
    numbers are among the tensors: both hold for LAION's checkpoints.
    """

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return _rebuild
        if module == "torch._utils" and name == "_rebuild_parameter":
            return lambda tensor, *_rest: tensor
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else _Ignored

    def persistent_load(self, pid: Any) -> Any:
        _, dtype, key, *_ = pid
        return (str(key), dtype) if isinstance(dtype, torch.dtype) else _Ignored()


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors` file, or of a training checkpoint that PyTorch (1.6 or newer) saved.

    Of a training checkpoint only its `state_dict` is read, if it has one. No code of the file runs.

    Raises:
        UserError: The file cannot be read, or holds no tensors; the message names it.
    """
    if file.suffix == ".safetensors":
        with _opened(file) as stored:
            return {name: stored.tensor(name) for name in stored.names}
    try:
        with zipfile.ZipFile(file) as archive:
            root = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
            content = _TensorsOnly(io.BytesIO(archive.read(f"{root}data.pkl"))).load()
            tensors = content.get("state_dict", content)
            return {
                str(name): _read_tensor(archive, root, one)
                for name, one in dict.items(tensors)
                if isinstance(one, _StoredTensor)
            }
    except Exception as error:  # what a damaged pickle raises has no common class
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(f"Cannot read {file}: {reason}", "It must be a complete checkpoint; get it again.") from error


def _read_tensor(archive: zipfile.ZipFile, root: str, stored: _StoredTensor) -> Tensor:
    key, dtype = stored.storage
    content = bytearray(archive.read(f"{root}data/{key}"))  # which compares the checksum
    numbers = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
    return numbers.as_strided(stored.shape, stored.stride, stored.offset)


def refuse(what: str, names: Iterable[str], files: Iterable[Path], hint: str) -> None:
    """Raise an error that names tensors, if there are any.

    Raises:
        UserError: There are some.
    """
    listed = sorted(names)
    if not listed:
        return
    more = f" and {len(listed) - NAMES_SHOWN} more" if len(listed) > NAMES_SHOWN else ""
    tensors = "tensor" if len(listed) == 1 else "tensors"
    where = " and ".join(str(file) for file in files)
    raise UserError(f"{where}: {what} {tensors} {', '.join(listed[:NAMES_SHOWN])}{more}.", hint)


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over tensors by name, whatever file they came from: hexadecimal."""
    names = sorted(tensors)
    whole = hashlib.sha256()
    with ThreadPoolExecutor() as pool:  # hashing lets the other threads run
        for name, content in zip(names, pool.map(_content_digest, [tensors[name] for name in names]), strict=True):
            whole.update(f"{name} {list(tensors[name].shape)} {tensors[name].dtype}".encode() + content)
    return whole.hexdigest()


def _content_digest(tensor: Tensor) -> bytes:
    # As bytes, since NumPy knows no bfloat16; the shape of a scalar has no last dimension to view.
    return hashlib.sha256(tensor.detach().contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data).digest()


SETTLED = 2.0
"""Seconds for which a file must have been left alone: one that changes again within a tick of the file system's clock
would keep its times."""
DIGEST = re.compile(b"[0-9a-f]{64}")


def known_digest(folder: Path | None, files: Sequence[Path], make: Callable[[], str], **what: object) -> str:
    """Return a digest of files, made anew only where one of them was written to, moved or exchanged.

    A file is taken for unchanged while path, inode, size and both of its times (of its content, and of its last change
    of any kind, which no program can set) are what they were. What is kept is one small file for each digest; a damaged
    one is made anew.

    Args:
        folder: Where digests are kept; None keeps nothing.
        files: What is read to make it.
        make: Makes it: SHA-256, hexadecimal.
        what: Plain values that name the part of the files that is digested.
    """
    if folder is None:
        return make()
    key = content_key(files=[_state(file) for file in files], what=what)
    path = folder / key
    found = path.read_bytes() if path.is_file() else b""
    if DIGEST.fullmatch(found):
        return found.decode()
    digest = make()
    unchanged = key == content_key(files=[_state(file) for file in files], what=what)
    if unchanged and all(time.time() - file.stat().st_ctime > SETTLED for file in files):
        _keep(path, digest)
    return digest


def _state(file: Path) -> list[str | int]:
    status = file.stat()
    return [str(file.resolve()), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _keep(path: Path, digest: str) -> None:
    try:
        write_text_atomic(path, digest)
    except OSError as error:
        log.warning("%s cannot be written (%s); the next run reads the weights again.", path, error.strerror)
