"""The mini benchmark: complete and valid rows, audio as planned, built once and never over something else."""

import json
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from cmi_bench.data.datasets import CMI_PREF, CONDITIONS, MUSIC_ARENA, MUSIC_EVAL, PAM, condition_of, dataset_of_source
from cmi_bench.data.rows import Row, load_rows
from cmi_bench.data.synthetic import build
from cmi_bench.data.synthetic.build import ensure_mini, plan_mini
from cmi_bench.data.synthetic.degradation import Fault, write_clip
from cmi_bench.data.synthetic.labels import MiniSplit, Part
from cmi_bench.errors import UserError
from cmi_bench.utils.files import file_digest


@pytest.fixture(scope="module")
def rows(mini_root: Path) -> tuple[Row, ...]:
    return load_rows(mini_root / "all_test.jsonl").rows


def of(rows, dataset):
    return [row for row in rows if row.dataset is dataset]


def test_counts_and_order(rows):
    names = [row.dataset.name for row in rows]
    assert Counter(names) == {"CMI-Pref": 36, "PAM": 30, "MusicEval": 25, "MusicArena": 29}
    assert list(dict.fromkeys(names)) == ["CMI-Pref", "PAM", "MusicEval", "MusicArena"]


def test_nine_pairs_per_condition_whether_the_row_says_it_or_not(rows):
    pairs = of(rows, CMI_PREF)
    assert Counter(row.condition for row in pairs) == dict.fromkeys(
        ("text", "text+lyrics", "text+ref", "text+lyrics+ref"), 9
    )
    told = {("modality" in row.raw) for row in pairs}
    assert told == {True, False}
    for row in pairs:
        assert row.condition == "text" + "+lyrics" * bool(row.lyrics) + "+ref" * bool(row.ref_audio)


def test_a_few_rows_are_for_training(mini_root):
    known = load_rows(mini_root / "all_test.jsonl", split="train")
    assert len(known.rows) == 5
    assert {row.dataset.name for row in known.rows} == {"CMI-Pref", "PAM", "MusicEval", "MusicArena"}


def test_no_source_is_unknown(mini_root):
    assert load_rows(mini_root / "all_test.jsonl").unknown_sources == {}


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [
        (PAM, "human_eval/music/"),
        (MUSIC_EVAL, "MusicEval_data/test_audio/"),
        (MUSIC_ARENA, "MusicArena_data/audio_files/"),
        (CMI_PREF, "cmi-pref/gen-audio/"),
    ],
)
def test_folders_are_the_public_ones(rows, dataset, folder):
    assert all(path.startswith(folder) for row in of(rows, dataset) for path in (row.audio_a, row.audio_b) if path)


def test_the_source_names_the_month_folder(rows):
    months = Counter(row.audio_a.split("/")[2] for row in of(rows, MUSIC_ARENA))
    assert months == {"01-2025JULAUG": 9, "02-2025SEP": 5, "03-2025OCT": 6, "04-2025NOV": 4, "05-2025DEC": 5}
    assert all(row.raw["source"] == f"Music Arena ['{row.audio_a.split('/')[2]}']" for row in of(rows, MUSIC_ARENA))


def test_pam_has_five_clips_of_each_prompt(rows):
    assert sorted(Counter(row.prompt for row in of(rows, PAM)).values()) == [5] * 6


def test_pairs_repeat_clips_prompts_and_references(rows):
    pairs = of(rows, CMI_PREF)
    clips = Counter(path for row in pairs for path in (row.audio_a, row.audio_b))
    references = Counter(row.ref_audio for row in pairs if row.ref_audio)
    assert set(clips.values()) == {2}
    assert set(references.values()) == {3}
    assert len({row.prompt for row in of(rows, MUSIC_ARENA)}) < len(of(rows, MUSIC_ARENA))


def test_ties_are_few_and_in_every_spelling(rows):
    arena = Counter(row.raw["preference"] for row in of(rows, MUSIC_ARENA))
    assert set(arena) == {"A", "B", "TIE", "BOTH_BAD", "both", "neither"}
    assert arena["A"] + arena["B"] == 25
    for field in ("preference-musicality", "preference-alignment"):
        counts = Counter(row.raw[field] for row in of(rows, CMI_PREF))
        assert set(counts) == {"model_a", "model_b", "both"}
        assert 1 <= counts["both"] <= 4


def test_neither_side_is_favoured(rows):
    for dataset, field in ((MUSIC_ARENA, "preference"), (CMI_PREF, "preference-musicality")):
        a_wins = [row.raw[field].lower().endswith("a") for row in of(rows, dataset)]
        assert 0.35 < sum(a_wins) / len(a_wins) < 0.65


def test_confidences_are_half_steps_as_text_and_sometimes_empty(rows):
    given = [
        row.raw[f"confidence_preference-{aspect}"]
        for row in of(rows, CMI_PREF)
        for aspect in ("musicality", "alignment")
    ]
    assert "" in given
    assert {text for text in given if text} <= {f"{half / 2:g}" for half in range(2, 11)}
    # The groups below, at and above 3 are all there.
    assert {(float(text) > 3) - (float(text) < 3) for text in given if text} == {-1, 0, 1}


def test_each_clip_is_planned_once_and_named_by_a_row(rows):
    paths = [clip.path for clip in plan_mini().clips]
    assert len(paths) == len(set(paths))
    assert set(paths) == {path for row in rows for path in row.audio_files}


def test_rows_are_the_same_each_time(mini_root):
    lines = (mini_root / "all_test.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == plan_mini().rows


PLANS = plan_mini().clips


def test_every_clip_is_there_as_planned(mini_root):
    for plan in PLANS:
        info = soundfile.info(mini_root / plan.path)
        assert (info.samplerate, info.channels) == (plan.sr, plan.channels), plan.path
        assert info.duration == pytest.approx(plan.seconds, abs=0.1), plan.path


@pytest.mark.parametrize("plan", PLANS[::4], ids=lambda plan: plan.path)
def test_clips_sound_and_stay_in_range(mini_root, plan):
    wave, _ = soundfile.read(mini_root / plan.path)
    assert np.max(np.abs(wave)) <= 1.0
    assert np.sqrt(np.mean(wave**2)) > 0.01


def test_two_builds_give_equal_bytes(mini_root, tmp_path):
    # The fixture was built by threads in an order of its own, this sample is made one by one.
    for plan in PLANS[::13]:
        write_clip(tmp_path, plan)
        assert (tmp_path / plan.path).read_bytes() == (mini_root / plan.path).read_bytes(), plan.path


def test_all_clips_differ(mini_root):
    contents = {(mini_root / plan.path).read_bytes() for plan in PLANS}
    assert len(contents) == len(PLANS)


def test_durations_fill_the_first_groups():
    groups = Counter(np.searchsorted((10, 30), plan.seconds, side="right").item() for plan in PLANS)
    assert groups[0] > 100
    assert groups[1] >= 10
    assert groups[2] == 3


def test_forms_are_mixed():
    assert {plan.sr for plan in PLANS} == {16000, 24000, 32000, 44100}
    assert {plan.channels for plan in PLANS} == {1, 2}
    assert {Path(plan.path).suffix for plan in PLANS} == {".wav", ".mp3"}


def test_the_folder_is_small(mini_root):
    assert sum(path.stat().st_size for path in mini_root.rglob("*")) < 40e6


# --- rows to train on -----------------------------------------------------------------------------------------------

TRAINING = plan_mini(MiniSplit.TRAIN)


def instructions(plan):
    return {(row["prompt"], row.get("lyrics", "")) for row in plan.rows}


def named(plan):
    return {row[key] for row in plan.rows for key in ("audio-path", "audio2", "ref-audio-path") if row.get(key)}


def test_about_four_hundred_rows_are_to_train_on_in_the_order_of_the_benchmark():
    datasets = Counter(dataset_of_source(row["source"]).name for row in TRAINING.rows)
    assert list(datasets) == ["CMI-Pref", "PAM", "MusicEval", "MusicArena"]
    assert all(80 <= count <= 120 for count in datasets.values())
    assert 390 <= len(TRAINING.rows) <= 410
    assert {row["split"] for row in TRAINING.rows} == {"train"}


def test_training_and_benchmark_share_no_instruction_no_file_and_no_random_stream():
    benchmark = plan_mini()
    assert instructions(TRAINING).isdisjoint(instructions(benchmark))
    assert named(TRAINING).isdisjoint(named(benchmark))
    seeds, others = ({clip.seed for clip in plan.clips} for plan in (TRAINING, benchmark))
    assert seeds.isdisjoint(others)
    assert len(seeds) == len(TRAINING.clips)
    # The ids before a clip's own decide over prompts, labels and faults: the first of them is the dataset.
    assert {seed[0] for seed in seeds}.isdisjoint({seed[0] for seed in others})


def test_training_rows_name_each_planned_clip():
    assert named(TRAINING) == {clip.path for clip in TRAINING.clips}


def test_every_fault_and_condition_and_answer_is_there_to_train_on():
    assert {damage.fault for clip in TRAINING.clips for damage in clip.damages} == set(Fault)
    pairs = [row for row in TRAINING.rows if "preference-musicality" in row]
    assert {condition_of(row) for row in pairs} == set(CONDITIONS)
    for field in ("preference-musicality", "preference-alignment"):
        assert {row[field] for row in pairs} == {"model_a", "model_b", "both"}
    assert {row["preference"] for row in TRAINING.rows if "preference" in row} >= {"A", "B", "TIE", "BOTH_BAD"}


def test_training_clips_are_short():
    assert all(4.0 <= clip.seconds <= 6.0 for clip in TRAINING.clips)


@pytest.mark.slow
def test_training_audio_is_as_planned_and_none_of_it_is_in_the_benchmark(mini_root, mini_train_root):
    rows = load_rows(mini_train_root / "all_train.jsonl", split="train").rows
    assert [row.raw for row in rows] == TRAINING.rows
    for plan in TRAINING.clips:
        info = soundfile.info(mini_train_root / plan.path)
        assert (info.samplerate, info.channels) == (plan.sr, plan.channels), plan.path
    digests = {file_digest(path) for path in mini_train_root.rglob("*.[mw][pa][3v]")}
    assert len(digests) == len(TRAINING.clips)
    assert digests.isdisjoint(file_digest(path) for path in mini_root.rglob("*.[mw][pa][3v]"))


WHOLE = build.plan_mini()


@pytest.fixture
def builds(monkeypatch):
    """Make the benchmark small, and count how often it is built."""
    folders = []
    build_mini = build.build_mini

    def counted(root, split):
        folders.append(root)
        return build_mini(root, split)

    # PAM's first clips are WAV files, which take no time.
    monkeypatch.setattr(build, "plan_mini", lambda _split: Part(WHOLE.rows[38:41], WHOLE.clips[42:45]))
    monkeypatch.setattr(build, "build_mini", counted)
    return folders


@pytest.fixture
def root(builds, tmp_path):
    ensure_mini(tmp_path / "data" / "mini")
    builds.clear()
    return tmp_path / "data" / "mini"


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_built_when_absent_and_then_kept(builds, tmp_path, caplog):
    caplog.set_level("INFO", "cmi_bench")
    assert ensure_mini(tmp_path / "mini") == tmp_path / "mini" / "all_test.jsonl"
    assert ensure_mini(tmp_path / "mini").is_file()
    assert len(builds) == 1
    assert caplog.messages == [f"Synthesising the mini benchmark into {tmp_path}/mini, once"]


def test_an_empty_folder_is_filled(builds, tmp_path):
    (tmp_path / "mini").mkdir()
    assert ensure_mini(tmp_path / "mini").is_file()


@pytest.mark.parametrize("harm", ["deleted", "cut off", "rows edited", "stamp garbled"])
def test_an_incomplete_folder_is_repaired(builds, root, harm):
    before = contents(root)
    audio = next(root.rglob("*.wav"))
    if harm == "deleted":
        audio.unlink()
    elif harm == "cut off":
        audio.write_bytes(audio.read_bytes()[:1000])
    elif harm == "rows edited":
        (root / "all_test.jsonl").write_text("{}\n")
    else:
        (root / "mini_stamp.json").write_text("{")
    ensure_mini(root)
    assert len(builds) == 1
    assert contents(root) == before


def test_a_killed_build_leaves_nothing_behind(builds, root):
    before = contents(root)
    (root.parent / ".mini.building" / "junk").mkdir(parents=True)
    shutil.rmtree(root)
    ensure_mini(root)
    assert contents(root) == before
    assert {path.name for path in root.parent.iterdir()} == {"mini", ".mini.lock"}


def test_a_failing_build_leaves_the_old_folder(monkeypatch, root):
    (root / "all_test.jsonl").write_text("{}\n")

    def fail(_root, _split):
        raise OSError("disk full")

    monkeypatch.setattr(build, "build_mini", fail)
    with pytest.raises(OSError, match="disk full"):
        ensure_mini(root)
    assert next(root.rglob("*.wav")).is_file()


def test_another_version_is_built_anew(builds, root, monkeypatch):
    monkeypatch.setattr(build, "MINI_VERSION", "next")
    ensure_mini(root)
    ensure_mini(root)
    assert len(builds) == 1


def test_the_training_rows_have_a_folder_and_a_version_of_their_own(builds, root, monkeypatch, caplog):
    training = root.parent / "mini_train"
    caplog.set_level("INFO", "cmi_bench")
    assert ensure_mini(training, MiniSplit.TRAIN) == training / "all_train.jsonl"
    assert caplog.messages == [f"Synthesising the mini benchmark's training rows into {training}, once"]
    builds.clear()
    monkeypatch.setattr(build, "TRAINING_VERSION", "next")
    ensure_mini(root)
    assert not builds
    ensure_mini(training, MiniSplit.TRAIN)
    assert len(builds) == 1
    # What changes the benchmark's clips changes these.
    monkeypatch.setattr(build, "MINI_VERSION", "next")
    ensure_mini(training, MiniSplit.TRAIN)
    assert len(builds) == 2


def test_what_is_not_ours_is_left_alone(builds, tmp_path):
    (tmp_path / "all_test.jsonl").write_text("precious\n")
    with pytest.raises(UserError, match="not made by the mini benchmark"):
        ensure_mini(tmp_path)
    assert (tmp_path / "all_test.jsonl").read_text() == "precious\n"


def test_many_at_once_build_once(builds, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(ensure_mini, [tmp_path / "mini"] * 4))
    assert len(set(files)) == 1
    assert len(builds) == 1


def test_a_lock_that_another_process_keeps_is_named(builds, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "BUILD_SECONDS", 0.01)
    with (
        FileLock(tmp_path / ".mini.lock"),
        pytest.raises(UserError, match="Another process builds the mini benchmark") as error,
    ):
        ensure_mini(tmp_path / "mini")
    assert ".mini.lock" in error.value.what
    assert not builds
