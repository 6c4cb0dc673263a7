"""A small `ClapModel` with random weights, saved as the released ones are."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizerFast

SENTENCES = ["a cheerful pop song with bright piano", "slow ambient drone", "deep house groove", "music"]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


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


def save_small_clap(folder, **audio):
    """Save model, feature extractor and tokenizer into a folder; the same weights each time.

    Further words are for the audio part's configuration.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
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
