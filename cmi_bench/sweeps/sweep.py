"""A sweep from its plan to its table: the jobs, how they compare, and what MLflow is told of them."""

import copy
import glob
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, ValueType
from omegaconf import DictConfig, OmegaConf, open_dict

from cmi_bench.config import Config, DataConfig, SubsetConfig
from cmi_bench.data.chosen import check_subset
from cmi_bench.data.rows import RESULTS_FILE, read_results
from cmi_bench.errors import UserError
from cmi_bench.evaluation.comparison import compare_runs
from cmi_bench.evaluation.pairing import Comparison, Run
from cmi_bench.models.checkpoint_names import checkpoint_name, step_order
from cmi_bench.reporting.comparison import write_comparison
from cmi_bench.reporting.html.sweep_page import SweepSource, write_sweep_page
from cmi_bench.reporting.sweep import significance_groups_of, sweep_view, write_sweep
from cmi_bench.reporting.sweep_jobs import SweepJob, columns_of, has_steps, read_outcomes
from cmi_bench.sweeps.checkpoints import sweep_values
from cmi_bench.sweeps.jobs import fingerprint, plan_jobs, swept_keys
from cmi_bench.sweeps.same_weights import same_files_notes, same_weights_notes
from cmi_bench.task_config import checked, refuse_unknown
from cmi_bench.tracking.curves import CurvePoint
from cmi_bench.tracking.description import RunDescription, dataset_name, model_label, origin_tags, run_name
from cmi_bench.tracking.job_record import FAILED, FINISHED, NOT_RUN
from cmi_bench.tracking.metadata import METADATA_FILE, git_state, look_up, own_roots, read_metadata
from cmi_bench.tracking.metrics import MetricName, metric_name, series_name, validation_name
from cmi_bench.tracking.mlflow_sweep import ChildEnd, MLflowSweep
from cmi_bench.tracking.sweep_plan import PLAN_FILE, SweepPlan, read_plan, write_plan
from cmi_bench.tracking.trackers import check_tracker, record_sweep
from cmi_bench.utils.console import print_view, spinner

log = logging.getLogger(__name__)

TABLE_WIDTH = 120
"""Columns, where stdout is no terminal."""


@dataclass
class Sweep:
    """A sweep that was started."""

    plan: SweepPlan
    folder: Path
    config: Config
    """What its jobs have in common."""
    parent: MLflowSweep
    jobs: list[SweepJob] = field(default_factory=list)
    """What became of the jobs; empty until `finish`."""

    def finish(self, status: str) -> None:
        """Write the sweep's files, print its table, then tell MLflow.

        Args:
            status: MLflow's word for how the sweep ended, unless a job did not finish: that makes it "FAILED".
        """
        try:
            self.jobs = read_outcomes(self.plan, self.folder)
            comparison = compare_jobs(self.jobs, self.config)
            groups = significance_groups_of(comparison) if comparison else None
            files = [self.folder / PLAN_FILE, *write_sweep(self.plan.name, self.jobs, groups, self.folder, self.notes)]
            if comparison is not None:
                files += write_comparison(comparison, self.folder)
            print_view(sweep_view(self.jobs, groups, self.notes), width=TABLE_WIDTH)
            if self.config.metrics.report:
                files.append(write_sweep_page(self._source(comparison), self.folder))
                print_view(f"Report: {files[-1]}")
            print_view(f"Results: {self.folder}")
            tell_mlflow(self.parent, self.jobs, self.folder / "sweep.md", files, task=self.config.task)
            if self.config.task in RECORDED_TASKS:
                same = replace(self.parent.description, group=self.plan.name)
                record_sweep(self.config.tracking, same, job_counts(self.jobs), files)
        finally:
            self.parent.close("FAILED" if status == "FINISHED" and not self.is_finished else status)

    def _source(self, comparison: Comparison | None) -> SweepSource:
        """Return what the page is made from."""
        found = (read_metadata(job.folder / METADATA_FILE) for job in self.jobs if job.values)
        metadata = [one for one in found if one is not None]
        same = self.parent.description.params
        roots = [self.config.data.root, *(look_up(one, "config", "data", "root") for one in metadata)]
        return SweepSource(
            name=self.plan.name,
            subtitle=" on ".join(same[key] for key in ("model", "dataset") if key in same),
            swept=self.plan.swept,
            jobs=self.jobs,
            comparison=comparison,
            notes=self.notes,
            metadata=metadata,
            audio_roots=[Path(root) for root in dict.fromkeys(roots) if isinstance(root, str)],
            allow_outside=self.config.data.allow_outside,
            own_roots={name: root for one in metadata for name, root in own_roots(one).items()},
        )

    @property
    def notes(self) -> list[str]:
        """What has to be known of the figures: which jobs cannot differ, and what the note of the rows says.

        The rows' note is left out where jobs score different rows.
        """
        is_swept = any(key.partition(".")[0] == "data" for key in self.plan.swept)
        of_rows = [self.config.data.note] if self.config.data.note and not is_swept else []
        return [*same_weights_notes(self.plan.jobs, self.jobs), *of_rows]

    @property
    def is_finished(self) -> bool:
        """Whether all jobs finished."""
        return bool(self.jobs) and all(job.status == FINISHED for job in self.jobs)

    @property
    def how_to_go_on(self) -> str:
        """The command that runs what is left."""
        return f"The same command with hydra.sweep.dir={self.folder} goes on: finished jobs are not run again."

    def require_finished(self) -> None:
        """Check that all jobs finished.

        Raises:
            UserError: Some failed, were killed or were not run.
        """
        bad = [job for job in self.jobs if job.status != FINISHED]
        if bad:
            named = ", ".join(f"{job.label} ({job.status})" for job in bad)
            raise UserError(f"{len(bad)} of {len(self.jobs)} jobs did not finish: {named}.", self.how_to_go_on)


def start_sweep(config: DictConfig) -> Sweep:
    """Plan a sweep, and open its MLflow run; started again in the same folder it goes on, with the same MLflow run.

    Args:
        config: The sweep's configuration, Hydra's part in it; see `list_values`.

    Raises:
        UserError: The recipe has nothing to go over.
        hydra.errors.HydraException: A job cannot be composed.
    """
    recipe = list_values(config)
    overrides_of = job_overrides([*recipe, *config.hydra.overrides.task])
    if not overrides_of:
        raise UserError("The sweep has no jobs.", "One of its keys has no values.")
    configs = [_job_config(config, overrides) for overrides in overrides_of]  # before anything is written
    folder, common = Path(config.hydra.sweep.dir), sweep_config(config)
    if common.task in RECORDED_TASKS:
        check_tracker(common.tracking)
    swept = swept_keys(overrides_of, [word.partition("=")[0] for word in recipe])
    jobs = plan_jobs(overrides_of, swept, fingerprints=[fingerprint(cfg) for cfg in configs], folder=folder)
    earlier = read_plan(folder)
    kind = common.sweep.name or ", ".join(swept)
    name = earlier.name if earlier else f"{kind} sweep {datetime.now():%Y-%m-%d %H:%M}"
    log.info("%s: %d jobs into %s", name, len(jobs), folder)
    for note in same_files_notes(jobs):
        log.warning("%s", note)
    parent = parent_run(name, common, swept)
    with spinner("opening the sweep's run in MLflow"):
        parent.start(earlier.mlflow_run if earlier else None)
    plan = SweepPlan(name, tuple(swept), tuple(jobs), parent.run_id or None)
    write_plan(plan, folder)
    return Sweep(plan, folder, common, parent)


def _job_config(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return a job's configuration, without Hydra's part in it."""
    cfg = GlobalHydra.instance().config_loader().load_sweep_config(config, list(overrides))
    with open_dict(cfg):
        del cfg["hydra"]
    refuse_unknown(cfg)
    subset, data = (OmegaConf.to_object(cfg[group]) for group in ("subset", "data"))
    assert isinstance(subset, SubsetConfig)
    assert isinstance(data, DataConfig)
    check_subset(subset, data)
    return cfg


def list_values(config: DictConfig) -> list[str]:
    """List what a sweep goes over, once: a folder's checkpoints, a repository's revisions, files that match a pattern.

    `hydra.sweeper.params` are resolved in place, and `KEY=glob(PATTERN)` among the overrides is replaced by the files
    that match, where the key is no group (of those Hydra's `glob` takes the options).

    Returns:
        The recipe's words.

    Raises:
        UserError: There is nothing to go over.
    """
    params = OmegaConf.to_container(config.hydra.sweeper.params or OmegaConf.create(), resolve=True)
    assert isinstance(params, dict)
    config.hydra.sweeper.params = params
    config.hydra.overrides.task = list(map(_with_files, config.hydra.overrides.task))
    return [f"{key!s}={value}" for key, value in params.items()]


def _with_files(word: str) -> str:
    override = OverridesParser.create().parse_override(word)
    if override.value_type is not ValueType.GLOB_CHOICE_SWEEP:
        return word
    if GlobalHydra.instance().config_loader().get_group_options(override.key_or_group):
        return word
    values = override.value()
    assert isinstance(values, Glob)
    found = {path for pattern in values.include for path in glob.glob(str(Path(pattern).expanduser()))}  # noqa: PTH207 # an absolute pattern too
    chosen = [path for path in found if not any(fnmatchcase(path, pattern) for pattern in values.exclude)]
    if not chosen:
        raise UserError(
            f"No file or folder matches {word}.",
            "All checkpoints of a folder: +sweep=checkpoints sweep.checkpoint_dir=FOLDER",
        )
    chosen.sort(key=lambda path: step_order(checkpoint_name(path)))
    return f"{override.get_key_element()}={sweep_values(chosen)}"


def job_overrides(words: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each job, as Hydra's basic sweeper makes them: of a key's words the last counts.

    >>> job_overrides(["max_dur=10,30", "seed=1"])
    [['max_dur=10', 'seed=1'], ['max_dur=30', 'seed=1']]

    Args:
        words: Those of the recipe, then those of the command line.
    """
    loader = GlobalHydra.instance().config_loader() if GlobalHydra.instance().is_initialized() else None
    values: dict[str, list[str]] = {}
    for one in OverridesParser.create(config_loader=loader).parse_overrides(list(words)):
        key = one.get_key_element()
        texts = one.sweep_string_iterator() if one.is_sweep_override() else [one.get_value_element_as_str()]
        values[key] = [f"{key}={text}" for text in texts]
    return [list(job) for job in itertools.product(*values.values())]


def sweep_config(config: DictConfig) -> Config:
    """Return what jobs of a sweep have in common as typed objects; what a job alone can know is left out."""
    cfg = copy.deepcopy(config)
    with open_dict(cfg):
        del cfg["hydra"]
        model = OmegaConf.to_container(cfg.model, resolve=True)
        assert isinstance(model, dict)
        cfg.model = {key: value for key, value in model.items() if value != "???"}
        cfg.trainer = {}
    return checked(cfg)


def compare_jobs(jobs: Sequence[SweepJob], config: Config) -> Comparison | None:
    """Compare the jobs that have results; None where there is nothing to compare, or no way to.

    Args:
        jobs: Their labels become the runs'.
        config: The sweep's, for `metrics`, `alpha` and `intersect`.
    """
    paths = {job.label: job.folder / RESULTS_FILE for job in jobs if job.values}
    if len(paths) < 2 or config.metrics.resamples == 0:
        return None
    runs = [Run(label, read_results(path), str(path)) for label, path in paths.items()]
    try:
        return compare_runs(runs, config.metrics, alpha=config.alpha, intersect=config.intersect)
    except UserError as error:  # jobs over different rows, as in a sweep over `subset`
        log.warning("The jobs are not compared. %s", error)
        return None


TRAINING = "train"
RECORDED_TASKS = ("benchmark", TRAINING)
"""The tasks whose runs trackers know."""
STATUS = {FINISHED: "FINISHED", FAILED: "FAILED"}


def parent_run(name: str, config: Config, swept: Sequence[str]) -> MLflowSweep:
    """Return the run above the jobs'; it records nothing if the jobs do not.

    Args:
        name: The sweep's.
        config: The sweep's configuration.
        swept: Keys in which the jobs differ.
    """
    tracking, groups = config.tracking, {key.partition(".")[0] for key in swept}
    same = {}  # what all jobs have in common
    if "model" not in swept:
        same["model"] = model_label(config.model)
    if not groups & {"data", "subset"}:
        same["dataset"] = dataset_name(config)
    settings = tracking if config.task in RECORDED_TASKS else replace(tracking, uri=None)
    origin = origin_tags(git_state(Path(__file__).parent).commit)
    tags = same | {"sweep": ", ".join(swept)} | {key: value for key, value in origin.items() if value is not None}
    return MLflowSweep(settings, RunDescription(name, same, tags))


def tell_mlflow(
    run: MLflowSweep, jobs: Sequence[SweepJob], table: Path, files: Sequence[Path], *, task: str = RECORDED_TASKS[0]
) -> None:
    """Complete the parent run: every job has its run, the metrics by step, the table, the files.

    Args:
        run: The parent run.
        jobs: What became of the jobs.
        table: The sweep's table in Markdown.
        files: What the run keeps.
        task: What a job is; figures of trainings are of the rows that were set aside.
    """
    name = validation_name if task == TRAINING else metric_name
    run.end_children([_end(job, run, name) for job in jobs if job.status != NOT_RUN])
    run.log_metrics(job_counts(jobs))
    run.log_points(list(_series(jobs, name)))
    # The page has the heading already.
    run.describe(table.read_text(encoding="utf-8").partition("\n\n")[2], files)


def job_counts(jobs: Sequence[SweepJob]) -> dict[str, float]:
    """Return how many jobs there are, and how many of them finished and did not."""
    finished = sum(job.status == FINISHED for job in jobs)
    return {"jobs": len(jobs), "jobs_finished": finished, "jobs_failed": len(jobs) - finished}


def _end(job: SweepJob, run: MLflowSweep, name: MetricName) -> ChildEnd:
    same = run.description.params
    return ChildEnd(
        number=job.number,
        name=run_name(same.get("model", ""), job.label, same.get("dataset")),
        status=STATUS.get(job.status, "KILLED"),
        message=job.message,
        step=job.step or 0,
        params={**same, "step": str(job.step)} if job.step is not None else same,
        tags=same,
        metrics={name(*column): value.value for column, value in job.values.items()},
    )


def _series(jobs: Sequence[SweepJob], name: MetricName) -> Iterator[CurvePoint]:
    by_step = has_steps(jobs)
    for column in columns_of(jobs, main=True):
        for job in jobs:
            if column in job.values:
                step = job.step if by_step and job.step is not None else job.number
                along = series_name(name(*column), by_step=by_step)
                yield CurvePoint(along, step, job.values[column].value, job.ended or 0.0)
