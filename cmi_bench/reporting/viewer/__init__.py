"""One offline page over all rows of one or more runs."""
