"""What `task=` may be: each file in `conf/task/` names one of the functions here."""
