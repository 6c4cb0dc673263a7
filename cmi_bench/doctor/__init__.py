"""`task=doctor`: would a run work, and what to do if not. Each check is a function that returns findings."""
