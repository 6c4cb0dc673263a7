"""Build the model that the configuration names, and list the models that installed packages offer.

A package offers a model by an entry point, of which nothing is imported before the model is chosen:

    [project.entry-points."cmi_bench.models"]
    my_rm = "my_package.rewards:MyRM"

makes `model=my_rm` known.
"""

import ast
import importlib
import inspect
import logging
import re
import sys
from collections.abc import Callable, Collection, Container, Mapping
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from cmi_bench.config import Config
from cmi_bench.errors import NotFetchedError, UserError, did_you_mean
from cmi_bench.models.adapter import adapt, is_public_name, provide_public_names
from cmi_bench.models.base import BenchmarkModelABC
from cmi_bench.utils.addresses import on_this_machine, place_of
from cmi_bench.utils.distributed import is_rank_zero
from cmi_bench.utils.installation import command_line

log = logging.getLogger(__name__)


GROUP = "cmi_bench.models"
"""Entry points of this group are models."""


class InstalledModel(NamedTuple):
    """A model that an installed package offers."""

    name: str
    class_path: str
    """module:Class."""
    package: str

    def config(self) -> dict[str, Any]:
        """Return what is `model` in the configuration: as for model=custom."""
        return {
            "name": self.name,
            "class_path": self.class_path,
            "checkpoint": None,
            "init_kwargs": {},
            "score_kwargs": {},
        }


def installed_models(taken: Container[str] = ()) -> list[InstalledModel]:
    """Return the models of installed packages.

    Args:
        taken: Names that the benchmark's own configurations have: those win, with a warning, once in a process.
    """
    found: dict[str, InstalledModel] = {}
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist else "an unknown package"
        model = InstalledModel(point.name, f"{point.module}:{point.attr}", package)
        if point.name in taken or found.get(point.name, model) != model:
            _warn_left_out(point.name, package)
            continue
        found[point.name] = model
    return list(found.values())


@cache
def _warn_left_out(name: str, package: str) -> None:
    if is_rank_zero():
        log.warning("The model %s of the package %s is left out: the name is taken.", name, package)


NOT_FOR_CONSTRUCTOR = frozenset({"name", "_target_", "class_path", "init_kwargs", "score_kwargs"})
HYDRA_KEYS = frozenset({"_convert_", "_recursive_"})
"""Keys of a model's configuration that are for `hydra.utils.instantiate`."""


def target_of(spec: Mapping[str, Any]) -> str:
    """Return the dotted path of a model's class, "" if none: `class_path` ("module:Class") if set, or else `_target_`.

    >>> target_of({"class_path": "my_models:MyModel"})
    'my_models.MyModel'
    """
    return _written_path(spec).replace(":", ".")


SHIPPED = "cmi_bench.models."
"""Start of the class paths of the models that come with the benchmark."""
_CLASS_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*[.:][^\W\d]\w*(\.[^\W\d]\w*)?")


def check_target(spec: Mapping[str, Any]) -> None:
    """Check that a model's class can be there, without importing its module, which may import torch.

    Raises:
        UserError: The class path is not one, or there is no such module, or no such name in it.
    """
    path, dotted = _class_path(spec), target_of(spec)
    holder, _, name = dotted.rpartition(".")
    module = holder
    found = _find_module(module)
    if found is None:
        module, _, name = module.rpartition(".")  # module.Class.method
        found = _find_module(module) if module and ":" not in path else None
    if found is None and not is_public_name(dotted.partition(".")[0]):
        raise _no_module(holder, path)
    classes, others = _names_defined(found)
    if (classes or others) and name not in classes | others:
        # A package's classes are imported.
        raise _no_class(module, name, classes or {other for other in others if other[:1].isupper()})


def _written_path(spec: Mapping[str, Any]) -> str:
    return str(spec.get("class_path") or spec.get("_target_") or "")


def _class_path(spec: Mapping[str, Any]) -> str:
    path = _written_path(spec)
    if not path:
        raise UserError("model.class_path is empty.", "The form is module:Class, such as my_models:MyModel.")
    if not _CLASS_PATH.fullmatch(path):
        raise UserError(f"{path!r} is not a class path.", "The form is module:Class, such as my_models:MyModel.")
    return path


def _no_module(name: str, path: str) -> UserError:
    return UserError(
        f"There is no module {name!r} (from {path!r}).",
        "Put the file into the current folder, or its folder on PYTHONPATH; the form is module:Class.",
    )


def _no_class(module: str, name: str, known: Collection[str]) -> UserError:
    return UserError(
        f"Module {module} has no class {name!r}.",
        did_you_mean(name, known) if known else "It defines no class; the form is module:Class.",
    )


def _find_module(name: str) -> ModuleSpec | None:
    """Find a module without importing the packages that it is in."""
    top, *parts = name.split(".")
    found = find_spec(top)
    for part in parts:
        if found is None or found.submodule_search_locations is None:
            return None
        package = sys.modules.get(found.name)
        folders = package.__path__ if package else found.submodule_search_locations
        found = PathFinder.find_spec(f"{found.name}.{part}", folders)
    return found


def _names_defined(module: ModuleSpec | None) -> tuple[set[str], set[str]]:
    """Return the classes and the other names of a module's source; nothing where the source does not say them all."""
    if module is None or not str(module.origin).endswith(".py"):
        return set(), set()
    try:
        nodes = list(ast.walk(ast.parse(Path(str(module.origin)).read_bytes())))
    except (OSError, SyntaxError, ValueError):  # which importing it will tell
        return set(), set()
    classes = {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    others = {node.id for node in nodes if isinstance(node, ast.Name)}
    others |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    others |= {node.asname or node.name.partition(".")[0] for node in nodes if isinstance(node, ast.alias)}
    if others & {"*", "__getattr__", "globals", "setattr", "exec", "sys"}:
        return set(), set()
    return classes, others


def build_model(
    spec: Mapping[str, Any],
    *,
    device: str,
    precision: str,
    compile: bool = False,  # noqa: A002
    kernels: str = "on",
    digest_dir: Path | None = None,
) -> BenchmarkModelABC:
    """Construct a reward model.

    `hydra.utils.instantiate` makes it from `_target_` ("module.Class"), for which `class_path` ("module:Class") is
    another name. The constructor gets the keys of `spec` that are not null, `init_kwargs`, and `device` and
    `precision` if it takes them. A mapping with a `_target_` of its own stays a mapping, unless `_recursive_: true`
    is in `spec`.

    Args:
        spec: The composed `model` group.
        device: Torch device, such as "cpu" or "cuda:1".
        precision: "32", "tf32" or "bf16".
        compile: Whether the model is to use torch.compile.
        kernels: "off" for the plain modules of models that have faster kernels; the others do not see it.
        digest_dir: Where digests of weights are kept from run to run; None for nowhere.

    Raises:
        UserError: The class cannot be found, does not take an argument, or does not look like a
            reward model; or it has no choice of precision, or cannot be compiled.
    """
    path = _class_path(spec)
    build = load_class(path)
    takes = inspect.signature(build).parameters
    if precision != "32" and "precision" not in takes:
        raise UserError(f"{path} computes in a precision of its own.", "Leave out precision=, or set it to 32.")
    if compile and "compile" not in takes:
        raise UserError(f"{path} cannot be compiled.", "Leave out compile=true.")
    given: dict[str, Any] = {"device": device} if _accepts(takes, "device") else {}
    given |= {"precision": precision} if "precision" in takes else {}
    given |= {"compile": True} if compile else {}
    given |= {"kernels": kernels} if "kernels" in takes else {}
    given |= {"digest_dir": digest_dir} if "digest_dir" in takes else {}
    try:
        model = construct(build, path, spec, given)
    except NotFetchedError as error:
        prepare = command_line("task=prepare", f"model={spec.get('name')}")
        raise UserError(error.what, f"{prepare} (with the other options of this command) gets all it needs.") from error
    if isinstance(model, BenchmarkModelABC):
        model.digest_dir = digest_dir
    return adapt(model, path)


def construct(
    build: Callable[..., Any], path: str, spec: Mapping[str, Any], given: Mapping[str, Any], *, group: str = "model"
) -> Any:
    """Construct what a group of the configuration describes, by `hydra.utils.instantiate`.

    Args:
        build: The class, or a function; see `load_class`.
        path: Its name in messages.
        spec: The composed group: what is not null goes to the constructor, as do `init_kwargs`.
        given: What the constructor gets besides.
        group: Where the options are in the configuration.

    Raises:
        UserError: An option is unknown, or one is missing.
    """
    takes = inspect.signature(build).parameters
    options = {
        key: value for key, value in spec.items() if key not in NOT_FOR_CONSTRUCTOR | HYDRA_KEYS and value is not None
    }
    arguments = {**given, **options, **(spec.get("init_kwargs") or {})}
    _check_arguments(path, takes, arguments, group)
    return _instantiate(build, {key: spec[key] for key in spec if key in HYDRA_KEYS}, arguments)


def _instantiate(build: Callable[..., Any], settings: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
    """Call a constructor by `hydra.utils.instantiate`; what it raises comes out as it was raised."""
    from hydra.errors import InstantiationException  # here: it takes 0.2 s, and listing models needs none of it
    from hydra.utils import instantiate

    # Texts are resolved already, and Hydra would look for interpolations in them once more.
    texts = {key: value for key, value in arguments.items() if isinstance(value, str)}
    others = {key: value for key, value in arguments.items() if key not in texts}
    try:
        make = instantiate(
            {"_recursive_": False, "_convert_": "all"} | dict(settings) | others,
            _target_=build,
            _partial_=True,
        )
    except InstantiationException as error:
        raise error.__cause__ or error from None
    return make(**texts)


def load_class(path: str) -> Callable[..., Any]:
    """Return the class, or the method of a class, that a dotted path names; "module:Class" is taken too.

    Raises:
        UserError: There is none, or importing its module fails.
    """
    module_name, _, name = path.replace(":", ".").rpartition(".")
    try:
        module: Any = _import(module_name)
    except ImportError as error:
        if error.name == module_name and "." in module_name and ":" not in path:  # module.Class.method
            module = load_class(module_name)
        elif error.name is None or not module_name.startswith(error.name):
            raise UserError(f"{path}: importing {module_name} failed: {error}", "Install what it needs.") from error
        else:
            raise _no_module(error.name, path) from error
    found = getattr(module, name, None)
    if not callable(found):
        if inspect.isclass(module):
            raise UserError(f"{module_name} has no method {name!r}.", "Name the class, or one of its methods.")
        raise _no_class(module_name, name, [key for key, value in vars(module).items() if inspect.isclass(value)])
    return found  # type: ignore[no-any-return]


def _import(name: str) -> ModuleType:
    """Import a model's module; one that was written for the public scripts finds what it imports from them."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not is_public_name(error.name):
            raise
    provide_public_names()
    return importlib.import_module(name)


def _accepts(takes: Mapping[str, inspect.Parameter], name: str) -> bool:
    return name in takes or any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values())


def _check_arguments(
    path: str, takes: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any], group: str
) -> None:
    unknown = [key for key in arguments if not _accepts(takes, key)]
    if unknown:
        hint = did_you_mean(unknown[0], takes) if takes else f"It takes none: leave out {group}.{unknown[0]}."
        raise UserError(f"{path} takes no option {unknown[0]!r}.", hint)
    missing = [
        key
        for key, parameter in takes.items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and key not in arguments
    ]
    if missing:
        raise UserError(
            f"{path} needs {', '.join(missing)}.", f"Give it as {group}.{missing[0]}=... or {group}.init_kwargs."
        )


DIGESTS = "digests"
"""Folder in `cache.dir` for digests of weights."""


def configured_model(config: Config, device: str) -> BenchmarkModelABC:
    """Build the model that a configuration names, on a torch device.

    Raises:
        UserError: As `build_model`.
    """
    return build_model(
        config.model,
        device=device,
        precision=config.precision.value,
        compile=config.compile,
        kernels=config.kernels,
        digest_dir=on_this_machine(place_of(config.cache.dir)) / DIGESTS if config.cache.dir else None,
    )
