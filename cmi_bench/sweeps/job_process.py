"""The process that a job of a sweep runs in."""

import multiprocessing


def allow_children() -> None:
    """Let this process start others, such as those that decode audio.

    joblib's processes are made to start none but joblib's own kind, which nobody else can start.
    """
    if multiprocessing.get_start_method() == "loky":
        multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
