"""What there is: configuration options, and runs that were made."""
