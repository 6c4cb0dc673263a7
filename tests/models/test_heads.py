import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cmi_bench.errors import UserError
from cmi_bench.models.base import EmbeddedInput
from cmi_bench.models.heads import Head, Widths, build_head

AUDIO, TEXT = 6, 5
WIDTHS = Widths(AUDIO, TEXT, TEXT, AUDIO)
SPECS = {
    "linear": {"_target_": "cmi_bench.models.heads.LinearHead", "rank": 4},
    "mlp": {"_target_": "cmi_bench.models.heads.MlpHead", "rank": 4, "hidden": [16]},
    "attention_pool": {
        "_target_": "cmi_bench.models.heads.AttentionPoolHead",
        "rank": 4,
        "hidden": [16],
        "dim": 8,
        "queries": 2,
    },
}


def make_clips(count: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[EmbeddedInput]:
    """Clips of different lengths, some without reference, some without text."""
    generator = torch.Generator().manual_seed(seed)

    def draw(length: int, width: int) -> Tensor:
        return torch.randn(length, width, generator=generator).to(dtype)

    return [
        EmbeddedInput(
            windows=[draw(1 + (index + k) % 4, AUDIO) for k in range(1 + index % 2)],
            text=draw(index % 3, TEXT),
            lyrics=draw(2, TEXT),
            ref_audio=draw(3, AUDIO) if index % 2 else None,
        )
        for index in range(count)
    ]


def make_head(kind: str, widths: Widths = WIDTHS, seed: int = 0, **options) -> Head:
    return build_head(SPECS[kind] | options, widths, backbone=None, seed=seed)


@pytest.fixture(params=list(SPECS))
def head(request) -> Head:
    made = make_head(request.param)
    made.fit_statistics(make_clips(8, seed=1))
    for null in made.null.values():
        torch.nn.init.normal_(null.data, generator=torch.Generator().manual_seed(2))
    return made.eval()


def test_scores_of_a_clip_do_not_depend_on_its_batch(head):
    clips = make_clips(9)
    dropped = [frozenset({"text"}) if index % 4 == 1 else frozenset() for index in range(len(clips))]
    together = head(clips, dropped)
    alone = torch.cat([head([clip], [drop]) for clip, drop in zip(clips, dropped, strict=True)])
    backwards = head(clips[::-1], dropped[::-1]).flip(0)
    assert together.shape == (9, 2)
    assert together.dtype == torch.float32
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    torch.testing.assert_close(together, backwards, rtol=0, atol=1e-5)


def test_windows_are_scored_apart_and_averaged(head):
    clip = make_clips(2)[1]
    assert len(clip.windows) == 2
    apart = [EmbeddedInput([window], clip.text, clip.lyrics, clip.ref_audio) for window in clip.windows]
    torch.testing.assert_close(head([clip])[0], head(apart).mean(dim=0), rtol=0, atol=1e-6)


def test_an_input_that_is_dropped_is_as_good_as_absent(head):
    clip = make_clips(4)[1]
    assert len(clip.text) and clip.ref_audio is not None
    without = EmbeddedInput(clip.windows, clip.text[:0], clip.lyrics, None)
    both = frozenset({"text", "ref_audio"})
    scores = head([clip, without, clip], [both, frozenset(), frozenset()])
    torch.testing.assert_close(scores[0], scores[1], rtol=0, atol=1e-6)
    assert (scores[0] - scores[2]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", SPECS)
def test_in_a_common_space_training_begins_at_the_cosine_of_clip_and_prompt(kind):
    clips = [clip for clip in make_clips(30) if len(clip.text) and clip.ref_audio is None]
    clips = [EmbeddedInput(clip.windows[:1], F.pad(clip.text, (0, 1)), clip.lyrics[:0], None) for clip in clips]
    head = make_head(kind, Widths(AUDIO, AUDIO), common_space=True)
    head.fit_statistics(clips)
    alignment = head.eval()(clips)[:, 0]
    cosines = torch.stack(
        [F.cosine_similarity(clip.windows[0].mean(dim=0), clip.text.mean(dim=0), dim=0) for clip in clips]
    )
    assert torch.corrcoef(torch.stack([alignment, cosines]))[0, 1] > 0.99


def test_every_tensor_learns(head):
    clips = make_clips(6)
    scores = head(clips, [frozenset({"lyrics"}), *[frozenset()] * 5])
    (scores * torch.tensor([1.0, 2.0])).square().sum().backward()
    without = [name for name, one in head.named_parameters() if one.grad is None or not one.grad.abs().sum()]
    # A softmax does not see what is added to all keys.
    assert [name for name in without if not (name.startswith("keys.") and name.endswith(".bias"))] == []


def test_a_seed_gives_the_weights_whatever_was_drawn_before(head):
    kind = next(kind for kind, spec in SPECS.items() if spec["_target_"].endswith(type(head).__name__))
    first = make_head(kind, seed=3).state_dict()
    torch.rand(5)
    again, other = make_head(kind, seed=3).state_dict(), make_head(kind, seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["trunk.0.weight"], other["trunk.0.weight"])


def test_a_head_is_made_again_from_its_settings_and_tensors(head):
    path = f"{type(head).__module__}.{type(head).__name__}"
    again = build_head({"_target_": path, **head.settings}, head.widths, backbone=None, seed=9)
    again.load_state_dict(head.state_dict())
    clips = make_clips(5)
    assert torch.equal(again.eval()(clips), head(clips))


def test_components_of_any_scale_count_alike_and_constant_ones_not_at_all(head):
    kind = next(kind for kind, spec in SPECS.items() if spec["_target_"].endswith(type(head).__name__))
    factor, shift = torch.logspace(-3, 4, AUDIO), torch.linspace(-50, 900, AUDIO)

    def scaled(clip: EmbeddedInput) -> EmbeddedInput:
        reference = None if clip.ref_audio is None else clip.ref_audio * factor + shift
        return EmbeddedInput([one * factor + shift for one in clip.windows], clip.text, clip.lyrics, reference)

    train, test = make_clips(12, seed=1), make_clips(4)
    plain, other = make_head(kind).eval(), make_head(kind).eval()
    plain.fit_statistics(train)
    other.fit_statistics([scaled(clip) for clip in train])
    torch.testing.assert_close(plain(test), other([scaled(clip) for clip in test]), rtol=0, atol=1e-3)

    def with_constant(clip: EmbeddedInput, value: float) -> EmbeddedInput:
        windows = [F.pad(one[:, 1:], (1, 0), value=value) for one in clip.windows]
        return EmbeddedInput(windows, clip.text, clip.lyrics, clip.ref_audio)

    plain.fit_statistics([with_constant(clip, 7.0) for clip in train])
    clips = [[with_constant(clip, value) for clip in test] for value in (7.0, 8.0)]
    torch.testing.assert_close(plain(clips[0]), plain(clips[1]), rtol=0, atol=1e-6)


def test_half_precision_embeddings_are_read_in_float32(head):
    half = make_clips(5, dtype=torch.float16)
    full = [
        EmbeddedInput(
            [one.float() for one in clip.windows],
            clip.text.float(),
            clip.lyrics.float(),
            None if clip.ref_audio is None else clip.ref_audio.float(),
        )
        for clip in half
    ]
    assert torch.equal(head(half), head(full))


def test_embeddings_that_are_no_numbers_are_refused(head):
    clips = make_clips(3)
    clips[1].windows[0][0, 0] = torch.nan
    with pytest.raises(UserError, match=r"training rows \(audio\) holds NaN"):
        head.fit_statistics(clips)


@pytest.mark.parametrize("kind", SPECS)
def test_a_backbone_without_text_or_reference(kind):
    clips = [EmbeddedInput([torch.randn(1, 4)], torch.zeros(0, 1), torch.zeros(0, 1), None) for _ in range(3)]
    widths = Widths.of(clips)
    assert widths == Widths(4)
    made = make_head(kind, widths)
    made.fit_statistics(clips)
    assert made(clips).isfinite().all()


def test_widths_leave_out_what_no_clip_has_and_what_the_backbone_does_not_use():
    clips = make_clips(4)
    assert Widths.of(clips) == WIDTHS
    assert Widths.of(clips, unused=frozenset({"lyrics"})) == WIDTHS._replace(lyrics=0)
    assert Widths.of(clips[:1]) == Widths(AUDIO, 0, TEXT, 0)
    with pytest.raises(UserError, match="no embedding"):
        Widths.of([])


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("mlp", {"rnak": 3}, "takes no option 'rnak'"),
        ("mlp", {"rank": 0}, "head.rank=0"),
        ("mlp", {"hidden": [0]}, r"head.hidden=\[0\]"),
        ("mlp", {"dropout": 1.0}, "head.dropout=1.0"),
        ("attention_pool", {"dim": 9, "queries": 2}, "head.dim=9 is not a multiple"),
        ("mlp", {"_target_": "collections.OrderedDict"}, "is no head"),
        ("mlp", {"_target_": "cmi_bench.models.heads.Mlp"}, "no class 'Mlp'"),
    ],
)
def test_wrong_options_are_named(kind, options, said):
    with pytest.raises(UserError, match=said):
        make_head(kind, **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SPECS)
def test_alignment_is_learnt_though_it_is_in_neither_clip_nor_prompt_alone(kind):
    """The better clip of a pair is the one that goes along with its prompt, in components of very different scales."""
    generator = torch.Generator().manual_seed(0)
    count, scale = 100, torch.tensor([0.01, 100.0])
    audio = torch.randn(count, 2, 2, generator=generator)
    text = torch.randn(count, 2, generator=generator)
    margin = (audio * text[:, None]).sum(dim=-1).diff(dim=1).squeeze(1)
    clips = [
        EmbeddedInput([(audio[row, side] * scale)[None]], text[row][None], torch.zeros(0, 1), None)
        for row in range(count)
        for side in (0, 1)
    ]
    made = make_head(kind, Widths.of(clips), dropout=0.0) if kind != "linear" else make_head(kind, Widths.of(clips))
    learnt, held_out = clips[:120], clips[120:]
    made.fit_statistics(learnt)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)
    for _ in range(20):
        lead = made(learnt)[:, 0].view(-1, 2).diff(dim=1).squeeze(1)
        optimizer.zero_grad()
        F.softplus(-lead * margin[:60].sign()).mean().backward()
        optimizer.step()
    with torch.no_grad():
        lead = made.eval()(held_out)[:, 0].view(-1, 2).diff(dim=1).squeeze(1)
    assert (lead.sign() == margin[60:].sign()).float().mean() > 0.8
