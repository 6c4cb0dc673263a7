"""The model card of a checkpoint: what it is, what it was made of, how good it is, and under which licences.

`README.md` in the form of the Hugging Face hub: YAML between two lines of dashes, then Markdown.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

import cmi_bench
from cmi_bench.data.chosen import table_settings
from cmi_bench.models.base import EmbeddingModel
from cmi_bench.models.registry import target_of
from cmi_bench.tracking.metadata import git_state, resolved_config
from cmi_bench.tracking.metrics import VALIDATION, VALIDATION_INTERVALS
from cmi_bench.training.examples import Example, Outcome
from cmi_bench.training_config import TrainTask
from cmi_bench.types import Aspect
from cmi_bench.utils.files import file_digest

CARD = "README.md"
RECIPE_KEYS = ("head", "loss", "optimizer", "sampling", "splits", "train", "max_dur", "seed", "seeds")
"""What of the configuration makes a training what it is, besides model and rows."""


class Licence(NamedTuple):
    """Of a model's weights."""

    name: str
    """As the hub writes it; "other" where there is no such name."""
    remark: str


_MUQ = "MuQ's and MuQ-MuLan's weights are CC BY-NC 4.0: not for commercial use"
LICENCES = {
    "cmi_bench.models.audio_statistics.model.AudioStatistics": Licence("other", "it has no weights"),
    "cmi_bench.models.audiobox.Audiobox": Licence("cc-by-4.0", "Audiobox Aesthetics' weights are CC BY 4.0"),
    "cmi_bench.models.clap.Clap": Licence("other", "for CLAP's weights see their page"),
    "cmi_bench.models.cmi_rm.CmiRM": Licence(
        "cc-by-nc-4.0", f"{_MUQ}; for the licence of CMI-RM's own weights see their page"
    ),
    "cmi_bench.models.muq_mulan.MuQMuLan": Licence("cc-by-nc-4.0", _MUQ),
    "cmi_bench.models.songeval.SongEvalRM": Licence(
        "cc-by-nc-sa-4.0", f"SongEval's weights are CC BY-NC-SA 4.0; {_MUQ}"
    ),
}
"""Of the weights of backbones, by their class; see docs/models."""


@dataclass(frozen=True)
class UsedRows:
    """How many rows of a source a training had for an aspect."""

    source: str
    aspect: Aspect
    form: str
    """"pairs" or "ratings"."""
    learnt: int
    validation: int


@dataclass(frozen=True)
class ModelCard:
    """What is said of all checkpoints of a training."""

    run: str
    """The training's id."""
    model: str
    """The backbone's name."""
    checkpoint: str
    """The backbone's checkpoint; "" if it has none."""
    encoder_digest: str
    """Of the backbone's encoders; "" if nobody knows."""
    licence: Licence
    recipe: str
    """Its name."""
    settings: Mapping[str, Any]
    """The configuration's part that makes the training what it is, as plain values."""
    rows: Sequence[UsedRows]
    files: Mapping[str, str]
    """SHA-256 of the files of the rows, by the files' names."""
    commit: str
    """Of the code; "" outside of a checkout."""
    guards: str = ""
    """What came of the comparison with rows of test sets, in words."""


def describe_card(
    config: TrainTask,
    backbone: EmbeddingModel,
    *,
    run: str,
    learnt: Sequence[Example],
    validation: Sequence[Example],
    guards: str,
) -> ModelCard:
    """Return what is said of a training.

    Args:
        config: Its configuration.
        backbone: The frozen model.
        run: The training's id.
        learnt: What is learnt from.
        validation: What is set aside.
        guards: What came of the comparison with rows of test sets, in words.
    """
    resolved = resolved_config(config)
    return ModelCard(
        run=run,
        model=str(config.model["name"]),
        checkpoint=_public_name(str(config.model.get("checkpoint") or "")),
        encoder_digest=backbone.encoder_digest or "",
        licence=LICENCES.get(target_of(config.model), Licence("other", "for the backbone's weights see their page")),
        recipe=config.recipe,
        settings={key: resolved[key] for key in RECIPE_KEYS},
        rows=used_rows(learnt, validation),
        files={file.name: file_digest(file) for file in _row_files(config) if file.is_file()},
        commit=git_state(Path(cmi_bench.__file__).parent).commit or "",
        guards=guards,
    )


def _public_name(checkpoint: str) -> str:
    """Return a hub id as it is, and of a path the last name: cards are published, and paths name people."""
    return Path(checkpoint).name if Path(checkpoint).expanduser().exists() else checkpoint


def _row_files(config: TrainTask) -> list[Path]:
    names = [config.data.train_jsonl, *(table.csv for table in table_settings(config.data).values())]
    return [Path(name).expanduser() for name in names if name]


def used_rows(learnt: Sequence[Example], validation: Sequence[Example]) -> list[UsedRows]:
    """Count rows by source, aspect and form, in the order in which they come up."""
    counts = [Counter(_kinds(examples)) for examples in (learnt, validation)]
    kinds = dict.fromkeys(kind for count in counts for kind in count)
    return [UsedRows(*kind, counts[0][kind], counts[1][kind]) for kind in kinds]


def _kinds(examples: Sequence[Example]) -> list[tuple[str, Aspect, str]]:
    return [
        (example.source, label.aspect, "pairs" if isinstance(label.value, Outcome) else "ratings")
        for example in examples
        for label in example.labels
    ]


def render_card(card: ModelCard, *, seeds: Sequence[int], step: int, figures: Mapping[str, float]) -> str:
    """Return the Markdown of a checkpoint's card.

    Args:
        card: What is said of all of the training's checkpoints.
        seeds: Of the heads.
        step: Optimiser steps that were done.
        figures: Those of validation, by the names of their curves.
    """
    head = str(card.settings["head"]["name"])
    members = f"an ensemble of {len(seeds)} heads `{head}`" if len(seeds) > 1 else f"a head `{head}`"
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(card), sort_keys=False)}---",
        f"# A music reward model: {head} on {card.model}, step {step}",
        f"It judges {_judged(card.rows)}: {members}, trained with cmi_bench on frozen embeddings of `{card.model}`."
        " Higher is better; scores have no unit.",
        "## Use",
        "```\ncmi-bench score song.mp3 --text \"a calm piano piece\" --checkpoint FOLDER\n"
        "cmi-bench run model.checkpoint=FOLDER\n```",
        "`FOLDER` is this one. The weights of the frozen model come from where `config.yaml` names them, where they are"
        " not in `model.safetensors` too.",
        "## What it was made of",
        _made_of(card, seeds, step),
        _rows_table(card.rows),
        card.guards,
        "## Recipe",
        f"`recipe={card.recipe}`, and in full:",
        f"```yaml\n{yaml.safe_dump(dict(card.settings), sort_keys=False, allow_unicode=True)}```",
        "## Validation",
        _figures_table(figures),
        "## Licences",
        f"Frozen model: {card.licence.remark}. The datasets have licences of their own, see their pages. What may be"
        " done with these weights follows from all of them.",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


_JUDGED = {
    Aspect.MUSICALITY: "the musicality of a clip",
    Aspect.ALIGNMENT: "a clip's alignment with a prompt (text, lyrics, reference audio)",
}


def _judged(rows: Sequence[UsedRows]) -> str:
    aspects = {one.aspect for one in rows if one.learnt}
    return " and ".join(words for aspect, words in _JUDGED.items() if aspect in aspects)


def _front_matter(card: ModelCard) -> dict[str, Any]:
    named = {"license": card.licence.name}
    if card.licence.name == "other":
        named["license_name"] = "see-below"
    base = {"base_model": card.checkpoint} if "/" in card.checkpoint else {}
    return {**named, **base, "library_name": "cmi_bench", "tags": ["music", "reward-model", "cmi-bench"]}


def _made_of(card: ModelCard, seeds: Sequence[int], step: int) -> str:
    facts = {
        "training": card.run,
        "step": str(step),
        "seeds": ", ".join(map(str, seeds)),
        "frozen model": " ".join(filter(None, [card.model, card.checkpoint])),
        "digest of its encoders": card.encoder_digest,
        "code": " ".join(filter(None, [f"cmi_bench {cmi_bench.__version__}", card.commit])),
        **{f"SHA-256 of {name}": digest for name, digest in card.files.items()},
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items() if value)])


def _rows_table(rows: Sequence[UsedRows]) -> str:
    lines = [f"| {one.source} | {one.aspect} | {one.form} | {one.learnt} | {one.validation} |" for one in rows]
    return "\n".join(
        ["| source | aspect | form | learnt | set aside for validation |", "|---|---|---|---|---|", *lines]
    )


def _figures_table(figures: Mapping[str, float]) -> str:
    """Return the figures of validation as a table, with intervals where there are some."""
    names = [name.removeprefix(f"{VALIDATION}/") for name in figures if name.startswith(f"{VALIDATION}/")]
    lines = []
    for name in names:
        ends = [figures.get(f"{VALIDATION_INTERVALS}/{name} {end}") for end in ("low", "high")]
        interval = "" if None in ends else f"{ends[0]:.4g} to {ends[1]:.4g}"
        lines.append(f"| {name} | {figures[f'{VALIDATION}/{name}']:.4g} | {interval} |")
    if not lines:
        return "None was made."
    return "\n".join(["| rows set aside | | interval |", "|---|---|---|", *lines])
