"""Whether the hub would let the user in."""

from collections.abc import Iterator

from cmi_bench.doctor.finding import Finding, Status


def check_login(*, is_needed: bool) -> Iterator[Finding]:
    """Look for a login at the Hugging Face hub; whether it is accepted, only the hub knows.

    Args:
        is_needed: Something is still to be fetched.
    """
    from huggingface_hub import get_token

    if get_token() is not None:
        yield Finding("login", "Hugging Face hub", Status.OK, "there is a token")
    elif is_needed:
        yield Finding(
            "login",
            "Hugging Face hub",
            Status.WARNING,
            "not logged in, and something is to be fetched.",
            "hf auth login",
        )
    else:
        yield Finding("login", "Hugging Face hub", Status.OK, "not logged in; nothing is to be fetched")
