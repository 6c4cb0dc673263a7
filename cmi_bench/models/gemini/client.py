"""Google's own client, made ready."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cmi_bench.errors import UserError
from cmi_bench.models.gemini.key import Key

if TYPE_CHECKING:
    from google.genai import Client

GOOGLE = "https://generativelanguage.googleapis.com/"
API_VERSION = "v1"
INSTALL = "pip install -c constraints.txt -e '.[gemini]'"


def make_client(key: Key, *, base_url: str | None, timeout: float) -> "Client":
    """Return a client for the Gemini API; nothing is asked yet.

    Args:
        key: For Google.
        base_url: Another address to ask; None for Google's own.
        timeout: Seconds that a call may take.

    Raises:
        UserError: The package is not installed, or the address is none.
    """
    _check_address(base_url)
    try:
        from google import genai
    except ImportError as error:
        raise UserError(f"Gemini is asked through the package google-genai: {error}.", INSTALL) from error
    # No retries of the client's own: they know neither of the spending limit nor of the pace. And no address but from
    # the configuration, though the client would take it from the environment: it is part of the scores' identity.
    options = genai.types.HttpOptions(
        base_url=base_url or GOOGLE, api_version=API_VERSION, timeout=round(timeout * 1000)
    )
    return genai.Client(api_key=key.value, vertexai=False, http_options=options)


def _check_address(base_url: str | None) -> None:
    if base_url is None:
        return
    address = urlsplit(base_url)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise UserError(f"model.base_url={base_url!r} is no address.", "It looks like https://host.example/")
    if address.username or address.password:
        raise UserError(
            "model.base_url holds a name or a password, which would be written into the run's files.",
            "Leave them out; a proxy's can be given in HTTPS_PROXY.",
        )
