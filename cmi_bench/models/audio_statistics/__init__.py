"""Statistics of audio and words as embeddings: a backbone without weights, to train small heads on."""
