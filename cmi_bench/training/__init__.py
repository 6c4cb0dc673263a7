"""Training of heads on cached embeddings: examples, splits, losses, sampling, and the loop."""
