"""Scoring through Lightning's real predict loop: once, again, after damage, with faults."""

import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from cached_entries import damage, entries
from scoring_run import score

from cmi_bench.data.rows import load_rows
from cmi_bench.errors import RunError, UserError
from cmi_bench.models.base import AudioView, BenchmarkModelABC, EmbeddingModel, SomeFailedError
from cmi_bench.scoring import embedding_items, embedding_writer, requests
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.embedding_cache import EmbeddingCache
from cmi_bench.scoring.requests import clips_of
from cmi_bench.scoring.results import results_rows
from cmi_bench.scoring.run_stats import PARTS


class Crossings(BenchmarkModelABC):
    """Judges musicality by the share of zero crossings: a number each file of the tests has to itself."""

    sr = 8000
    audio_input = "waveform"

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        assert all(one.audio.shape[0] <= int(max_dur * self.sr) for one in inputs)
        return np.array([[math.nan, crossings(one.audio)] for one in inputs])


def crossings(waveform):
    return float((np.diff(np.signbit(waveform.numpy())) != 0).mean())


class Paths(BenchmarkModelABC):
    """Takes paths, as adapters of the public scripts do."""

    sr = 24000

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return np.array([[float(Path(one.audio).stat().st_size), float(one.ref_audio is not None)] for one in inputs])


class Encoder(EmbeddingModel):
    """An encoder-and-head model that counts what it is asked to encode."""

    sr = 8000
    identity = ""
    audio_identity = "encoder-1"
    text_identity = "text-1"

    def __init__(self, head=1.0, *, memory=99):
        self.head = head
        self.identity = f"head-{head}"
        self.memory = memory
        self.encoded, self.texts = [], []

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        raise AssertionError("an embedding model is scored from embeddings")

    def audio_view(self, max_dur, *, is_reference):
        return AudioView(f"first {max_dur:g} s", max_dur)

    def embed_audio(self, waveforms, max_dur, *, is_reference):
        if len(waveforms) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.encoded += [crossings(waveform) for waveform in waveforms]
        return [[torch.tensor([[crossings(waveform)]])] for waveform in waveforms]

    def embed_texts(self, texts):
        self.texts += texts
        return [torch.tensor([[float(len(text))]]) for text in texts]

    def score_embedded(self, clips):
        return np.array(
            [
                [float(clip.text[0, 0] + clip.lyrics[0, 0]), self.head * float(clip.windows[0][0, 0])]
                for clip in clips
            ]
        )  # fmt: skip


class Run:
    """A data root and a run's folder, scored as often as a test likes."""

    def __init__(self, root, tmp_path):
        self.root, self.folder, self.cache = root, tmp_path / "outputs" / "run", tmp_path / "cache"
        self.rows = load_rows(root / "all_test.jsonl").rows

    def score(self, model, *, batch_size=3, workers=0, stop=True, resume=True, folder=None, cache=True, max_dur=0.3,
              model_timeout=None, block=None):  # fmt: skip
        folder = folder or self.folder
        return score(
            clips_of(self.rows, self.root), model, folder, cache=self.cache if cache else None, max_dur=max_dur,
            limits=BatchLimits(batch_size, 60.0), workers=workers, stop=stop, resume=resume,
            model_timeout=model_timeout, block=block,
        )  # fmt: skip

    def results(self, scored):
        return results_rows(self.rows, scored.scores)


@pytest.fixture
def run(tiny, tmp_path):
    return Run(tiny, tmp_path)


def musicality(scored):
    return {key: score.musicality for key, score in scored.scores.items()}


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (4, 2), (100, 0)])
def test_scores_are_the_same_at_any_batch_size_and_worker_count(run, tmp_path, batch_size, workers):
    expected = musicality(run.score(Crossings()))
    again = run.score(Crossings(), batch_size=batch_size, workers=workers, folder=tmp_path / "other")
    assert len(expected) == 14
    assert musicality(again) == expected


def test_models_that_take_paths_get_paths(run):
    scores = run.score(Paths()).scores
    assert scores["2:a"].musicality == 1.0  # the second row has a reference
    assert scores["1:a"].musicality == 0.0


def test_each_audio_and_each_text_is_encoded_once(run):
    model, start = Encoder(), time.perf_counter()
    scored = run.score(model)
    elapsed = time.perf_counter() - start
    assert len(model.encoded) == len(set(model.encoded)) == 15  # 14 clips and one reference
    assert sorted(model.texts) == ["", "la", "p0", "p1", "p2", "song"]
    assert scored.stats.counts["unique_audio"] == scored.stats.counts["chunks_encoded"] == 15
    assert scored.stats.counts["clips"] == scored.stats.counts["scored"] == 14
    assert scored.stats.counts["chunks_from_cache"] == scored.stats.counts["failed"] == 0
    assert all(0 < scored.stats.seconds[name] < elapsed for name in ("wait", "decode", "encode", "head", "write"))
    assert sum(scored.stats.seconds.get(name, 0.0) for name in PARTS) < elapsed
    shares = scored.stats.over(elapsed)["shares_of_wall"]
    assert sum(shares.values()) == pytest.approx(1, abs=0.001)


def test_checkpoints_with_one_encoder_share_its_embeddings(run, tmp_path):
    first = run.score(Encoder(head=1.0))
    other = Encoder(head=-2.0)
    scored = run.score(other, folder=tmp_path / "other")
    assert other.encoded == []
    assert other.texts == []
    assert scored.stats.counts["chunks_encoded"] == 0
    assert scored.stats.counts["chunks_from_cache"] == 15
    assert musicality(scored) == {key: -2.0 * value for key, value in musicality(first).items()}


@pytest.mark.parametrize("part", ["audio_identity", "text_identity"])
def test_another_encoder_shares_no_embedding_of_its_kind(run, tmp_path, part):
    run.score(Encoder())
    other = Encoder(head=-2.0)
    setattr(other, part, "another")
    run.score(other, folder=tmp_path / "other")
    assert (len(other.encoded), len(other.texts)) == ((15, 0) if part == "audio_identity" else (0, 6))


def test_a_second_run_asks_nothing_and_a_changed_question_is_asked_again(run, tmp_path):
    expected = run.score(Encoder())
    again = Encoder()
    scored = run.score(again, folder=tmp_path / "second")
    assert scored.scores == expected.scores
    assert (again.encoded, again.texts) == ([], [])
    assert scored.stats.counts["from_store"] == 14
    longer = Encoder()
    run.score(longer, max_dur=0.2, folder=tmp_path / "third")
    assert len(longer.encoded) == 15


def test_content_counts_not_names(run, tmp_path):
    run.score(Encoder())
    (run.root / "pam/0.wav").rename(run.root / "pam/moved.wav")
    (run.root / "pam/0.wav").write_bytes((run.root / "pam/1.wav").read_bytes())
    model = Encoder()
    scored = run.score(model, folder=tmp_path / "second")
    # The file under the old name now holds what another one holds: known, though with another prompt.
    assert model.encoded == []
    assert scored.scores["3:a"].musicality == scored.scores["4:a"].musicality


def test_a_changed_digit_in_the_store_is_scored_again_and_said_once(run, tmp_path, caplog):
    expected = run.score(Encoder())
    damage(run.cache / "scores", slice(3, 4))
    again = run.score(Encoder(), folder=tmp_path / "second")
    assert again.scores == expected.scores
    assert again.stats.counts["from_store"] == 13
    assert caplog.text.count("1 entries of") == 1
    caplog.clear()
    assert run.score(Encoder(), folder=tmp_path / "third").stats.counts["from_store"] == 14
    assert not caplog.text


def test_after_a_change_of_code_scores_and_embeddings_are_made_anew(run, tmp_path, monkeypatch):
    run.score(Encoder())
    for module in (requests, embedding_items):
        monkeypatch.setattr(module, "code_identity", lambda model: "changed")
    model = Encoder()
    assert run.score(model, folder=tmp_path / "second").stats.counts["from_store"] == 0
    assert len(model.encoded) == 15
    assert len(model.texts) == 6


def test_scores_are_made_anew_where_that_is_asked_for(run):
    run.score(Encoder())
    scored = run.score(Encoder(), resume=False)
    assert scored.stats.counts["from_store"] == 0
    assert scored.stats.counts["scored"] == 14


def test_without_a_cache_nothing_is_left_but_the_runs_own_scores(run):
    model = Encoder()
    run.score(model, cache=False)
    assert len(model.encoded) == 15
    assert not run.cache.exists()
    assert sorted(path.name for path in run.folder.iterdir()) == ["scores"]


def test_what_a_killed_run_has_left_goes_with_the_next_that_has_nothing_to_do(run):
    expected = run.score(Encoder(), cache=False)
    left = [run.folder / "embeddings", run.folder / "batch_check/embeddings"]
    for folder in left:
        folder.mkdir(parents=True)
    model = Encoder()
    assert run.score(model, cache=False).scores == expected.scores
    assert model.encoded == []
    assert not any(folder.exists() for folder in left)
    assert not (run.folder / "batch_check").exists()


@pytest.mark.parametrize("damaged", [slice(3, 4), slice(None)], ids=["one", "all"])
def test_a_damaged_embedding_is_made_anew(run, tmp_path, caplog, damaged):
    expected = run.score(Encoder())
    there = entries(run.cache / "embeddings")
    count = damage(run.cache / "embeddings", damaged)
    model = Encoder(head=1.0)
    scored = run.score(model, resume=False, folder=tmp_path / "second")
    assert scored.scores == expected.scores
    assert len(model.encoded) + len(model.texts) == count
    assert there == 21 and entries(run.cache / "embeddings") >= there + count
    assert run.score(Encoder(), resume=False, folder=tmp_path / "third").stats.counts["chunks_encoded"] == 0


def test_a_model_without_an_identity_is_resumed_in_its_own_folder_only(run, tmp_path):
    class Counts(Paths):
        asked = 0

        def score_batch(self, inputs, batch_size, max_dur, **kwargs):
            Counts.asked += len(inputs)
            return super().score_batch(inputs, batch_size, max_dur)

    run.score(Counts())
    run.score(Counts())
    assert Counts.asked == 14
    run.score(Counts(), folder=tmp_path / "other")
    assert Counts.asked == 28


def test_too_large_a_batch_is_halved(run):
    model = Encoder(memory=2)
    scored = run.score(model, batch_size=8)
    assert scored.stats.counts["failed"] == 0
    assert len(model.encoded) == 15


def test_a_broken_file_stops_the_run_and_the_next_run_goes_on(run):
    good = (run.root / "pam/1.wav").read_bytes()
    (run.root / "pam/1.wav").write_bytes(b"RIFF, but no more than that")
    with pytest.raises(UserError, match=r"row 4, clip A .*pam/1.wav") as error:
        run.score(Crossings(), batch_size=2)
    assert "run the same command again" in error.value.hint
    (run.root / "pam/1.wav").write_bytes(good)
    scored = run.score(Crossings(), batch_size=2)
    assert 0 < scored.stats.counts["from_store"] < 14
    assert scored.stats.counts["failed"] == 0


@pytest.mark.parametrize("model", [Crossings, Encoder])
def test_a_broken_file_is_recorded_where_that_is_asked_for(run, model):
    (run.root / "cmi/0b.wav").write_bytes(b"")
    scored = run.score(model(), stop=False)
    first = run.results(scored)[0]
    assert (first["inference_valid_a"], first["inference_valid_b"]) == (True, False)
    assert first["inference_error"]
    assert first["predicted_musicality_b"] is None
    assert first["predicted_preference-musicality"] is None
    assert scored.stats.counts["failed"] == 1


def test_a_broken_reference_fails_the_clips_that_need_it(run):
    (run.root / "cmi/ref.wav").write_bytes(b"noise")
    scored = run.score(Encoder(), stop=False)
    assert {key for key, score in scored.scores.items() if score.error} == {"2:a", "2:b"}


def test_a_nan_for_one_clip_only_is_a_failure_of_that_clip(run):
    class Gap(Crossings):
        def score_batch(self, inputs, batch_size, max_dur, **kwargs):
            scores = super().score_batch(inputs, batch_size, max_dur)
            scores[[one.clip_id == "3:a" for one in inputs], 1] = math.nan
            return scores

    with pytest.raises(UserError, match=r"row 3, clip A .*NaN for musicality"):
        run.score(Gap())


def test_an_infinite_score_is_a_failure(run):
    class Infinite(Crossings):
        def score_batch(self, inputs, batch_size, max_dur, **kwargs):
            return np.full((len(inputs), 2), math.inf)

    assert all("infinite" in score.error for score in run.score(Infinite(), stop=False).scores.values())


def test_scores_are_the_same_where_embeddings_are_stored_beside_the_encoding(run, tmp_path, monkeypatch):
    expected = musicality(run.score(Encoder()))
    monkeypatch.setattr(embedding_writer, "is_on_gpu", lambda entries: True)
    monkeypatch.setattr(run, "cache", tmp_path / "another")
    model = Encoder()
    assert musicality(run.score(model)) == expected
    assert len(model.encoded) == 15
    again = Encoder(head=2.0)
    run.score(again)
    assert not again.encoded


@pytest.mark.parametrize("is_on_gpu", [False, True])
def test_a_full_disk_is_said_and_nothing_is_lost(run, monkeypatch, is_on_gpu):
    monkeypatch.setattr(embedding_writer, "is_on_gpu", lambda entries: is_on_gpu)
    put = EmbeddingCache.put
    room = iter([True] * 5)

    def full_after_five(self, key, tensors):
        if not next(room, False):
            raise OSError(28, "No space left on device")
        return put(self, key, tensors)

    monkeypatch.setattr(EmbeddingCache, "put", full_after_five)
    with pytest.raises(UserError, match=r"The disk that holds .* is full"):
        run.score(Encoder())
    monkeypatch.undo()
    model = Encoder()
    assert run.score(model).stats.counts["failed"] == 0
    assert len(model.encoded) == 10


class Service(BenchmarkModelABC):
    """Fails on one clip of a batch, and says which."""

    sr = 16000
    identity = "service"
    clips_at_once = 5

    def __init__(self):
        self.batches, self.prepared, self.finished = [], [], 0

    def prepare(self, work):
        self.prepared.append(work)

    def finish(self):
        self.finished += 1

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        self.batches.append([one.clip_id for one in inputs])
        bad = {place: "no answer" for place, one in enumerate(inputs) if one.clip_id == "3:a"}
        scores = np.ones((len(inputs), 2))
        if bad:
            scores[list(bad)] = np.nan
            raise SomeFailedError(scores, bad)
        return scores


def test_what_a_service_says_has_failed_costs_the_other_clips_nothing(run):
    model = Service()
    scored = run.score(model, batch_size=2, stop=False, max_dur=10.0)
    scores = scored.scores
    assert sorted(len(batch) for batch in model.batches) == [4, 5, 5]
    assert {key for key, one in scores.items() if one.error} == {"3:a"}
    assert scores["3:a"].error == "no answer"
    assert (scored.stats.counts["failed"], scored.stats.counts["scored"]) == (1, 13)


def test_a_service_is_told_what_is_coming_and_that_it_is_over(run, tmp_path):
    model = Service()
    run.score(model, stop=False, max_dur=10.0)
    (work,) = model.prepared
    assert len(work.clips) == 14
    assert {round(clip.seconds, 3) for clip in work.clips} == {0.4}
    assert sum(one.clip.ref_audio is not None for one in work.clips) == 2
    assert work.folder == tmp_path / "cache/scores/service"
    assert (work.max_dur, work.processes, work.resume) == (10.0, 1, True)
    run.score(model, stop=False, max_dur=10.0)
    assert [one.clip.audio.name for one in model.prepared[1].clips] == ["0.wav"]  # what failed
    assert model.finished == 2


def test_a_model_that_hangs_ends_the_run_and_what_was_scored_is_kept(run):
    class Hangs(Service):
        clips_at_once = None

        def score_batch(self, inputs, batch_size, max_dur, **kwargs):
            if self.batches:
                time.sleep(60)
            return super().score_batch(inputs, batch_size, max_dur)

    with pytest.raises(RunError, match=r"Hangs has not answered for 0\.2 s .*\.wav"):
        run.score(Hangs(), stop=False, model_timeout=0.2)
    assert run.score(Service(), stop=False).stats.counts["from_store"] == 3


class Blockwise(Encoder):
    """Its identity is its own, so that no run finds the scores of another."""

    def __init__(self, number):
        super().__init__()
        self.identity = self.audio_identity = self.text_identity = f"blocks of {number}"


@pytest.mark.parametrize("cache", [True, False])
def test_blocks_come_to_what_all_clips_at_once_come_to(run, tmp_path, cache):
    whole, blocks = Blockwise(0), Blockwise(3)
    expected = run.score(whole, cache=cache, folder=tmp_path / "whole")
    found = run.score(blocks, cache=cache, folder=tmp_path / "blocks", block=3)
    assert list(found.scores.items()) == list(expected.scores.items())
    assert found.stats.counts == expected.stats.counts
    assert sorted(blocks.encoded) == sorted(whole.encoded)  # what is in several blocks is encoded once
    again = run.score(blocks, cache=cache, folder=tmp_path / "blocks", block=5)
    assert list(again.scores.items()) == list(expected.scores.items())
    assert again.stats.counts["from_store"] == (14 if cache else 0) or again.stats.counts["chunks_encoded"] == 0
    assert not (tmp_path / "blocks/embeddings").exists()


class FailsOn(Crossings):
    """Fails on some clips, and gives no number for others, by the names of their files."""

    identity = "fails on"

    def __init__(self, broken=(), nan=()):
        self.broken, self.nan, self.asked = broken, nan, []

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        self.asked += [one.clip_id for one in inputs]
        if any(one.clip_id in self.broken for one in inputs):
            raise RuntimeError("broken")
        return np.array([[math.nan, math.nan if one.clip_id in self.nan else crossings(one.audio)] for one in inputs])


def test_a_failure_of_one_block_is_that_of_all(run, tmp_path):
    ids = list(run.score(Crossings(), folder=tmp_path / "names").scores)
    settings = {"broken": {ids[1]}, "nan": {ids[0]}}
    expected = run.score(FailsOn(**settings), stop=False, cache=False, folder=tmp_path / "whole")
    found = run.score(FailsOn(**settings), stop=False, cache=False, folder=tmp_path / "blocks", block=1)
    assert list(map(repr, found.scores.items())) == list(map(repr, expected.scores.items()))
    assert found.stats.counts == expected.stats.counts
    # The first clip's NaN is known to be a failure only when another block has shown that musicality is judged.
    assert "judges elsewhere" in found.scores[ids[0]].error
    with pytest.raises(UserError, match=r"row 1, clip A .*judges elsewhere"):
        run.score(FailsOn(nan={ids[0]}), cache=False, folder=tmp_path / "late", block=1)


def test_a_run_that_stops_at_a_failure_scores_no_later_block(run, tmp_path):
    ids = list(run.score(Crossings(), folder=tmp_path / "names").scores)
    model = FailsOn(broken={ids[1]})
    with pytest.raises(UserError, match="broken"):
        run.score(model, cache=False, batch_size=1, block=2)
    assert set(model.asked) == set(ids[:2])


def test_a_model_that_looks_ahead_is_told_of_all_blocks_once(run, tmp_path):
    class Remote(FailsOn):
        clips_at_once = 2
        is_remote = True

        def __init__(self):
            super().__init__()
            self.told, self.finished = [], 0

        def prepare(self, work):
            self.told.append([one.clip.clip_id for one in work.clips])

        def finish(self):
            self.finished += 1

    model = Remote()
    found = run.score(model, cache=False, block=3)
    assert (len(model.told), model.finished) == (1, 1)
    assert sorted(model.told[0]) == sorted(model.asked)
    assert len(found.scores) == 14
