"""A model object that a program has in memory, whose weights may be others the next time: what it is at the moment.

`model_state` digests all that settles the model's scores: weights, buffers, attributes, and what the functions of its
class take from around them. `in_memory` puts that into the model's identities, so that scores and embeddings of other
weights are never taken for its own. Where the state cannot be read whole, nothing is used again.
"""

import hashlib
import io
import pickle
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import cmi_bench
from cmi_bench.models.adapter import AdaptedEmbeddingModel, AdaptedModel, adapt
from cmi_bench.models.base import EmbeddingModel
from cmi_bench.utils.files import content_key

INSTALLED = tuple(
    str(folder)
    for folder in (
        *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        Path(cmi_bench.__file__).parent,
    )
)
"""Where code is that other parts of an address stand for: versions of libraries, and the package's own sources."""
MOST_OBJECTS = 100_000
"""Objects that are looked through for networks."""


class ModelState(NamedTuple):
    """What a model is at the moment."""

    digest: str | None
    """SHA-256 of all that settles its scores; None where a part of it cannot be read."""
    has_weights: bool
    """Whether there are tensors or arrays in it."""


def model_state(model: object) -> ModelState:
    """Return what a model is at the moment; equal digests mean equal scores.

    Whether a network is in training mode does not count, nor do gradients, optimizers and Lightning's trainer.
    """
    pickler = _StatePickler()
    try:
        pickler.dump(model)
    except Exception:  # objects of other people that cannot be pickled raise what they like
        return ModelState(None, pickler.has_weights)
    if any(id(network) not in pickler.networks for network in networks_of(model)):
        return ModelState(None, pickler.has_weights)  # an object keeps a network out of its pickle
    return ModelState(pickler.file.sha256.hexdigest(), pickler.has_weights)


class _Hash(io.RawIOBase):
    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, content: Any) -> int:
        self.sha256.update(content)
        return len(content)


class _StatePickler(pickle.Pickler):
    """Digests an object's pickle, in which tensors and arrays are digests, and code goes with its surroundings.

    Nothing is ever unpickled.
    """

    def __init__(self) -> None:
        self.file = _Hash()
        self.has_weights = False
        self.networks: set[int] = set()
        """Ids of those that were met."""
        self._seen: set[int] = set()
        super().__init__(self.file, protocol=5)

    def reducer_override(self, obj: Any) -> Any:
        """Return what stands for an object, in the form of `__reduce__`: a callable and its arguments."""
        if isinstance(obj, Tensor):
            self.has_weights |= obj.numel() > 0
            return str, (_tensor_digest(obj),)
        if isinstance(obj, np.ndarray) and obj.dtype.kind in "biufc":
            self.has_weights |= obj.size > 0
            return str, (_array_digest(obj),)
        if isinstance(obj, nn.Module):
            self.networks.add(id(obj))
            return tuple, ((type(obj), *sorted(_attributes(obj).items())),)
        if isinstance(obj, type | FunctionType):
            if not _is_users(obj):
                return NotImplemented if isinstance(obj, type) else (str, (_name(obj),))
            is_new = id(obj) not in self._seen
            self._seen.add(id(obj))
            return tuple, ((_name(obj), *(_surroundings(obj) if is_new else ())),)
        return NotImplemented


def _is_users(obj: Any) -> bool:
    """Whether a class or function is of the user's own code."""
    module = obj.__module__ or ""
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    in_library = module.partition(".")[0] in sys.stdlib_module_names and module != "__main__"
    return not in_library and not file.startswith(INSTALLED)


def _name(obj: Any) -> str:
    return f"{obj.__module__}.{obj.__qualname__}"


def _tensor_digest(tensor: Tensor) -> str:
    values = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    content = hashlib.sha256(f"{values.dtype} {list(values.shape)}".encode())
    content.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def _array_digest(array: "np.ndarray[Any, Any]") -> str:
    content = hashlib.sha256(f"{array.dtype.str} {list(array.shape)}".encode())
    content.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return content.hexdigest()


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return a network's attributes in a canonical form, without those that say how it is being trained."""
    return {
        name: sorted(value, key=str) if isinstance(value, set) else value
        for name, value in vars(module).items()
        if name != "training" and name not in _of_lightning()
    }


@cache
def _of_lightning() -> frozenset[str]:
    """Return what Lightning itself keeps in a module: its trainer, the hook that runs, and the like."""
    from lightning.pytorch import LightningModule  # here: a model need not be one, and it takes a second

    return frozenset(vars(LightningModule()).keys() - vars(nn.Module()).keys())


def _functions(owner: type) -> Iterator[FunctionType]:
    for member in vars(owner).values():
        parts = (member.fget, member.fset) if isinstance(member, property) else (getattr(member, "__func__", member),)
        yield from (part for part in parts if isinstance(part, FunctionType))


def _surroundings(obj: type | FunctionType) -> tuple[Any, ...]:
    """Return a function's code, its defaults, and the values of what it takes from around it; or a class's methods."""
    if isinstance(obj, type):
        return (*obj.__bases__, *_functions(obj))
    code = obj.__code__
    taken = {name: obj.__globals__[name] for name in sorted(_names(code)) if name in obj.__globals__}
    values = {name: value for name, value in taken.items() if not isinstance(value, ModuleType)}
    cells = [cell.cell_contents for cell in obj.__closure__ or ()]
    return _plain(code), obj.__defaults__, obj.__kwdefaults__, values, cells


def _names(code: CodeType) -> set[str]:
    nested = (one for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*map(_names, nested))


def _plain(code: CodeType) -> tuple[Any, ...]:
    constants = tuple(_plain(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.co_code, code.co_names, constants


def networks_of(model: object) -> list[nn.Module]:
    """Return the networks that a model is or holds, in attributes and containers of any depth."""
    found: list[nn.Module] = []
    seen: set[int] = set()
    ahead: list[Any] = [model]
    while ahead and len(seen) < MOST_OBJECTS:
        one = ahead.pop()
        if id(one) in seen or isinstance(one, str | bytes | int | float | Tensor | np.ndarray | type | ModuleType):
            continue
        seen.add(id(one))
        if isinstance(one, nn.Module):
            found.append(one)
            # Who has not imported Lightning has none of its modules, and need not wait until it is.
            ahead += (_attributes(one) if "lightning.pytorch" in sys.modules else vars(one)).values()
        elif isinstance(one, dict):
            ahead += one.values()
        elif isinstance(one, list | tuple | set | frozenset):
            ahead += one
        elif not hasattr(one, "__qualname__"):  # functions and methods have one
            ahead += getattr(one, "__dict__", {}).values()
    return found


class MemoryKeys(NamedTuple):
    """What stands for a model in memory in the addresses of its scores and embeddings."""

    scores: str | None
    """None where nothing does for certain: then they are not to be used again."""
    embeddings: str
    """Stands for the part of the model that makes embeddings; "" where nothing does."""
    digest: str | None
    """Of the whole state, where it can be read."""


class InMemoryModel(AdaptedModel):
    """A model in memory."""

    def __init__(self, model: Any, keys: MemoryKeys) -> None:
        super().__init__(model)
        self.keys = keys

    @property
    def identity(self) -> str | None:
        """What settles a score besides the clip and `max_dur`."""
        return self.keys.scores

    @property
    def digest(self) -> str | None:
        """SHA-256 of the model's state."""
        return self.keys.digest


class InMemoryEmbeddingModel(AdaptedEmbeddingModel):
    """A model in memory that embeds."""

    def __init__(self, model: Any, keys: MemoryKeys) -> None:
        super().__init__(model)
        self.keys = keys

    @property
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`; "" where nothing does."""
        return self.keys.scores or ""

    @property
    def digest(self) -> str | None:
        """SHA-256 of the model's state."""
        return self.keys.digest

    @property
    def audio_identity(self) -> str:
        """What settles an audio embedding besides the audio and its view."""
        return content_key(own=super().audio_identity, in_memory=self.keys.embeddings)

    @property
    def text_identity(self) -> str:
        """What settles a text embedding besides the text."""
        return content_key(own=super().text_identity, in_memory=self.keys.embeddings)


def in_memory(model: Any, identity: str | None = None) -> InMemoryModel | InMemoryEmbeddingModel:
    """Return a model as the benchmark takes it, known by its state at the moment.

    Args:
        model: An object with `sr` and `score_batch`, adapted or not.
        identity: The caller's word for its state, where that cannot be read; it counts besides what can be.

    Raises:
        UserError: It is no reward model.
    """
    adapted = adapt(model)
    if isinstance(adapted, AdaptedModel):
        model = adapted.implementation
    state, own = model_state(model), adapted.identity or ""
    is_known = identity is not None or (state.digest is not None and (state.has_weights or bool(own)))
    scores = content_key(in_memory=state.digest or "", own=own, given=identity or "") if is_known else None
    if not isinstance(adapted, EmbeddingModel):
        return InMemoryModel(model, MemoryKeys(scores, "", state.digest))
    encoders = model_state(list(adapted.encoders)).digest if adapted.encoders else state.digest
    return InMemoryEmbeddingModel(model, MemoryKeys(scores, encoders or identity or "", state.digest))
