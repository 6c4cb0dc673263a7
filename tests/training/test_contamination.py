"""No row that is in a test set is learnt from: what is found, what it does, and that tests' audio is only digested."""

import json
import logging

import pytest
from opened_files import opened_files

from cmi_bench.config import DataConfig, TableConfig
from cmi_bench.errors import UserError
from cmi_bench.training.contamination import FILE, check_contamination, find_matches
from cmi_bench.training.examples import load_examples
from cmi_bench.training.identity import audio_digests
from cmi_bench.training.rows import rows_of_file
from cmi_bench.training_config import OnContamination, TrainConfig, TrainTask

PROMPT = "a slow and calm piano piece"


def pref(a, b, **more):
    return {"source": "cmi-arena-annotation", "split": "train", "audio-path": a, "audio2": b,
            "preference-musicality": "model_a"} | more  # fmt: skip


def held_out(a, b, **more):
    return pref(a, b, **{"split": "test"} | more)


@pytest.fixture
def root(tmp_path):
    """A data root with some clips, each with bytes of its own but for copies."""
    (tmp_path / "copies").mkdir()
    for name in "abcdefghr":
        (tmp_path / f"{name}.wav").write_bytes(name.encode())
        (tmp_path / "copies" / f"{name}.wav").write_bytes(name.encode())
    return tmp_path


def write_rows(file, rows):
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def task(root, train, test, *, data=None, **settings):
    given = {
        "name": "benchmark", "jsonl": write_rows(root / "all_test.jsonl", test), "root": str(root),
        "train_jsonl": write_rows(root / "all_train.jsonl", train), "train_root": str(root),
        "manifest": str(root / "manifest.parquet"),
    } | (data or {})  # fmt: skip
    config = TrainTask(data=DataConfig(**given), data_root=str(root))
    config.train = TrainConfig(**settings)
    return config


def check(config, folder):
    found = load_examples(config.data)
    rows = [example.row for example in found.examples]
    digests = audio_digests(type(folder)(config.data.root), type(folder)(config.data.manifest), rows)
    return check_contamination(found, digests, config, folder)


def kinds(train, test, root):
    """The ways in which one training row is in a test set, by kind and field."""
    config = task(root, [train], [test])
    found = load_examples(config.data)
    tests = rows_of_file(root / "all_test.jsonl", root, allow_outside=True)
    rows = [*(one.row for one in found.examples), *(one.row for one in tests)]
    digests = audio_digests(root, root / "manifest.parquet", rows)
    return [(match.kind.value, match.field) for match in find_matches(found.examples, tests, digests)]


UUID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"


@pytest.mark.parametrize(
    ("train", "test", "found"),
    [
        (pref("a.wav", "b.wav"), held_out("c.wav", "d.wav"), []),
        (pref("a.wav", "copies/d.wav"), held_out("c.wav", "d.wav"), [("audio", "audio2")]),
        (pref("a.wav", "gone.wav"), held_out("c.wav", "gone.wav"), [("audio", "audio2")]),  # the same file, not here
        (pref("copies/r.wav", "b.wav"), held_out("c.wav", "d.wav", **{"ref-audio-path": "r.wav"}),
         [("audio", "audio-path")]),
        (pref("a.wav", "b.wav", **{"ref-audio-path": "copies/c.wav"}), held_out("c.wav", "d.wav"),
         [("audio", "ref-audio-path")]),
        (pref("a.wav", "b.wav", **{"ref-audio-path": "copies/r.wav"}),
         held_out("c.wav", "d.wav", **{"ref-audio-path": "r.wav"}), [("reference", "ref-audio-path")]),
        (pref(f"mp3/{UUID}.mp3", "b.wav"), held_out(f"wav/{UUID.upper()}.wav", "d.wav"), [("clip", "audio-path")]),
        (pref("mp3/0001.mp3", "b.wav"), held_out("wav/0001.wav", "d.wav"), []),
    ],
)  # fmt: skip
def test_a_clip_is_known_by_its_bytes_its_file_and_a_name_that_nothing_else_has(root, train, test, found):
    assert kinds(train, test, root) == found


@pytest.mark.parametrize(
    ("train", "test", "is_found"),
    [
        ({"prompt": PROMPT}, {"prompt": f" {PROMPT.upper()}  "}, True),
        ({"prompt": PROMPT}, {"prompt": f"{PROMPT} in C"}, False),
        ({"prompt": "upbeat pop song"}, {"prompt": "upbeat pop song"}, False),  # anybody writes that
        ({"prompt": "pop song", "lyrics": "la la la"}, {"prompt": "pop song", "lyrics": "La la\nla"}, True),
        ({"prompt": PROMPT, "lyrics": "la la la"}, {"prompt": PROMPT, "lyrics": "na na na"}, False),
        ({"prompt": PROMPT, "lyrics": "la la la"}, {"prompt": PROMPT}, False),
        ({"prompt": ""}, {"prompt": ""}, False),
        ({"prompt": "悲しいピアノ曲"}, {"prompt": "悲しいピアノ曲"}, True),
        # Prompts with a reference are often the same, and say "like the reference": it is part of the instruction.
        ({"prompt": PROMPT, "ref-audio-path": "g.wav"}, {"prompt": PROMPT, "ref-audio-path": "h.wav"}, False),
    ],
)
def test_an_instruction_is_its_words_as_far_as_they_say_something(root, train, test, is_found):
    found = kinds(pref("a.wav", "b.wav", **train), held_out("c.wav", "d.wav", **test), root)
    assert found == ([("prompt", "prompt")] if is_found else [])


def test_an_original_name_tells_a_clip_of_music_eval(root):
    for split in ("train", "test"):
        (root / f"{split}_audio").mkdir()
        (root / f"{split}_audio_names.json").write_text('{"1.wav": "S007_P012.wav"}')
    rows = [{"source": "MusicEval", "split": split, "audio-path": f"{split}_audio/1.wav", "musicality": 3}
            for split in ("train", "test")]  # fmt: skip
    assert kinds(*rows, root) == [("clip", "audio-path")]


TRAIN = [
    pref("a.wav", "b.wav"),
    pref("copies/c.wav", "b.wav", prompt=PROMPT),
    pref("a.wav", "e.wav", prompt=PROMPT),
    pref("a.wav", "f.wav", prompt="something else that nobody tests"),
]
TEST = [held_out("c.wav", "d.wav"), held_out("g.wav", "h.wav", prompt=PROMPT)]


def test_a_training_on_test_rows_is_refused_with_the_first_ones_by_name(root, tmp_path):
    with pytest.raises(UserError) as error:
        check(task(root, TRAIN, TEST), tmp_path)
    assert str(error.value).splitlines()[:3] == [
        "2 of 4 training rows are in a test set (by audio 1, by prompt 2).",
        f"  {root}/all_train.jsonl, line 2: audio-path is audio of {root}/all_test.jsonl, line 1 (CMI-Pref)",
        f"  {root}/all_train.jsonl, line 3: prompt and lyrics are those of {root}/all_test.jsonl, line 2 (CMI-Pref)",
    ]
    assert "train.on_contamination=drop" in error.value.hint
    written = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert [(one["kind"], one["condemns"], one["value"]) for one in written] == [
        ("audio", True, "copies/c.wav"), ("prompt", True, PROMPT), ("prompt", True, PROMPT),
    ]  # fmt: skip


def test_they_can_be_dropped_and_what_may_recur_is_still_counted_and_listed(root, tmp_path, caplog):
    checked = check(task(root, TRAIN, TEST, on_contamination=OnContamination.drop), tmp_path)
    assert [example.row.index for example in checked.examples] == [1, 4]
    assert (checked.condemned, checked.tests) == (2, {"CMI-Pref": 2})
    with caplog.at_level(logging.WARNING):
        checked = check(task(root, TRAIN, TEST, on_contamination=OnContamination.drop, contamination=["audio", "clip"]),
                        tmp_path)  # fmt: skip
    assert [example.row.index for example in checked.examples] == [1, 3, 4]
    assert checked.counts == {"audio": 1, "clip": 0, "reference": 0, "prompt": 2}
    assert "2 training rows are like test rows by prompt" in caplog.text
    assert [json.loads(line)["condemns"] for line in (tmp_path / FILE).open()] == [True, False, False]
    check(task(root, TRAIN[:1], TEST), tmp_path)
    assert not (tmp_path / FILE).exists()  # what was listed before
    with pytest.raises(UserError, match="All 1 training rows are in a test set"):
        check(task(root, TRAIN[1:2], TEST, on_contamination=OnContamination.drop), tmp_path)
    with pytest.raises(UserError, match=r"train.contamination: there is no 'promt'"):
        check(task(root, TRAIN, TEST, contamination=["promt"]), tmp_path)


def test_every_test_set_that_is_known_is_compared(root, tmp_path, caplog):
    """Those of the benchmark whatever the data are, of one's own tables, and of the training rows' file."""
    own_folder = tmp_path / "own"
    own_folder.mkdir()
    for name in ("x", "y", "z"):
        (own_folder / f"{name}.wav").write_bytes({"x": b"c", "y": b"y", "z": b"z"}[name])
    table = own_folder / "pairs.csv"
    table.write_text("A,B,winner,split\nx.wav,y.wav,A,train\ny.wav,z.wav,A,train\nz.wav,q.wav,B,test\n")
    own = {"mine": TableConfig(csv=str(table), root=str(own_folder))}
    config = task(root, [held_out("e.wav", "f.wav"), pref("a.wav", "b.wav"), pref("copies/e.wav", "b.wav")], TEST,
                  on_contamination=OnContamination.drop, data={"own": own, "jsonl": None})  # fmt: skip
    with caplog.at_level(logging.INFO):
        checked = check(config, tmp_path)
    assert [example.row.audio_b for example in checked.examples] == ["b.wav"]
    assert [match.example.row.audio_a.rpartition("/")[2] for match in checked.matches] == ["e.wav", "x.wav", "y.wav"]
    assert checked.tests == {"CMI-Pref": 3, "mine": 1}
    assert checked.without_digest == 1  # there is no q.wav
    config.data_root = str(tmp_path / "nowhere")
    with caplog.at_level(logging.INFO):
        assert "mine" in check(config, tmp_path).tests
    assert "nowhere/all_test.jsonl is not here" in caplog.text


def test_audio_of_a_test_set_is_opened_for_its_digest_and_that_once(root, tmp_path):
    config = task(root, TRAIN, TEST, on_contamination=OnContamination.drop)
    with opened_files() as opened:
        check(config, tmp_path)
        of_tests = {name.rpartition("/")[2] for name in opened if name.endswith(".wav")}
        assert of_tests >= {"c.wav", "d.wav", "g.wav", "h.wav"}
        opened.clear()
        check(config, tmp_path)
        assert [name for name in opened if name.endswith(".wav")] == []
