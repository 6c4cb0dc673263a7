"""Mistakes at the keyboard: one message with the nearest right name, no traceback, exit code 1."""

import pytest
from command_line import PROJECT, composed, run_command
from hydra.errors import HydraException

from cmi_bench.hydra_errors import explain
from cmi_bench.task_config import PLUS_GROUPS, checked

MISTAKES = [
    (["model=cmi_rn"], "There is no model=cmi_rn.", "Did you mean cmi_rm"),
    (["subset=pan"], "There is no subset=pan.", "Did you mean pam"),
    (["+device=cudo"], "There is no device=cudo.", "Did you mean cuda"),
    (["device=gpu"], "There is no device=gpu.", "Did you mean cuda"),
    (["device=cuda:x"], "There is no device=cuda:x.", "Did you mean cuda"),
    (["experiment=smoke"], "`experiment` is chosen with a plus.", "+experiment=smoke"),
    (["+experiment=smok"], "There is no experiment=smok.", "Did you mean smoke"),
    (["sweep=max_dur"], "`sweep` is chosen with a plus.", "+sweep=max_dur"),
    (["+sweep=checkpoints", "sweep.dir=x"], "sweep.dir is now called sweep.checkpoint_dir", "sweep.checkpoint_dir=..."),
    (["batchsize=3"], "There is no setting 'batchsize'.", "Did you mean batch_size"),
    (["model.checkpont=x"], "There is no setting 'model.checkpont'.", "Did you mean checkpoint"),
    (["task=compare", "runs=x/y"], "runs is a list, and x/y is none.", "Write runs=[x/y]"),
    (["max_dur=long"], "max_dur=long is no number.", "Write max_dur=NUMBER."),
    (["+subet=pam"], "There is no setting 'subet'.", "Did you mean subset"),
    (["+sweeep=max_dur"], "There is no setting 'sweeep'.", "Did you mean sweep"),
    (["+metrics.resample=9"], "There is no setting 'metrics.resample'.", "Did you mean resamples"),
    (["+runs=[a,b]"], "'runs' is a key of task=compare and task=leaderboard", "Add task=compare"),
    (["-m", "max_dur=5,10", "+subet=pam"], "There is no setting 'subet'.", "Did you mean subset"),
    (["limit=-1"], "limit=-1 is not positive", "above 0"),
    (["max_dur=nan"], "max_dur=nan is not a number", "above 0"),
    (["seed=-1"], "seed=-1 is negative", "4294967295 at most"),
    (["seed=4294967296"], "seed=4294967296 is too large", "4294967295 at most"),
    (["metrics.seed=-2"], "metrics.seed=-2 is negative", "of 0 or more"),
    (["subset.datasets=[foo]"], "There is no dataset 'foo'", "Known: "),
    (["max_dur=-1"], "max_dur=-1.0 is not positive", "above 0"),
    (["task=benchmrk"], "There is no task=benchmrk.", "Did you mean benchmark"),
    (
        ["runs=[a,b]"],
        "'runs' is a key of task=compare and task=leaderboard, not of task=benchmark.",
        "Add task=compare",
    ),
    (["doctor.format=json"], "'doctor' is a key of task=doctor, not of task=benchmark.", "Add task=doctor"),
    (["sources=public"], "'sources' is a key of task=prepare and task=doctor.", "Add task=prepare"),
    (["tsk=compare"], "There is no setting 'tsk'.", "Did you mean task"),
    (["task=compare", "rnus=[a]"], "There is no setting 'rnus'.", "Did you mean runs"),
    (["task=compare", "results=x"], "'results' is a key of task=evaluate, not of task=compare.", "Add task=evaluate"),
    (["task=evaluate"], "task=evaluate needs a results file", "results="),
    (["task=evaluate", "results=nowhere.jsonl"], "nowhere.jsonl does not exist", "task=list shows past runs"),
    (["model=custom"], "The value of model.class_path is missing.", "model.class_path="),
    (["data.jsonl=nowhere.jsonl"], "nowhere.jsonl does not exist", "python run.py task=prepare"),
    (["task=prepare", "jobs=0"], "jobs=0 is not positive", "above 0"),
    (["task=compare", "outputs/a"], "'outputs/a' is no setting.", "KEY=VALUE"),
    (["=3"], "The settings cannot be read", "KEY=VALUE"),
    (["limit=" + "9" * 5000], "The settings cannot be read: Exceeds the limit", "KEY=VALUE"),
    (["task=doctor", "doctor.format=yaml"], "There is no doctor.format=yaml.", "Known: json, table."),
    (["loss.pairs.kind=davidson"], "'loss' is a key of task=train, not of task=benchmark.", "Add task=train"),
    (["task=train", "loss=rao_kuper"], "There is no loss=rao_kuper.", "Did you mean rao_kupper"),
    (["task=train", "loss.pairs.margn=1"], "There is no setting 'loss.pairs.margn'.", "Did you mean margin"),
    (["task=train", "loss.pairs.label_smoothing=1"], "label_smoothing=1.0 is too large", "such as 0.2"),
    (
        ["task=train", "loss.source_weights.pam=2"],
        "loss.source_weights.pam has no value yet",
        "+loss.source_weights.pam=",
    ),
    (
        ["task=train", "loss=list_mle"],
        "compares the clips of a prompt, and single rows are drawn",
        "sampling.unit=prompt",
    ),
    (["task=train", "loss=davidson", "loss.pairs.ties=half"], "is an option of bradley_terry", "loss.pairs.kind="),
]


@pytest.mark.parametrize(
    ("words", "says", "hint"), MISTAKES, ids=lambda value: value[0][:60] if isinstance(value, list) else ""
)
def test_a_mistake_gets_one_message(words, says, hint, tmp_path):
    done = run_command(*words, f"hydra.run.dir={tmp_path}")
    assert done.returncode == 1
    assert says in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("profile=maybe", "profile=maybe is neither true nor false.\n  -> Write profile=true or profile=false."),
        ("workers=2.5", "workers=2.5 is no whole number.\n  -> Write a number without a point: workers=NUMBER."),
        ("precision=16", "There is no precision=16.\n  -> Did you mean bf16? Known: 32, bf16, tf32."),
        (
            "max_dur=5,10",
            "max_dur=5,10 gives several values to one setting."
            "\n  -> Write max_dur=[5,10] for a list, or -m before all words for a sweep over them.",
        ),
        ("batch_size=null", "batch_size=null is no value.\n  -> Give it one: batch_size=VALUE."),
    ],
)
def test_a_value_that_does_not_fit_is_told_without_hydras_words(word, message):
    with pytest.raises(HydraException) as error:
        composed(word)
    assert explain(error.value) == message


def test_help_shows_groups_and_examples_that_compose():
    done = run_command("--help")
    assert done.returncode == 0
    models = sorted(path.stem for path in (PROJECT / "conf" / "model").glob("*.yaml"))
    assert f"model: {', '.join(models)}" in done.stdout
    lines = [line.split("  ")[0] for line in map(str.strip, done.stdout.splitlines())]
    examples = [line.split()[2:] for line in lines if line.startswith("python run.py")]
    assert len(examples) >= 6
    for words in examples:
        if words[0] == "-m":  # of a sweep's values, the first
            words = [word.split(",")[0] for word in words[1:]]
        composed(*words)


@pytest.mark.parametrize("plus", ["", "+"])
@pytest.mark.parametrize(
    ("name", "trainer"),
    [
        ("cpu", ("cpu", 1, "auto")),
        ("cpu_ddp", ("cpu", 2, "ddp")),
        ("cuda", ("gpu", -1, "auto")),
        ("cuda:1", ("gpu", [1], "auto")),
        ("cuda:37", ("gpu", [37], "auto")),
    ],
)
def test_a_device_is_chosen_with_and_without_a_plus(plus, name, trainer):
    config = checked(composed(f"{plus}device={name}", "model=signal"))
    assert tuple(config.trainer[key] for key in ("accelerator", "devices", "strategy")) == trainer


def test_arguments_of_the_trainer_come_before_the_device():
    config = checked(composed("device=cuda", "trainer.devices=[1]", "model=signal"))
    assert (config.trainer["accelerator"], config.trainer["devices"]) == ("gpu", [1])


@pytest.mark.parametrize("name", ["32", "bf16"])
def test_a_precision_is_chosen_by_its_name(name):
    assert composed(f"precision={name}").precision.value == name


OWN_GROUPS = {"sources": "prepare", **dict.fromkeys(("head", "loss", "optimizer", "recipe"), "train")}
"""Groups that only one task has."""


@pytest.mark.parametrize(
    "path",
    sorted(path for path in (PROJECT / "conf").glob("*/*.yaml") if path.parent.name != "launch"),
    ids=lambda path: f"{path.parent.name}={path.stem}",
)
def test_every_shipped_choice_composes(path):
    group = path.parent.name
    task = [f"task={OWN_GROUPS[group]}"] if group in OWN_GROUPS else []
    composed(*task, f"{'+' if group in PLUS_GROUPS else ''}{group}={path.stem}")
