"""The mini benchmark: some 120 rows over all four datasets, synthesised here, for trials without any download.

What is in it
    Short pieces of real musical structure (chords, bass, a melody of motifs, drums; six genres, ten timbres,
    keys, two families of tempo), some of them spoilt on purpose: notes out of tune, off the beat or wrong,
    noise, clipping, dropouts, muffling. The labels follow from what was done: musicality from how badly a
    clip was spoilt, alignment from how much of its prompt (or reference) it fulfils. So a judge that listens
    can be told from one that does not, while nothing is learnt about real systems: all names are invented.

    ========== ===== =================================================================================
    dataset    rows  what
    ========== ===== =================================================================================
    CMI-Pref   36    9 pairs per condition (text, + lyrics, + reference, + both), MP3, with confidences
    PAM        30    6 prompts x 5 systems, WAV, two mean opinion scores
    MusicEval  25    WAV at 16 kHz, two mean opinion scores
    MusicArena 29    pairs over five months, MP3, a few ties
    ========== ===== =================================================================================

    Plus five rows of split "train", which the benchmark leaves out. Clips last 4 to 6 s, some 10 to 14 s,
    three more than 30 s. Row format, order of the datasets and folders are those of the public `all_test.jsonl`.

Where to look
    `styles` (what is asked), `prompts` (in words), `composition` (notes), `timbres` and `drums` (sounds), `render`
    (waveform), `damage`, `raters` (labels), one file per dataset, `build` (folder), `ensure` (build once).
"""

from cmi_bench.data.mini.build import MINI_VERSION, build_mini
from cmi_bench.data.mini.ensure import ensure_mini

__all__ = ["MINI_VERSION", "build_mini", "ensure_mini"]
