"""Whether the model can be built."""

from collections.abc import Iterator
from pathlib import Path

from cmi_bench.config import Config
from cmi_bench.data.prepare.checkpoint import in_cache, missing_files
from cmi_bench.data.prepare.space import in_words
from cmi_bench.doctor.finding import Finding, Status, some_of
from cmi_bench.doctor.remedies import Remedies
from cmi_bench.errors import UserError
from cmi_bench.models.hub import WEIGHTS, is_hub_id
from cmi_bench.models.parts import tensor_shapes

AREA = "model"


def check_checkpoint(config: Config, remedies: Remedies) -> Iterator[Finding]:
    """Look at the model's files, and build it, which accounts for every tensor."""
    weights = _weights(config)
    if weights is not None:
        finding = _check_weights(weights, config, remedies)
        yield finding
        if finding.status is not Status.OK:
            return
    try:
        missing = [f"{one.repo}/{one.file}" for one in missing_files(config.model)]
    except UserError as error:
        yield Finding(AREA, "files", Status.PROBLEM, error.what, remedies.prepare)
        return
    if missing:
        yield Finding(AREA, "files", Status.PROBLEM, f"Not on this machine: {some_of(missing)}.", remedies.prepare)
        return
    yield _build(config)


def _weights(config: Config) -> Path | None:
    """Return the checkpoint's own file, None where the model has none that is known here."""
    checkpoint = config.model.get("checkpoint")
    if not checkpoint:
        return None
    path = Path(str(checkpoint)).expanduser()
    if path.is_dir():
        there = (path / name for name in (WEIGHTS, f"ckpt/{WEIGHTS}") if (path / name).is_file())
        return next(there, None)
    found = path if path.is_file() else in_cache(str(checkpoint), WEIGHTS) if is_hub_id(str(checkpoint)) else None
    return found if found is not None and found.suffix == ".safetensors" else None


def _check_weights(weights: Path, config: Config, remedies: Remedies) -> Finding:
    try:
        tensors = tensor_shapes(weights)
    except UserError as error:
        mend = error.hint if Path(str(config.model["checkpoint"])).expanduser().exists() else remedies.prepare
        return Finding(AREA, "weights", Status.PROBLEM, error.what, mend)
    size = in_words(weights.stat().st_size)
    return Finding(AREA, "weights", Status.OK, f"{len(tensors)} tensors, {size}, in {weights}")


def _build(config: Config) -> Finding:
    from cmi_bench.models.build import build_model

    try:
        model = build_model(config.model, device="cpu", precision=config.precision.value)
    except UserError as error:
        return Finding(AREA, "building it", Status.PROBLEM, error.what, error.hint)
    except Exception as error:  # whatever a user's own class raises is what they have to know
        return Finding(
            AREA, "building it", Status.PROBLEM, f"{type(error).__name__}: {error}", "Mend the model's class"
        )
    digest = getattr(model, "digest", None)
    of_it = f", sha256 {digest}" if digest else ""
    return Finding(AREA, "building it", Status.OK, f"{type(model).__name__}, hears {model.sr} Hz{of_it}")
