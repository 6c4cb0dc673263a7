"""The checks, on models that keep to the contract, on such that break it in one point, and on the shipped adapters."""

import re
from functools import cache
from pathlib import Path

import broken_adapters as broken
import pytest
import torch
from opinions import AllTheSame, OneMore, Opinions, SpreadOfTheBatch
from tiny_audiobox import make_small, save_small_audiobox
from tiny_clap import save_laion_clap, save_small_clap

from cmi_bench.conformance.run import CHECKS, ONE_CLIP, SAMPLING_RATE, assert_conforms, check_model, verdict_of
from cmi_bench.conformance.subject import (
    CheckOutcome,
    failures,
    make_probes,
)
from cmi_bench.errors import RunError
from cmi_bench.models.baselines import Constant, Random
from cmi_bench.models.clap import Clap
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.muq_mulan import MuQMuLan
from cmi_bench.models.signal.model import SignalBaseline
from cmi_bench.models.songeval import SongEvalRM

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"
COMPARED = {"same twice", "batch", "batch_size", "order", "mixed references"}


@pytest.fixture(scope="module")
def same_probes(tmp_path_factory):
    """The clips are the same each time: here they are made once."""
    folder = tmp_path_factory.mktemp("probes")
    return cache(lambda _folder, sr: make_probes(folder / str(sr), sr))


@pytest.fixture
def check(same_probes, monkeypatch, tmp_path):
    monkeypatch.setattr("cmi_bench.conformance.run.make_probes", lambda _folder, sr: same_probes(None, sr))

    def findings(model, **options):
        return {finding.check: finding for finding in check_model(model, tmp_path, **options)}

    return findings


@pytest.mark.parametrize(
    ("make", "skipped"),
    [
        (broken.Sound, {"ensemble", "unused inputs", "identity", "embeddings", "path or waveform"}),
        (SignalBaseline, {"ensemble", "unused inputs", "embeddings"}),
        (lambda: CmiRM(str(BUNDLE / "sa_mean")), {"ensemble", "unused inputs"}),
        (
            lambda: CmiRM(str(BUNDLE / "sa_mean"), mode="standard", dur_step=2.0),
            {"ensemble", "unused inputs", "long clip"},
        ),
        (Random, {"ensemble", "unused inputs", "identity", "embeddings"}),
        (Opinions, {"unused inputs", "identity", "embeddings"}),
    ],
    ids=["sound", "signal", "cmi_rm", "cmi_rm_head", "random", "opinions"],
)
def test_models_that_conform(check, make, skipped):
    findings = check(make())
    assert not failures(findings.values())
    assert {name for name, finding in findings.items() if finding.outcome is CheckOutcome.SKIPPED} == skipped
    assert set(findings) == {SAMPLING_RATE, ONE_CLIP, *CHECKS}


@pytest.mark.parametrize(
    ("model", "failed", "says"),
    [
        (broken.BatchMean, {"batch", "mixed references"}, "of the clips' range; allowed is 0.0001"),
        (broken.Random, COMPARED | {"long clip"}, "a difference of"),
        (broken.OneColumn, {"one clip"}, r"returned shape \[1, 1\] for 1 clips; expected \[1, 2\]"),
        (broken.FirstOnly, COMPARED | {"inputs unchanged"}, r"returned shape \[1, 2\] for 3 clips"),
        (broken.Silent, {"one clip"}, "judges nothing"),
        (broken.NaNWithoutText, {"no instruction", "NaN"}, "alignment of a clip without instruction is nan"),
        (broken.Normalises, {"inputs unchanged"}, "audio of a clip with text was changed in place"),
        (broken.EmptiesTheList, {"inputs unchanged"}, "list of inputs"),
        (broken.HearsAll, {"long clip"}, "musicality of the long clip is"),
        (broken.CrashesOnSilence, {"silence"}, "Raises ZeroDivisionError: float division by zero"),
        (broken.NaNOnSilence, {"silence", "collapse"}, "musicality of the silent clip is nan"),
        (broken.CrashesOnShort, {"short clip"}, "Raises RuntimeError: Kernel size"),
        (broken.NeedsNoReference, {"reference"}, "Raises AssertionError"),
        (broken.FirstReferenceForAll, {"mixed references"}, "alignment of a clip with text is"),
        (broken.OddRate, {"sampling rate"}, "sr is 24000.5"),
        (broken.OtherNames, {"declarations"}, "no parameter 'inputs'"),
        (broken.UnknownUnused, {"declarations"}, "unused_inputs holds 'prompt'"),
        (
            broken.ReadsWhatItDeclaresUnused,
            {"unused inputs", "collapse"},
            "alignment of a clip with text, lyrics and reference",
        ),
        (broken.NewIdentity, {"identity"}, r"identity changes: 'run \d+', then 'run \d+'"),
        (broken.AsksForBatches, {"batch_size"}, "a difference of 1"),
        (broken.ByPlace, {"batch", "order", "mixed references"}, "a difference of 0.02"),
        (AllTheSame, {"ensemble"}, "Its 3 members give the same scores"),
        (OneMore, COMPARED | {"inputs unchanged"}, "It answers with 4 members, before with 3"),
        (SpreadOfTheBatch, {"batch", "mixed references"}, "spread of musicality of"),
    ],
)
def test_models_that_do_not(check, model, failed, says):
    findings = failures(check(model()).values())
    assert {finding.check for finding in findings} == failed
    assert re.search(says, " ".join(finding.detail for finding in findings))


@pytest.mark.parametrize(
    ("model", "says"), [(broken.RefusesShort, "clips have to last 1 s"), (broken.RefusesShortByPlace, "too short")]
)
def test_a_short_clip_may_be_refused_in_clear_words(check, model, says):
    findings = check(model())
    assert not failures(findings.values())
    assert findings["short clip"].detail == f"Refuses 0.2 s: {says}"


@pytest.mark.slow
def test_the_way_over_the_embeddings_has_to_lead_to_the_same_scores(check):
    class OtherTexts(CmiRM):
        def embed_texts(self, texts):
            return super().embed_texts(["polka" for _ in texts])

    assert {one.check for one in failures(check(OtherTexts(str(BUNDLE / "sa_mean"))).values())} == {
        "embeddings",
        "collapse",
    }


class OneLatent(Clap):
    """Gives every song the same latent."""

    def encode_waveforms(self, waveforms):
        return super().encode_waveforms([torch.ones(480_000) for _ in waveforms])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Constant, "musicality of 4 clips has standard deviation 0, 100% have the same score"),
        (
            lambda folder: OneLatent(str(save_laion_clap(folder))),
            "4 audio embeddings have a mean pairwise cosine of 1.0",
        ),
        (lambda folder: Clap(str(save_small_clap(folder))), "audio_projection.linear2 has a bias of zeros"),
    ],
    ids=["scores", "embeddings", "projections"],
)
def test_a_model_that_cannot_tell_songs_apart_is_named(check, tmp_path, make, says):
    findings = check(make() if make is Constant else make(tmp_path))
    assert {one.check for one in failures(findings.values())} == {"collapse"}
    assert findings["collapse"].detail.startswith("It cannot tell songs apart: ")
    assert says in findings["collapse"].detail


@pytest.mark.slow
def test_bf16_is_allowed_more_rounding(check):
    class Shifted(broken.Sound):
        def score_batch(self, inputs, batch_size, max_dur, **kwargs):
            return super().score_batch(inputs, batch_size, max_dur) + 5e-4 * (len(inputs) > 1)

    assert not failures(check(CmiRM(str(BUNDLE / "sa_mean"), precision="bf16"), precision="bf16").values())
    assert not failures(check(Shifted(), precision="bf16").values())
    assert "batch" in {one.check for one in failures(check(Shifted(), precision="32").values())}


def test_what_ends_a_run_ends_the_checks(check):
    class NoQuota(broken.Sound):
        def score(self, clip, max_dur):
            raise RunError("The quota is used up.")

    with pytest.raises(RunError, match="quota"):
        check(NoQuota())


def test_a_service_hears_what_is_coming_and_is_asked_little(check):
    asked, calls = [], []

    class Service(broken.Sound):
        clips_at_once = 32

        def prepare(self, work):
            asked.extend(work.clips)

        def finish(self):
            calls.append("finish")

        def score(self, clip, max_dur):
            calls.append((clip.audio, clip.text, clip.lyrics, clip.ref_audio))
            return super().score(clip, max_dur)

    assert not failures(check(Service()).values())
    assert calls[-1] == "finish"
    assert len(calls) < 45
    told = {
        (str(one.audio), one.text, one.lyrics, one.ref_audio and str(one.ref_audio))
        for one in (ahead.clip for ahead in asked)
    }
    assert {call for call in calls if isinstance(call[0], str) and call != "finish"} <= told
    assert min(one.seconds for one in asked) == pytest.approx(0.2, abs=0.01)


def test_in_a_test_all_that_failed_is_named(tmp_path):
    with pytest.raises(AssertionError, match=r"no instruction: alignment .*\nNaN: alignment"):
        assert_conforms(broken.NaNWithoutText(), tmp_path)


def test_the_verdict_is_one_line(check):
    said = verdict_of(list(check(broken.HearsAll()).values()), name="mine")
    assert said == f"mine does not conform: 1 of {2 + len(CHECKS)} checks failed (long clip)."


def assert_conforms_untrained(model, folder):
    """Random weights need not tell songs apart; everything else holds."""
    assert {finding.check for finding in failures(check_model(model, folder))} <= {"collapse"}


@pytest.mark.slow
def test_songeval(tmp_path):
    model = SongEvalRM(str(BUNDLE / "songeval"), str(BUNDLE / "muq"), hidden_state=1, dimension="musicality")
    assert_conforms(model, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["ignore", "mean"])
def test_muq_mulan(tmp_path, reference):
    assert_conforms_untrained(MuQMuLan(str(BUNDLE / "muq-mulan"), reference=reference), tmp_path)


@pytest.mark.slow
def test_clap(tmp_path):
    assert_conforms_untrained(Clap(str(save_small_clap(tmp_path / "clap")), reference="only"), tmp_path)


@pytest.mark.slow
def test_audiobox(tmp_path, monkeypatch):
    pytest.importorskip("audiobox_aesthetics")
    from cmi_bench.models.audiobox import Audiobox

    make_small(monkeypatch)
    assert_conforms(Audiobox(str(save_small_audiobox(tmp_path / "audiobox")), "CE"), tmp_path)
