"""`report.html`: one run's evaluation as a page that needs nothing but itself and the audio beside it."""
