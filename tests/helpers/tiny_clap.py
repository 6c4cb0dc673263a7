"""A small CLAP with random weights, saved as the released ones are: as a `ClapModel`, and in LAION's own layout."""

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizerFast
from transformers.audio_utils import mel_filter_bank

SENTENCES = ["a cheerful pop song with bright piano", "slow ambient drone", "deep house groove", "music"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SR = 48_000


def changing_music(seconds):
    """Return a waveform that changes all the time, loud and quiet."""
    time = torch.arange(seconds * SR) / SR
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    return torch.sin(2 * torch.pi * (200 + 40 * time) * time) * 0.5 + noise * 0.02 * (time / seconds) ** 2


def small_config(**more):
    audio = {
        "patch_embeds_hidden_size": 8, "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2], "hidden_size": 64,
        "projection_dim": 16, **more,
    }  # fmt: skip
    text = {
        "vocab_size": 400, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 66, "projection_dim": 16,
    }  # fmt: skip
    return ClapConfig(audio_config=audio, text_config=text, projection_dim=16)


def small_tokenizer():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return RobertaTokenizerFast(tokenizer_object=tokenizer)


def save_small_clap(folder, *, seed=0, **audio):
    """Save model, feature extractor and tokenizer into a folder; the same weights for a seed.

    Further words are for the audio part's configuration.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ClapModel(small_config(**audio))
        for parameter in model.parameters():  # the library's own start gives every text nearly the same latent
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
        model.audio_model.audio_encoder.batch_norm.running_mean.fill_(-30.0)
        model.audio_model.audio_encoder.batch_norm.running_var.fill_(400.0)
    model.save_pretrained(folder)
    ClapFeatureExtractor(truncation="fusion" if audio.get("enable_fusion") else "rand_trunc").save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    return folder


WIDTH, DEPTHS, HEADS = 8, (1, 1, 2, 1), (1, 1, 2, 2)
TEXT, TEXT_LAYERS, WORDS, POSITIONS, LATENT = 64, 2, 400, 130, 16
CONFIG = ClapConfig(
    audio_config={
        "patch_embeds_hidden_size": WIDTH, "depths": list(DEPTHS), "num_attention_heads": list(HEADS),
        "hidden_size": 8 * WIDTH, "projection_dim": LATENT,
    },
    text_config={
        "vocab_size": WORDS, "hidden_size": TEXT, "num_hidden_layers": TEXT_LAYERS, "num_attention_heads": 1,
        "intermediate_size": 128, "max_position_embeddings": POSITIONS, "projection_dim": LATENT, "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
    },
    projection_dim=LATENT,
)  # fmt: skip


def laion_shapes():
    """Return the shapes of a small network by LAION's names, as the modules in LAION's code have them."""
    shapes = {"logit_scale_a": (), "logit_scale_t": ()}

    def add(name, *shape, bias=True):
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    for branch, width in (("audio", 8 * WIDTH), ("text", TEXT)):
        add(f"{branch}_projection.0", LATENT, width)
        add(f"{branch}_projection.2", LATENT, LATENT)
        for layer in (0, 3):
            add(f"{branch}_transform.sequential.{layer}", LATENT, LATENT)
    audio = "audio_branch"
    for part in ("real", "imag"):
        add(f"{audio}.spectrogram_extractor.stft.conv_{part}", 513, 1, 1024, bias=False)
    add(f"{audio}.bn0", 64)
    shapes |= {f"{audio}.bn0.running_mean": (64,), f"{audio}.bn0.running_var": (64,)}
    add(f"{audio}.patch_embed.proj", WIDTH, 1, 4, 4)
    add(f"{audio}.patch_embed.norm", WIDTH)
    for i, (depth, heads) in enumerate(zip(DEPTHS, HEADS, strict=True)):
        dim = WIDTH * 2**i
        for j in range(depth):
            block = f"{audio}.layers.{i}.blocks.{j}"
            add(f"{block}.norm1", dim)
            shapes[f"{block}.attn.relative_position_bias_table"] = (225, heads)
            add(f"{block}.attn.qkv", 3 * dim, dim)
            add(f"{block}.attn.proj", dim, dim)
            add(f"{block}.norm2", dim)
            add(f"{block}.mlp.fc1", 4 * dim, dim)
            add(f"{block}.mlp.fc2", dim, 4 * dim)
        if i < len(DEPTHS) - 1:
            add(f"{audio}.layers.{i}.downsample.reduction", 2 * dim, 4 * dim, bias=False)
            add(f"{audio}.layers.{i}.downsample.norm", 4 * dim)
    add(f"{audio}.norm", 8 * WIDTH)
    add(f"{audio}.tscam_conv", 5, 8 * WIDTH, 2, 3)
    add(f"{audio}.head", 5, 5)
    text = "text_branch"
    for name, rows in (("word", WORDS), ("position", POSITIONS), ("token_type", 1)):
        add(f"{text}.embeddings.{name}_embeddings", rows, TEXT, bias=False)
    add(f"{text}.embeddings.LayerNorm", TEXT)
    for i in range(TEXT_LAYERS):
        layer = f"{text}.encoder.layer.{i}"
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            add(f"{layer}.{name}", TEXT, TEXT)
        add(f"{layer}.attention.output.LayerNorm", TEXT)
        add(f"{layer}.intermediate.dense", 128, TEXT)
        add(f"{layer}.output.dense", TEXT, 128)
        add(f"{layer}.output.LayerNorm", TEXT)
    add(f"{text}.pooler.dense", TEXT, TEXT)
    return shapes


def laion_tensors(seed=0):
    """Return random tensors of a small network in LAION's layout; the same each time."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in laion_shapes().items()}
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    index = (rows[:, None] - rows + 7) * 15 + (columns[:, None] - columns + 7)
    filters = mel_filter_bank(513, 64, 50, 14000, 48000, norm="slaney", mel_scale="slaney")
    tensors |= {
        "audio_branch.bn0.running_mean": torch.full((64,), -30.0),
        "audio_branch.bn0.running_var": torch.full((64,), 4e2),
        "audio_branch.bn0.num_batches_tracked": torch.tensor(15),
        "audio_branch.logmel_extractor.melW": torch.from_numpy(filters).float(),
        "text_branch.embeddings.position_ids": torch.arange(POSITIONS)[None],
    }  # fmt: skip
    for i, depth in enumerate(DEPTHS):
        for j in range(depth):
            tensors[f"audio_branch.layers.{i}.blocks.{j}.attn.relative_position_index"] = index
            if j % 2:
                tensors[f"audio_branch.layers.{i}.blocks.{j}.attn_mask"] = torch.zeros(64 >> 2 * i, 64, 64)
    return tensors


def save_laion_clap(folder, tensors=None):
    """Save a checkpoint as LAION's training does, with its optimizer, and a tokenizer; return the checkpoint."""
    tensors = laion_tensors() if tensors is None else tensors
    file = folder / "music_audioset_epoch_15_esc_90.14.pt"
    state = {f"module.{name}": tensor for name, tensor in tensors.items()}
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": np.float64(1e-4)}]}
    content = {"epoch": 15, "name": "small", "state_dict": state, "optimizer": optimizer, "loss": np.float32(0.5)}
    torch.save(content, file, pickle_protocol=4)
    small_tokenizer().save_pretrained(folder)
    return file
