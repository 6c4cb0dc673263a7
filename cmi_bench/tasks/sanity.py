"""`task=sanity model=NAME`: how a model answers to silence, noise, damage and the wrong prompt."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch import seed_everything
from omegaconf import OmegaConf

from cmi_bench.config import Config
from cmi_bench.data.datasets import Judgement
from cmi_bench.data.ladder.build import LadderClip, plan_ladder, write_ladder
from cmi_bench.data.ladder.pieces import MAX_PIECES, clean_pieces
from cmi_bench.data.ladder.steps import LOWERS, ladder_steps
from cmi_bench.errors import UserError
from cmi_bench.evaluation.ladder import LadderResult, LadderScore, measure_ladder
from cmi_bench.inference.clips import Clip
from cmi_bench.inference.devices import Devices
from cmi_bench.inference.judged import judged_by
from cmi_bench.inference.scores import ClipScore
from cmi_bench.models.configured import configured_model
from cmi_bench.models.contract import RewardModel
from cmi_bench.ranks import is_rank_zero
from cmi_bench.reporting.atomic import write_text_atomic
from cmi_bench.reporting.console import print_view
from cmi_bench.reporting.plots.ladder import ladder_plot
from cmi_bench.reporting.plots.plot import write_png
from cmi_bench.reporting.sanity_files import sanity_csv, sanity_json
from cmi_bench.reporting.sanity_table import sanity_view
from cmi_bench.tasks.recording import facts_afterwards, model_facts, recorded
from cmi_bench.tasks.scoring import run_devices, score_as_configured
from cmi_bench.tracking.describe import model_label
from cmi_bench.tracking.metadata import resolved_config, run_metadata, write_metadata

log = logging.getLogger(__name__)

LEAST_PIECES = 2
"""A prompt is swapped for another piece's."""


def run(config: Config, folder: Path) -> None:
    """Score the ladder, on as many pieces as `limit` says; audio, tables and plot go to `folder`.

    Raises:
        UserError: Too few pieces, a model that only knows labels, or what scoring can raise.
    """
    started = time.monotonic()
    seed_everything(config.seed, workers=True, verbose=False)
    clips = _clips(config, folder / "audio")
    devices = run_devices(config)
    model = _build(config, devices)
    metadata = run_metadata(config, model_facts(config, model, devices) | {"counts": {"clips": len(clips)}})
    with recorded(folder, metadata):
        asked = [
            Clip(f"{number}:a", clip.audio, clip.prompt, clip.lyrics, None)
            for number, clip in enumerate(clips, start=1)
        ]
        scored = score_as_configured(asked, model, config, devices=devices, folder=folder)
        if is_rank_zero():
            results = _measure(clips, [scored.scores[clip.clip_id] for clip in asked])
            _report(results, config, folder)
            metadata["counts"] |= scored.tally.counts
            metadata |= facts_afterwards(metadata, model)
            metadata["seconds"] = scored.tally.seconds | {"wall": round(time.monotonic() - started, 3)}
            write_metadata(folder / "metadata.json", metadata | {"status": "finished"})


def _clips(config: Config, folder: Path) -> list[LadderClip]:
    if config.limit is not None and config.limit < LEAST_PIECES:
        raise UserError(
            f"limit={config.limit}: there is no other prompt to swap with.", f"Use 2 to {MAX_PIECES} pieces."
        )
    pieces, steps = clean_pieces(config.limit or MAX_PIECES), ladder_steps()
    # The other ranks read nothing before this one has planned their work.
    if is_rank_zero():
        log.info("Writing the ladder's audio to %s", folder)
        write_ladder(pieces, steps, folder)
    return plan_ladder(pieces, steps, folder)


def _build(config: Config, devices: Devices) -> RewardModel:
    model = configured_model(config, devices.this_process)
    if hasattr(model, "bind_rows"):
        raise UserError(
            f"model={config.model['name']} answers from the labels of rows, and these clips have none.",
            "Choose a model that listens.",
        )
    return model


def _measure(clips: Sequence[LadderClip], scores: Sequence[ClipScore]) -> list[LadderResult]:
    """Return a result for each thing that the model judges."""
    judged = judged_by(scores)
    return [
        measure_ladder(
            (
                LadderScore(clip.step.kind, clip.step.label, clip.step.severity, clip.piece, getattr(score, judgement))
                for clip, score in zip(clips, scores, strict=True)
            ),
            judgement,
        )
        for judgement in Judgement
        if judgement in judged
    ]


def _report(results: Sequence[LadderResult], config: Config, folder: Path) -> None:
    write_text_atomic(folder / "sanity.csv", sanity_csv(results))
    write_text_atomic(folder / "sanity.json", sanity_json(results))
    write_text_atomic(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(resolved_config(config))))
    if results:
        alt = "Change of the scores from the clean clip, by kind and severity of damage."
        write_png(ladder_plot(results, name="sanity", alt=alt), folder)
    lowers = {str(kind): str(judgement) for kind, judgement in LOWERS.items()}
    print_view(sanity_view(results, lowers, title=model_label(config.model)))
    print_view(f"Results: {folder}")
