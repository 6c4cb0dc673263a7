"""What every package may use: files, the console, processes."""
