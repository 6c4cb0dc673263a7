"""Bring the benchmark's data, and a model's checkpoint, onto this machine.

What is there and right is left alone, an interrupted download goes on where it stopped, and a file appears under
its name only when it is complete. One way through it:

`rows_files` (which rows) -> `state` (which of their files are missing or damaged) -> a source per dataset (where
they come from: `hub_files`, `pam`, `music_eval`) -> `plan` (what and how much) -> `fetch` (in parallel) ->
unpack -> `record` (what is there now, for the next time).
"""
