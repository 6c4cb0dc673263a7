"""What training reads: the model's own pooled windows, shared where they are one, never damaged, NaN or untrainable."""

import pickle

import pytest
import torch
from cached_entries import damage
from encoders import FrameEncoder
from torch import nn
from torch.utils.data import DataLoader

from cmi_bench.audio.decode import decode
from cmi_bench.config import CacheConfig, Config
from cmi_bench.data.audio_info import FileIndex
from cmi_bench.data.rows import load_rows
from cmi_bench.errors import UserError
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.local import LocalRunner
from cmi_bench.training.embeddings import TrainingEmbeddings
from cmi_bench.training.filling import fill
from cmi_bench.training_config import EmbeddingForm

MAX_DUR = 0.3


@pytest.fixture
def rows(tiny):
    return load_rows(tiny / "all_test.jsonl").rows


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache" / "embeddings")


@pytest.fixture
def embeddings(rows, cache, tiny, tmp_path):
    """Return embeddings of a model, all of them there."""

    def make(model=None, *, filled=True, **options):
        model = model or FrameEncoder()
        if filled:
            fill(
                rows, {"frames": model}, LocalRunner(BatchLimits(4, 60.0), workers=0, show_progress=False),
                config=Config(model={}, cache=CacheConfig(max_gb=50.0), max_dur=MAX_DUR), form=EmbeddingForm.compact,
                cache=cache, root=tiny, index=FileIndex(), folder=tmp_path / "run",
            )  # fmt: skip
        return TrainingEmbeddings.of(model, rows, max_dur=MAX_DUR, cache=cache, root=tiny, index=FileIndex(), **options)

    return make


def paired(rows):
    return next(row for row in rows if row.audio_b and row.ref_audio and row.lyrics)


def test_it_is_what_the_model_pools_of_what_it_embeds(embeddings, rows, tiny):
    model, row = FrameEncoder(), paired(rows)
    a, b = embeddings().read(row)
    for clip, audio in ((a, row.audio_a), (b, row.audio_b)):
        (windows,) = model.embed_audio([decode(tiny / audio, model.sr, MAX_DUR)], MAX_DUR, is_reference=False)
        assert len(clip.windows) == 2
        for found, window in zip(clip.windows, windows, strict=True):
            assert found.shape == (2, 2) and found.dtype == torch.float16
            assert torch.equal(found, model.pool(window, "audio").half())
    ((reference,),) = model.embed_audio([decode(tiny / row.ref_audio, model.sr, MAX_DUR)], MAX_DUR, is_reference=True)
    assert torch.equal(a.ref_audio, reference.half())
    text, lyrics = model.embed_texts([row.prompt, row.lyrics])
    assert torch.equal(a.text, text.half()) and torch.equal(a.lyrics, lyrics.half())


def test_the_clips_of_a_row_share_what_they_have_in_common(embeddings, rows):
    a, b = embeddings().read(paired(rows))
    assert a.text is b.text and a.lyrics is b.lyrics and a.ref_audio is b.ref_audio
    assert not torch.equal(a.windows[0], b.windows[0])


def test_a_row_of_one_clip_has_one(embeddings, rows):
    (clip,) = embeddings().read(next(row for row in rows if not row.audio_b))
    assert clip.ref_audio is None


def test_what_the_model_does_not_look_at_is_not_read(embeddings, rows, cache):
    model = FrameEncoder()
    model.unused_inputs = frozenset({"text", "lyrics", "ref_audio"})
    (a, _) = embeddings(model).read(paired(rows))
    assert len(a.text) == len(a.lyrics) == 0 and a.ref_audio is None
    assert model.texts == [""]


@pytest.mark.parametrize("memory_gb", [0.0, 1.0])
def test_what_is_read_in_inference_mode_can_be_trained_with(embeddings, rows, memory_gb):
    read, row = embeddings(memory_gb=memory_gb), paired(rows)
    with torch.inference_mode():
        validation = read.read(row)
    assert not any(tensor.is_inference() for clip in validation for tensor in (*clip.windows, clip.text, clip.lyrics))
    head = nn.Linear(2, 2)
    (clip, _) = read.read(row)
    loss = head(torch.cat([*clip.windows, clip.text]).float()).square().mean()
    loss.backward()
    assert head.weight.grad.abs().sum() > 0


class Rows(torch.utils.data.Dataset):
    def __init__(self, embeddings, rows):
        self.embeddings, self.rows = embeddings, rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.embeddings.read(self.rows[index])


def same(one, other):
    return all(
        torch.equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x.windows, y.windows, strict=True)
    )


def test_workers_read_the_same(embeddings, rows):
    read = embeddings()
    copy = pickle.loads(pickle.dumps(read))
    loaded = list(DataLoader(Rows(copy, rows[:4]), batch_size=None, num_workers=1))
    assert all(same(clips, read.read(row)) for clips, row in zip(loaded, rows[:4], strict=True))
    assert loaded[1][0].text is loaded[1][1].text  # shared ones stay shared on their way


def test_missing_rows_are_told_in_their_order(embeddings, rows, cache, tiny):
    assert embeddings(filled=False).missing(rows) == list(rows)
    read = embeddings()
    assert read.missing(rows) == []
    # The reference of one row.
    key = read.addresses.compact(
        read.addresses.audio(read.digests[tiny / "cmi/ref.wav"], is_reference=True), "ref_audio"
    )
    cache.discard(key)
    assert read.missing(rows) == [row for row in rows if row.ref_audio]
    with pytest.raises(UserError, match=r"Row 2: the embedding of .*cmi/ref.wav is not in the cache, or damaged"):
        read.read(paired(rows))
    (tiny / "pam/0.wav").unlink()
    assert embeddings(filled=False).missing([row for row in rows if row.audio_a == "pam/0.wav"])


def put_instead(read, cache, path, tensors):
    key = read.addresses.compact(read.addresses.audio(read.digests[path], is_reference=False), "audio")
    cache.put(key, tensors)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_is_refused_by_row_and_file(embeddings, rows, cache, tiny, value):
    read, row = embeddings(), paired(rows)
    put_instead(read, cache, tiny / row.audio_b, [torch.full((2, 2), value)])
    with pytest.raises(UserError, match=rf"Row {row.index}: the embedding of .*{row.audio_b} held NaN or infinite"):
        read.read(row)
    assert read.missing(rows) == [row]


def test_a_damaged_embedding_is_refused_and_made_anew_by_the_next_filling(embeddings, rows, cache, tiny):
    read, row = embeddings(), paired(rows)
    key = read.addresses.compact(read.addresses.audio(read.digests[tiny / row.audio_a], is_reference=False), "audio")
    whole = cache.get(key)
    damage(cache.folder, key)
    with pytest.raises(UserError, match=rf"Row {row.index}: the embedding of .*{row.audio_a} is not in the cache, or"):
        read.read(row)
    assert embeddings().read(row)
    assert all(map(torch.equal, cache.get(key), whole))


def test_memory_has_a_bound(embeddings, rows):
    singles = [row for row in rows if not row.audio_b][:3]

    def kept(read):
        before = [read.read(row)[0].windows[0] for row in singles]
        return [read.read(row)[0].windows[0] is window for row, window in zip(singles, before, strict=True)]

    assert kept(embeddings(memory_gb=1.0)) == [True, True, True]
    # Two clips, each of two windows of 8 bytes and a text of 8 bytes.
    assert kept(embeddings(memory_gb=60e-9)) == [True, True, False]
    assert kept(embeddings()) == [False, False, False]


def test_another_length_and_another_encoder_have_embeddings_of_their_own(embeddings, rows, cache, tiny):
    embeddings()
    other = FrameEncoder()
    other.audio_identity = "another"
    longer = TrainingEmbeddings.of(FrameEncoder(), rows, max_dur=2 * MAX_DUR, cache=cache, root=tiny, index=FileIndex())
    assert longer.missing(rows) == embeddings(other, filled=False).missing(rows) == list(rows)


def test_another_pooling_has_embeddings_of_its_own(embeddings, rows):
    embeddings()
    other = FrameEncoder()
    other.pooling = lambda kind: "means of 4" if kind == "audio" else ""
    assert embeddings(other, filled=False).missing(rows) == list(rows)
