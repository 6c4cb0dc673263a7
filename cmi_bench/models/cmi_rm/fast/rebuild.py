"""A module anew with some of its parts replaced; the module itself stays as it was."""

from collections.abc import Callable, Mapping
from copy import copy

from torch import Tensor, nn

Replacement = Callable[[nn.Module], nn.Module]


def rebuild(
    module: nn.Module, move: Callable[[Tensor], Tensor], replacements: Mapping[type[nn.Module], Replacement]
) -> nn.Module:
    """Return the module with its tensors moved and its parts replaced.

    Args:
        module: Left unchanged; tensors that need no moving are shared with it.
        move: Returns a tensor where it is wanted.
        replacements: By type, what makes the replacement from such a part, whose tensors have been moved.
    """
    made: dict[int, nn.Module] = {}

    def anew(part: nn.Module) -> nn.Module:
        if id(part) not in made:
            replace = next((replacements[kind] for kind in type(part).__mro__ if kind in replacements), None)
            made[id(part)] = _copy(part, anew) if replace is None else replace(_copy(part, moved))
        return made[id(part)]

    def moved(part: nn.Module) -> nn.Module:
        return _copy(part, moved)

    def _copy(part: nn.Module, child_of: Callable[[nn.Module], nn.Module]) -> nn.Module:
        new = copy(part)
        new._parameters = {
            name: parameter if parameter is None else nn.Parameter(move(parameter.data), requires_grad=False)
            for name, parameter in part._parameters.items()
        }
        new._buffers = {name: buffer if buffer is None else move(buffer) for name, buffer in part._buffers.items()}
        new._modules = {name: None if child is None else child_of(child) for name, child in part._modules.items()}
        return new

    return anew(module)
