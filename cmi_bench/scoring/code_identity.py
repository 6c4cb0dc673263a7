"""What computes a score, as a part of its address: the sources of a model and of the audio path, and the libraries.

A score is looked up as long as what would compute it is what computed it. Sources are found by following imports from
the model's module, statically: the package's own in `SETTLING`, and a custom model's where they lie beside it. They
are compared as syntax, so that comments, docstrings and layout make no difference.
"""

import ast
import inspect
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cmi_bench
from cmi_bench.models.base import BenchmarkModelABC, EmbeddingModel
from cmi_bench.utils.files import content_key

PACKAGE = cmi_bench.__name__
SETTLING = (f"{PACKAGE}.audio.", f"{PACKAGE}.models.")
"""Parts of the package whose code settles scores."""
SETTLES_NOTHING = frozenset(
    f"{PACKAGE}.models.{name}" for name in ("hub", "registry", "adapter", "gemini.client", "gemini.cost")
)
"""Modules in there that only fetch, find, pass on, retry or count."""
AUDIO_PATH = f"{PACKAGE}.audio.decode"
"""What makes waveforms of files, for models that take those."""
SETTLING_NOTHING = frozenset(
    {"google", "httpx2", "huggingface_hub", "omegaconf", "pydantic", "pydantic_core", "safetensors", "yaml"}
)
"""Libraries that read settings and files, or fetch them."""


class Import(NamedTuple):
    """`from origin import names`, or `import origin`."""

    origin: str
    level: int = 0
    """Number of dots in front."""
    names: tuple[str, ...] = ()


class SourceFile(NamedTuple):
    """What counts of a source file."""

    digest: str
    """Of its syntax, without comments, docstrings and layout."""
    imports: tuple[Import, ...]
    """Of what runs, anywhere in it; not what is there for type checkers only."""


@dataclass
class Code:
    """The modules that settle a model's scores, and the libraries that they import."""

    sources: dict[str, SourceFile] = field(default_factory=dict)
    """By dotted name."""
    libraries: set[str] = field(default_factory=set)
    """Names as imported, of what is neither a source nor of the standard library."""

    def identity(self) -> str:
        """Return the content address of the sources' syntax and the libraries' versions."""
        return content_key(
            sources={name: source.digest for name, source in self.sources.items()},
            libraries={name: library_version(name) for name in self.libraries},
        )


def code_of(module: str, file: Path, *, decodes: bool) -> Code:
    """Find what settles the scores of a model.

    Args:
        module: Dotted name of the module that defines it.
        file: That module's file.
        decodes: Whether the benchmark decodes audio for the model.
    """
    roots = {PACKAGE: Path(cmi_bench.__file__).parents[1]}
    own, root = module.partition(".")[0], _root(module, file)
    roots[own] = root
    # Beside a module that is installed by itself lies everything else that is installed.
    installed = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib")}
    beside = root if "." not in module and root not in installed else None
    code, ahead = Code(), [module, *([AUDIO_PATH] if decodes else [])]
    while ahead:
        name = ahead.pop()
        top = name.partition(".")[0]
        folder = roots.get(top, beside)
        found = None if folder is None else _file_of(name, folder)
        if found is None:
            # Of `from module import name`, the name need be no module; of a library, its name is enough.
            if top not in roots and top not in sys.stdlib_module_names and top not in SETTLING_NOTHING:
                code.libraries.add(top)
        elif name not in code.sources and (top != PACKAGE or _settles(name)):
            code.sources[name] = _read(found, found.stat().st_mtime_ns)
            for one in code.sources[name].imports:
                ahead += _names(one, name, is_package=found.stem == "__init__")
    return code


def code_identity(model: BenchmarkModelABC) -> str:
    """Return what stands for the code that computes a model's scores in their addresses."""
    decodes = model.audio_input == "waveform" or isinstance(model, EmbeddingModel)
    parts = [_class_identity(kind, decodes=decodes) for kind in dict.fromkeys(map(type, model.computed_by))]
    return parts[0] if len(parts) == 1 else content_key(parts=parts)


def _class_identity(implementation: type, *, decodes: bool) -> str:
    file = getattr(sys.modules.get(implementation.__module__), "__file__", None)
    if file is not None:
        return code_of(implementation.__module__, Path(file), decodes=decodes).identity()
    try:  # typed into an interpreter
        return content_key(source=inspect.getsource(implementation))
    except (OSError, TypeError):
        return content_key(source=implementation.__qualname__)


def code_identity_of(class_path: str) -> str:
    """Return the same for a class that is not imported; "" where there is no such module.

    Args:
        class_path: "module.Class" or "module:Class".
    """
    module = class_path.replace(":", ".").rpartition(".")[0]
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return ""
    if spec is None or spec.origin is None or not spec.has_location:
        return ""
    return code_of(module, Path(spec.origin), decodes=True).identity()


def library_version(name: str) -> str:
    """Return a library's version, and that of what it computes with; "" of one that is not installed."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        version = str(getattr(sys.modules.get(name), "__version__", ""))
    if name == "soundfile":
        import soundfile

        return f"{version}, libsndfile {soundfile.__libsndfile_version__}"
    return version


def _settles(name: str) -> bool:
    return name.startswith(SETTLING) and name not in SETTLES_NOTHING


def _root(module: str, file: Path) -> Path:
    """Return the folder from which a module is imported by its dotted name."""
    depth = module.count(".") + (file.stem == "__init__")
    return file.resolve().parents[depth]


def _file_of(name: str, folder: Path) -> Path | None:
    path = folder.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _names(one: Import, module: str, *, is_package: bool) -> list[str]:
    """Return the dotted names that a module's import may stand for: what it names may be modules too."""
    above = module.split(".")[: len(module.split(".")) - one.level + is_package] if one.level else []
    origin = ".".join([*above, *([one.origin] if one.origin else [])])
    return [name for name in (origin, *(f"{origin}.{name}" for name in one.names)) if name]


@cache
def _read(path: Path, changed: int) -> SourceFile:
    """Read a source file; `changed` tells versions of it apart."""
    return read_source(path.read_bytes())


def read_source(content: bytes) -> SourceFile:
    """Return what counts of a source."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # no Python of this version, so nothing that ran
        return SourceFile(content_key(content=content.hex()), ())
    imports = tuple(_imports(tree))
    for node in ast.walk(tree):
        body: Any = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [one for one in body if not _is_text(one)]
    return SourceFile(content_key(syntax=ast.dump(tree)), imports)


def _imports(node: ast.AST) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield Import(child.module or "", child.level, tuple(alias.name for alias in child.names))
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from _imports(child)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
