"""What a comparison of runs looks like on disk and in a terminal."""
