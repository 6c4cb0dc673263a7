"""Filling the cache through Lightning's real predict loop: once, again, after damage, with faults."""

import logging

import pytest
import torch
from cached_entries import damage, entries
from encoders import FrameEncoder
from scoring_run import TRAINER, score

from cmi_bench.config import CacheConfig, Config, OnError
from cmi_bench.data.audio_info import FileIndex
from cmi_bench.data.rows import load_rows
from cmi_bench.errors import UserError
from cmi_bench.scoring import cached_model, stages
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.requests import clips_of
from cmi_bench.scoring.trainer import LightningRunner
from cmi_bench.training.embeddings import TrainingEmbeddings
from cmi_bench.training.filling import fill
from cmi_bench.training_config import EmbeddingForm
from cmi_bench.utils.distributed import Devices

MAX_DUR = 0.3


class Filling:
    """The tiny rows and a cache, filled as often as a test likes."""

    def __init__(self, root, tmp_path):
        self.root, self.folder, self.place = root, tmp_path / "outputs" / "run", tmp_path / "cache"
        self.cache = EmbeddingCache(self.place / "embeddings")
        self.rows = load_rows(root / "all_test.jsonl").rows

    def fill(self, model, form="compact", *, stop=True, max_gb=50.0, batch_size=3):
        config = Config(
            model={},
            cache=CacheConfig(dir=str(self.place), max_gb=max_gb),
            max_dur=MAX_DUR,
            on_error=OnError.fail if stop else OnError.record,
        )
        runner = LightningRunner(TRAINER, Devices("cpu", 1, "cpu"), limits=BatchLimits(batch_size, 60.0), workers=0)
        return fill(
            self.rows, model, runner, config=config, form=EmbeddingForm(form), cache=self.cache, root=self.root,
            index=FileIndex(), folder=self.folder,
        )  # fmt: skip

    def score(self, model):
        limits = BatchLimits(3, 60.0)
        return score(
            clips_of(self.rows, self.root), model, self.folder, cache=self.place, max_dur=MAX_DUR, limits=limits
        )

    def embeddings(self, **options):
        return TrainingEmbeddings.of(
            FrameEncoder(), self.rows, max_dur=MAX_DUR, cache=self.cache, root=self.root, index=FileIndex(), **options
        )


@pytest.fixture
def filling(tiny, tmp_path):
    return Filling(tiny, tmp_path)


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded, as often as they are."""
    names = []
    for module in (stages, cached_model):
        decode = module.decode
        monkeypatch.setattr(
            module, "decode", lambda path, *rest, decode=decode: (names.append(path), decode(path, *rest))[1]
        )
    return names


FILES = 15
"""14 clips and a reference."""
TEXTS = 6


@pytest.mark.parametrize("form", ["compact", "full", "both"])
def test_each_file_is_decoded_and_encoded_once(filling, decoded, form):
    model = FrameEncoder()
    filled = filling.fill(model, form)
    assert len(decoded) == len(set(decoded)) == len(model.encoded) == FILES
    assert len(model.texts) == len(set(model.texts)) == TEXTS
    again = FrameEncoder()
    assert not filling.fill(again, form).failed
    assert not again.encoded and not again.texts and len(decoded) == FILES
    # A text is needed as prompt and as lyrics, which this model pools alike.
    assert filling.cache.size().entries == (FILES + TEXTS) * (2 if form == "both" else 1)
    assert filled.stats.counts["bytes_stored"] == filling.cache.size().bytes


def test_what_scoring_left_is_pooled_without_decoding(filling, decoded):
    filling.score(FrameEncoder())
    decoded.clear()
    model = FrameEncoder()
    filled = filling.fill(model)
    assert not decoded and not model.encoded and not model.texts
    assert filled.stats.counts["pooled"] == FILES + TEXTS
    assert not filling.embeddings().missing(filling.rows)


@pytest.mark.parametrize("form", ["full", "both"])
def test_scoring_encodes_nothing_after_full_embeddings(filling, decoded, form):
    filling.fill(FrameEncoder(), form)
    decoded.clear()
    model = FrameEncoder()
    filling.score(model)
    assert not decoded and not model.encoded and not model.texts


def test_both_ways_to_a_compact_embedding_give_the_same(tiny, tmp_path):
    direct, pooled = Filling(tiny, tmp_path / "direct"), Filling(tiny, tmp_path / "pooled")
    direct.fill(FrameEncoder())
    pooled.fill(FrameEncoder(), "full")
    pooled.fill(FrameEncoder())
    one, other = direct.embeddings(), pooled.embeddings()
    assert entries(direct.place) == FILES + TEXTS
    for row in direct.rows:
        for left, right in zip(one.read(row), other.read(row), strict=True):
            assert all(map(torch.equal, [*left.windows, left.text], [*right.windows, right.text]))


def test_a_damaged_full_embedding_is_encoded_again(filling, decoded):
    filling.fill(FrameEncoder(), "full")
    decoded.clear()
    assert damage(filling.place, slice(-1, None)) == 1
    model = FrameEncoder()
    filling.fill(model)
    assert len(decoded) == len(model.encoded) == 1
    assert not filling.embeddings().missing(filling.rows)


def test_a_file_that_cannot_be_embedded_is_named_and_costs_no_other_its_place(filling, decoded):
    (filling.root / "pam/1.wav").write_bytes(b"no sound")
    with pytest.raises(UserError, match=r"No embedding for row 4 \(.*pam/1.wav\): "):
        filling.fill(FrameEncoder())
    filled = filling.fill(FrameEncoder(), stop=False)
    assert [(one.rows, one.name) for one in filled.failed] == [((4,), str(filling.root / "pam/1.wav"))]
    assert [row.index for row in filling.embeddings().missing(filling.rows)] == [4]


def test_a_missing_file_is_named_before_anything_is_encoded(filling):
    (filling.root / "pam/1.wav").unlink()
    model = FrameEncoder()
    with pytest.raises(UserError, match=r"row 4: Cannot read .*pam/1.wav: No such file"):
        filling.fill(model)
    assert not model.encoded
    assert [one.rows for one in filling.fill(model, stop=False).failed] == [(4,)]


@pytest.mark.parametrize("form", ["compact", "full"])
def test_nan_is_never_stored(filling, form):
    filled = filling.fill(FrameEncoder(scale=float("nan")), form, stop=False)
    assert len(filled.failed) == FILES
    assert all("NaN or infinite" in one.reason for one in filled.failed)
    assert filling.cache.size().entries == TEXTS


@pytest.mark.parametrize("scale", [1e6, 1e30, 1e-7])
def test_values_beyond_float16_are_kept_in_float32(filling, scale):
    filled = filling.fill(FrameEncoder(scale=scale))
    assert filled.stats.counts["kept_in_float32"] == 2 * 14 + 1  # windows of clips, and the reference
    clip = filling.embeddings().read(filling.rows[0])[0]
    assert clip.windows[0].dtype == torch.float32 and clip.text.dtype == torch.float16
    assert clip.windows[0].abs().max() > 0


def test_too_small_a_bound_of_the_cache_is_told_before(filling, caplog):
    caplog.set_level(logging.INFO)
    filling.fill(FrameEncoder(), max_gb=1e-6, batch_size=2)
    assert caplog.text.count("cache.max_gb=1e-06: the next run that scores would remove") == 1
    assert "10 rows need the embeddings of 15 audio files (4 s) and 6 texts; to encode: 15 audio files" in caplog.text


def test_a_full_disk_is_told_before(filling, caplog, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    filling.fill(FrameEncoder())
    assert "Make room, or set cache.dir to another disk" in caplog.text


def test_a_disk_that_is_full_ends_it_and_what_is_embedded_is_kept(filling, monkeypatch):
    put, room = EmbeddingCache.put, iter([True] * 9)

    def full_after_nine(self, key, tensors):
        if not next(room, False):
            raise OSError(28, "No space left on device")
        return put(self, key, tensors)

    with monkeypatch.context() as patched:
        patched.setattr(EmbeddingCache, "put", full_after_nine)
        with pytest.raises(UserError, match=r"The disk that holds .* is full"):
            filling.fill(FrameEncoder())
    model = FrameEncoder()
    filling.fill(model)
    assert len(model.texts) + len(model.encoded) == FILES + TEXTS - 9
