"""MuQ and MuQ-MuLan, the encoders that CMI-RM, SongEval and MuQ-MuLan share."""
