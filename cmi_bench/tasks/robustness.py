"""`task=sanity`: the robustness of a model, how its scores change with silence, noise, damage and a wrong prompt."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import seed_everything
from omegaconf import OmegaConf

from cmi_bench.config import Config
from cmi_bench.data.synthetic.degradation_set import (
    LOWERS,
    MAX_PIECES,
    DegradedClip,
    clean_pieces,
    degradation_steps,
    plan_degradations,
    write_degradations,
)
from cmi_bench.errors import UserError
from cmi_bench.evaluation.robustness import RobustnessResult, measure_robustness
from cmi_bench.models.base import BenchmarkModelABC
from cmi_bench.models.registry import configured_model
from cmi_bench.reporting.plots import write_png
from cmi_bench.reporting.robustness import robustness_plot, sanity_csv, sanity_json, sanity_view
from cmi_bench.scoring.model_call import judged_by
from cmi_bench.scoring.score import score_clips
from cmi_bench.tasks.scoring import (
    audio_index,
    facts_afterwards,
    lightning_runner,
    model_facts,
    profile_of,
    recorded,
    run_devices,
    show_trace,
)
from cmi_bench.tracking.description import model_label
from cmi_bench.tracking.metadata import METADATA_FILE, resolved_config, run_metadata, write_metadata
from cmi_bench.types import Aspect, Score
from cmi_bench.utils.console import print_view
from cmi_bench.utils.distributed import Devices, is_rank_zero
from cmi_bench.utils.files import write_text_atomic

log = logging.getLogger(__name__)


LEAST_PIECES = 2
"""A prompt is swapped for another piece's."""


def run_robustness(config: Config, folder: Path) -> None:
    """Score perturbed clips of as many pieces as `limit` says; audio, tables and plot go to `folder`.

    Raises:
        UserError: Too few pieces, a model that only knows labels, or what scoring can raise.
    """
    started = time.monotonic()
    seed_everything(config.seed, workers=True, verbose=False)
    clips = _degraded_clips(config, folder / "audio")
    devices = run_devices(config)
    model = _build(config, devices)
    metadata = run_metadata(config, model_facts(config, model, devices) | {"counts": {"clips": len(clips)}})
    with recorded(folder, metadata):
        profile = profile_of(config)
        scored = score_clips(
            [one.clip for one in clips],
            model,
            profile.runner(lightning_runner(config, devices)),
            config=config,
            index=audio_index(config),
            folder=folder,
        )
        if is_rank_zero():
            results = _measure(clips, [scored.scores[one.clip.clip_id] for one in clips])
            _report(results, config, folder)
            metadata["counts"] |= scored.stats.counts
            profile.write(folder, scored.stats)
            metadata |= facts_afterwards(metadata, model)
            metadata |= scored.stats.over(time.monotonic() - started)
            write_metadata(folder / METADATA_FILE, metadata | {"status": "finished"})
            show_trace(profile, folder)


def _degraded_clips(config: Config, folder: Path) -> list[DegradedClip]:
    if config.limit is not None and config.limit < LEAST_PIECES:
        raise UserError(
            f"limit={config.limit}: there is no other prompt to swap with.", f"Use 2 to {MAX_PIECES} pieces."
        )
    pieces, steps = clean_pieces(config.limit or MAX_PIECES), degradation_steps()
    # The other ranks read nothing before this one has planned their work.
    if is_rank_zero():
        log.info("Writing the perturbed clips to %s", folder)
        write_degradations(pieces, steps, folder)
    return plan_degradations(pieces, steps, folder)


def _build(config: Config, devices: Devices) -> BenchmarkModelABC:
    model = configured_model(config, devices.this_process)
    if model.needs_labels:
        raise UserError(
            f"model={config.model['name']} answers from the labels of rows, and these clips have none.",
            "Choose a model that judges audio.",
        )
    return model


def _measure(clips: Sequence[DegradedClip], scores: Sequence[Score]) -> list[RobustnessResult]:
    """Return a result for each aspect that the model judges."""
    judged = judged_by(scores)
    return [measure_robustness(zip(clips, scores, strict=True), aspect) for aspect in Aspect if aspect in judged]


def _report(results: Sequence[RobustnessResult], config: Config, folder: Path) -> None:
    write_text_atomic(folder / "sanity.csv", sanity_csv(results))
    write_text_atomic(folder / "sanity.json", sanity_json(results))
    write_text_atomic(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(resolved_config(config))))
    if results:
        alt = "Change of the scores from the clean clip, by kind and severity of damage."
        write_png(robustness_plot(results, name="sanity", alt=alt), folder)
    lowers = {str(kind): str(aspect) for kind, aspect in LOWERS.items()}
    print_view(sanity_view(results, lowers, title=model_label(config.model)))
    print_view(f"Results: {folder}")
