"""Filling the cache through Lightning's real predict loop: once, again, after damage, with faults."""

import logging

import pytest
import torch
from cached_entries import damage, entries
from encoders import FrameEncoder, ShortEncoder
from scoring_run import TRAINER, score

from cmi_bench.audio import decode
from cmi_bench.config import CacheConfig, Config, OnError
from cmi_bench.data.audio_info import FileIndex
from cmi_bench.data.rows import load_rows
from cmi_bench.errors import UserError
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.requests import clips_of
from cmi_bench.scoring.trainer import LightningRunner
from cmi_bench.training.embeddings import TrainingEmbeddings
from cmi_bench.training.filling import fill, needs_of
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
        models = model if isinstance(model, dict) else {"frames": model}
        return fill(
            self.rows, models, runner, config=config, form=EmbeddingForm(form), cache=self.cache, root=self.root,
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
    read = decode.read_audio
    monkeypatch.setattr(
        decode, "read_audio", lambda path, *rest, **more: (names.append(path), read(path, *rest, **more))[1]
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


def both():
    return {"frames": FrameEncoder(), "short": ShortEncoder()}


def test_several_models_decode_each_file_once_and_embed_what_they_embed_alone(tiny, tmp_path, decoded):
    together, apart = Filling(tiny, tmp_path / "together"), Filling(tiny, tmp_path / "apart")
    models = both()
    filled = together.fill(models)
    assert len(decoded) == len(set(decoded)) == FILES
    assert [len(model.encoded) for model in models.values()] == [FILES, FILES]
    assert filled.stats.counts["files_encoded"] == 2 * FILES
    for name, model in both().items():
        apart.fill(model)
        call = ModelCall(model, MAX_DUR)
        needs = needs_of(together.rows, call, EmbeddingForm.compact, root=tiny, index=FileIndex()).needs
        for key in (kept.key for need in needs for kept in need.forms):
            for one, other in zip(together.cache.get(key), apart.cache.get(key), strict=True):
                assert torch.equal(one, other), (name, key)
    decoded.clear()
    assert not together.fill(both()).failed and not decoded


def test_what_one_model_has_already_is_decoded_for_the_other_alone(filling, decoded):
    filling.fill(FrameEncoder())
    models = both()
    filling.fill(models)
    assert not models["frames"].encoded and len(models["short"].encoded) == FILES and len(decoded) == 2 * FILES


def test_models_with_one_encoder_share_its_work(filling):
    models = {"step 1": FrameEncoder(), "step 2": FrameEncoder()}
    filling.fill(models, "full")
    assert len(models["step 1"].encoded) == FILES and not models["step 2"].encoded


def test_a_clip_that_one_model_cannot_embed_costs_the_others_nothing(filling, tiny):
    (tiny / "pam/1.wav").write_bytes(b"no sound")
    models = both()
    models["short"].fail = {int(MAX_DUR / 2 * 16000)}
    filled = filling.fill(models, stop=False)
    assert len(models["frames"].encoded) == FILES - 1 and not models["short"].encoded
    reasons = [one.reason for one in filled.failed]
    assert sum(one.startswith("short: RuntimeError") for one in reasons) == FILES - 1
    assert sum(one.startswith("Cannot decode") for one in reasons) == 1
    (tiny / "pam/1.wav").unlink()
    with pytest.raises(UserError, match=r"No embedding for row 4: .*pam/1\.wav"):
        filling.fill(models)
