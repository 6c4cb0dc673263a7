"""Each perturbation is what its label says."""

import numpy as np
import pytest
import soundfile

from cmi_bench.data.synthetic.composition import agreement
from cmi_bench.data.synthetic.degradation_set import (
    CUTOFFS_HZ,
    DRIVES_DB,
    MAX_PIECES,
    SAMPLING_RATE,
    SECONDS,
    SHARES_KEPT,
    SNRS_DB,
    Perturbation,
    clean_pieces,
    degradation_steps,
    least_fitting,
    plan_degradations,
    write_degradations,
)


@pytest.fixture(scope="module")
def degraded(tmp_path_factory):
    """Two pieces at every step: waveforms by kind, severity and piece."""
    folder = tmp_path_factory.mktemp("degraded")
    pieces, steps = clean_pieces(2), degradation_steps()
    write_degradations(pieces, steps, folder)
    return {
        (clip.step.kind, clip.step.severity, clip.piece): soundfile.read(clip.clip.audio)[0]
        for clip in plan_degradations(pieces, steps, folder)
    }


def test_severities_count_up_from_clean_in_every_kind():
    steps = degradation_steps()
    assert (steps[0].kind, steps[0].severity) == (Perturbation.CLEAN, 0)
    for kind in list(Perturbation)[1:]:
        severities = [step.severity for step in steps if step.kind is kind]
        assert severities == list(range(1, len(severities) + 1))
        assert severities


def test_clean_pieces_are_music_of_full_length(degraded):
    clean = degraded[Perturbation.CLEAN, 0, 1]
    assert len(clean) == SECONDS * SAMPLING_RATE
    assert 0.4 < np.abs(clean).max() < 0.99
    assert not np.array_equal(clean, degraded[Perturbation.CLEAN, 0, 2])


def test_noise_has_the_ratio_that_is_written_on_it(degraded):
    clean = degraded[Perturbation.CLEAN, 0, 1]
    for severity, db in enumerate(SNRS_DB, start=1):
        noisy = degraded[Perturbation.SNR, severity, 1]
        # The whole clip may have been turned down, so the clean part is what is left after projecting on it.
        gain = noisy @ clean / (clean @ clean)
        noise = noisy - gain * clean
        assert 10 * np.log10(np.sum((gain * clean) ** 2) / np.sum(noise**2)) == pytest.approx(db, abs=0.3)


def test_a_lowpass_takes_what_is_above_its_cutoff(degraded):
    def above(wave, hertz):
        power = np.abs(np.fft.rfft(wave)) ** 2
        return power[np.fft.rfftfreq(len(wave), 1 / SAMPLING_RATE) > hertz].sum() / power.sum()

    for severity, hertz in enumerate(CUTOFFS_HZ, start=1):
        # Two octaves up a fourth-order filter has taken 48 dB.
        kept = above(degraded[Perturbation.LOWPASS, severity, 1], 4 * hertz)
        assert kept < 1e-3 * max(above(degraded[Perturbation.CLEAN, 0, 1], 4 * hertz), 1e-3)


def test_clipping_flattens_more_and_more(degraded):
    clipped = [degraded[Perturbation.CLIPPING, severity, 1] for severity in range(1, len(DRIVES_DB) + 1)]
    waves = [degraded[Perturbation.CLEAN, 0, 1], *clipped]
    flat = [np.mean(np.abs(wave) > 0.99 * np.abs(wave).max()) for wave in waves]
    assert flat == sorted(flat)
    assert flat[0] < 0.001
    assert flat[-1] > 0.1


def test_silence_noise_and_cut_are_what_they_are_called(degraded):
    clean = degraded[Perturbation.CLEAN, 0, 2]
    assert not degraded[Perturbation.SILENCE, 1, 2].any()
    noise = degraded[Perturbation.NOISE, 1, 2]
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(np.sqrt(np.mean(clean**2)), rel=0.02)
    assert abs(np.corrcoef(noise, clean)[0, 1]) < 0.02
    for severity, share in enumerate(SHARES_KEPT, start=1):
        cut = degraded[Perturbation.CUT, severity, 2]
        assert len(cut) == round(share * len(clean))
        assert np.array_equal(cut, clean[: len(cut)])


def test_swapped_prompts_are_other_pieces_and_misfit(tmp_path):
    pieces = clean_pieces()
    assert len({piece.prompt for piece in pieces}) == MAX_PIECES
    clips = [
        clip
        for clip in plan_degradations(pieces, degradation_steps(), tmp_path)
        if clip.step.kind is Perturbation.PROMPT
    ]
    for piece, clip in zip(pieces, clips, strict=True):
        asked = least_fitting(piece, [other for other in pieces if other != piece])
        assert clip.clip.text == asked.prompt != piece.prompt
        assert clip.clip.audio == tmp_path / f"clean/piece-{piece.number:02d}.wav"
        assert agreement(asked.style, piece.style) <= 0.3


def test_the_same_bytes_each_time(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        write_degradations(clean_pieces(1), degradation_steps(), folder)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.wav"))
    assert len(files) == len(degradation_steps()) - 1  # swapped prompts need no audio of their own
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)
