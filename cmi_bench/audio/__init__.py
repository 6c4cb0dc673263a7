"""From an audio file to the mono waveform a model asks for."""
