"""What an evaluation looks like on disk and in a terminal."""
