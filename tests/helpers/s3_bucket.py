"""S3 on this machine, without a network: moto's server on the loopback."""

import contextlib
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def s3_bucket(name: str) -> Iterator[str]:
    """Make a bucket, which this process and those that it starts find as they find AWS; return its address."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    try:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("AWS_ENDPOINT_URL", f"http://localhost:{port}")  # a name, as of other servers
            environment.setenv("AWS_ACCESS_KEY_ID", "someone")
            environment.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
            S3FileSystem.clear_instance_cache()
            S3FileSystem().mkdir(name)
            yield f"s3://{name}"
            S3FileSystem.clear_instance_cache()
    finally:
        server.stop()
