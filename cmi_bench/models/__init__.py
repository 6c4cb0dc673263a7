"""The reward-model contract and the systems that fulfil it, one file (or folder) each."""
