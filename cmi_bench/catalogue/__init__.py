"""A catalogue of songs, scored part by part: memory does not grow with its size, and a stopped run goes on."""
