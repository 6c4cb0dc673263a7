"""What a sweep looks like on disk and in a terminal."""
