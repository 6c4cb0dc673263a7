"""Addresses of embeddings: what settles the numbers is in them, and nothing else."""

import pickle
from pathlib import Path

from encoders import FrameEncoder

from cmi_bench.data.audio_info import FileFacts
from cmi_bench.scoring.embedding_items import COMPACT, EmbeddingAddresses
from cmi_bench.scoring.requests import Request
from cmi_bench.types import Clip


def addresses(max_dur=10.0, **changes):
    model = FrameEncoder()
    for name, value in changes.items():
        setattr(model, name, value)
    return EmbeddingAddresses.of(model, max_dur)


def test_what_settles_an_audio_embedding_is_in_its_address():
    first = addresses().audio("digest", is_reference=False)
    assert first == addresses(text_identity="another").audio("digest", is_reference=False)
    others = [
        addresses().audio("another digest", is_reference=False),
        addresses(audio_identity="another").audio("digest", is_reference=False),
        addresses(max_dur=20.0).audio("digest", is_reference=False),
    ]
    assert len({first, *others}) == 4


def test_a_text_does_not_depend_on_the_audio():
    first = addresses().text("la")
    assert first == addresses(audio_identity="another", max_dur=20.0).text("la")
    assert len({first, addresses().text("lala"), addresses(text_identity="another").text("la")}) == 3


def test_compact_addresses_know_the_pooling():
    key = addresses().text("la")
    audio, text = (addresses().compact(key, kind) for kind in ("audio", "text"))
    assert audio != text and text == addresses().compact(key, "lyrics")  # pooled alike
    assert audio.endswith(COMPACT) and not key.endswith(COMPACT)
    assert audio != addresses(pooling=lambda kind: "means of 3").compact(key, "audio")


def test_a_process_without_the_model_has_the_same():
    copied = pickle.loads(pickle.dumps(addresses()))
    assert copied == addresses() and copied.text("la") == addresses().text("la")


def test_the_inputs_of_a_request():
    clip = Clip("1:a", Path("a.wav"), "slow", "la", Path("r.wav"))
    request = Request("key", clip, FileFacts("a", 30.0), FileFacts("r", None), 40.0)
    inputs = addresses().inputs_of(request)
    assert list(inputs.by_kind) == ["audio", "text", "lyrics", "ref_audio"]
    assert (inputs.audio.seconds, inputs.ref_audio.seconds) == (10.0, 10.0)  # cropped; not known
    assert inputs.ref_audio.is_reference and not inputs.audio.is_reference
    assert set(inputs.keys) == {item.key for item in inputs.by_kind.values()}
