"""A benchmark of a few clips, as it lies upstream: tables, archives and repositories."""

import io
import json
import zipfile

import numpy as np
import pyarrow
import soundfile
from fake_hub import FakeHub
from pyarrow import parquet

from cmi_bench.utils.files import json_text

SR = 16000
MONTH = "MusicArena_data/audio_files/01-2025JULAUG"


def audio(hertz, *, seconds=0.4, container="WAV", subtype=None):
    """The bytes of a file with a tone in it."""
    tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(SR * seconds)) / SR)
    file = io.BytesIO()
    soundfile.write(file, tone, SR, format=container, subtype=subtype)
    return file.getvalue()


def rows():
    pam = [
        {"source": "PAM (music)", "audio-path": f"human_eval/music/{system}/{clip}.wav", "prompt": f"p{clip}",
         "musicality": 3.0, "text-music alignment": 4.0}
        for system in ("a", "b") for clip in range(2)
    ]  # fmt: skip
    music_eval = [
        {"source": "MusicEval", "audio-path": f"MusicEval_data/test_audio/{row}.wav", "musicality": 2.0 + row}
        for row in range(3)
    ]
    arena = [
        {"source": "Music Arena ['01-2025JULAUG']", "audio-path": f"{MONTH}/{battle}a.mp3",
         "audio2": f"{MONTH}/{battle}b.mp3", "prompt": "song", "preference": "A"}
        for battle in range(2)
    ]  # fmt: skip
    cmi_pref = [
        {"source": "cmi-arena-annotation", "audio-path": f"cmi-pref/gen-audio/{pair}a.mp3",
         "audio2": f"cmi-pref/gen-audio/{pair}b.mp3", "ref-audio-path": "cmi-pref/ref-audio/r.mp3" if pair else "",
         "preference-musicality": "model_a", "preference-alignment": "model_b",
         "confidence_preference-musicality": "4", "confidence_preference-alignment": "2.5"}
        for pair in range(2)
    ]  # fmt: skip
    return [row | {"split": "test"} for row in [*cmi_pref, *pam, *music_eval, *arena]]


def training_rows():
    return [
        {"source": "cmi-arena-annotation", "split": "train", "audio-path": "cmi-pref/gen-audio/t.mp3",
         "audio2": "cmi-pref/gen-audio/0a.mp3", "preference-musicality": "model_a"},
        {"source": "MusicEval", "split": "train", "audio-path": "MusicEval_data/train_audio/1.wav", "musicality": 2.0},
    ]  # fmt: skip


def jsonl(lines):
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def zipped(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def table(clips):
    content = io.BytesIO()
    cells = [{"bytes": clip, "path": f"S00{number}_P012.wav"} for number, clip in enumerate(clips)]
    column = pyarrow.array(cells, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))
    parquet.write_table(pyarrow.table({"audio": column, "overall quality": [1.0] * len(clips)}), content)
    return content.getvalue()


def upstream():
    """All that the public sources have."""
    arena = {f"audio_files/01-2025JULAUG/{battle}{side}.mp3": audio(500 + 10 * battle + ord(side), container="MP3")
             for battle in range(2) for side in "ab"}  # fmt: skip
    pref = {f"gen-audio/{name}.mp3": audio(700 + 10 * number, container="MP3")
            for number, name in enumerate(["0a", "0b", "1a", "1b", "t", "not-in-the-rows"])}  # fmt: skip
    eval_clips = [audio(300), audio(310), audio(320, container="FLAC")]
    music = {f"human_eval/music/{system}/{clip}.wav": audio(100 + 20 * clip + ord(system))
             for system in ("a", "b") for clip in range(2)}  # fmt: skip
    return FakeHub(
        repos={
            ("dataset", "music-arena/music-arena-dataset"): arena | {"README.md": b"a card"},
            ("dataset", "HaiwenXia/cmi-pref"): pref | {"ref-audio/r.mp3": audio(900, container="MP3")},
            ("dataset", "HaiwenXia/cmi-pref-pseudo"): {
                "audio/1.mp3": audio(950, container="MP3"),
                "labels.jsonl": b'{"preference": "model_a"}\n',
                ".gitattributes": b"",
            },
            ("dataset", "BAAI/MusicEval"): {
                "data/test-00000-of-00001.parquet": table(eval_clips),
                "data/train-00000-of-00002.parquet": table([audio(400)]),
                "data/train-00001-of-00002.parquet": table([audio(410), audio(420)]),
            },
        },
        files={"data/all_test.jsonl": jsonl(rows()), "data/all_train.jsonl": jsonl(training_rows())},
        record={
            "human_eval.zip": zipped(music | {"human_eval/speech/s.wav": audio(200), "human_eval/readme.txt": b"hi"})
        },
    )


def expected(hub, *, training=False):
    """Every file of the data root with its bytes; None where the bytes are made here."""
    arena = hub.repos["dataset", "music-arena/music-arena-dataset"]
    pref = hub.repos["dataset", "HaiwenXia/cmi-pref"]
    with zipfile.ZipFile(io.BytesIO(hub.record["human_eval.zip"])) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name.startswith("human_eval/music/")}
    files |= {f"MusicArena_data/{path}": data for path, data in arena.items() if path.endswith(".mp3")}
    files |= {f"cmi-pref/{path}": data for path, data in pref.items() if "not-in" not in path and "/t." not in path}
    files |= {"MusicEval_data/test_audio/0.wav": audio(300), "MusicEval_data/test_audio/1.wav": audio(310)}
    files |= {"MusicEval_data/test_audio/2.wav": None, "all_test.jsonl": hub.files["data/all_test.jsonl"]}
    names = {f"{row}.wav": f"S00{row}_P012.wav" for row in range(3)}
    files |= {"MusicEval_data/test_audio_names.json": json_text(names).encode()}
    if training:
        files |= {"MusicEval_data/train_audio_names.json": None}
        pseudo = hub.repos["dataset", "HaiwenXia/cmi-pref-pseudo"]
        files |= {f"cmi-pref-pseudo/{path}": data for path, data in pseudo.items() if path != ".gitattributes"}
        files |= {f"MusicEval_data/train_audio/{row}.wav": audio(400 + 10 * row) for row in range(3)}
        files |= {"cmi-pref/gen-audio/t.mp3": pref["gen-audio/t.mp3"]}
        files |= {"all_train.jsonl": hub.files["data/all_train.jsonl"]}
    return files


def files_below(root):
    """What is in a data root, without what is hidden."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
    }


def assert_complete(root, hub, *, training=False):
    """Assert that a data root holds what is upstream, and nothing else."""
    found = files_below(root)
    found.pop("manifest.parquet")
    wanted = expected(hub, training=training)
    assert found.keys() == wanted.keys()
    for path, content in wanted.items():
        assert content is None or found[path] == content, path
