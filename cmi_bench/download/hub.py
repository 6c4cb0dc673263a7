"""Repositories on the Hugging Face hub: what they hold, by the hub's own client, and how a file of one is fetched."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import httpx2
from huggingface_hub import HfApi, get_token, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from cmi_bench.download.fetch import GIT, Digest, Download
from cmi_bench.download.http import GO_ON, NO_ACCESS, NO_LOGIN, TEMPORARY, Host, retry
from cmi_bench.errors import UserError
from cmi_bench.utils.files import without_credentials
from cmi_bench.utils.waiting import within

T = TypeVar("T")

PATHS_AT_ONCE = 500
LISTING_SECONDS = 600.0
"""How long the hub may take to list what a repository holds."""


class HubFile(NamedTuple):
    """A file of a repository, at one commit."""

    path: str
    """In the repository."""
    size: int
    """Bytes."""
    digest: Digest
    commit: str


@dataclass(frozen=True)
class HubRepo:
    """A repository on the hub."""

    repo_id: str
    kind: Literal["dataset", "model"]
    endpoint: str
    """Address of the hub, or of a mirror."""
    revision: str | None = None
    """Branch, tag or commit; None is the main branch."""

    @property
    def page(self) -> str:
        """Where a person sees it."""
        base = without_credentials(self.endpoint.rstrip("/"))
        return f"{base}/{'datasets/' if self.kind == 'dataset' else ''}{self.repo_id}"

    @property
    def host(self) -> Host:
        """What to tell the user where files are refused."""
        login = f"Log in with `hf auth login` (or set HF_TOKEN); if {self.page} has conditions, accept them; {GO_ON}."
        return Host("The Hugging Face hub", "HF_ENDPOINT", login)

    def commit(self) -> str:
        """Return the revision's newest commit; what is listed and fetched belongs to it.

        Raises:
            UserError: The hub cannot be reached, does not know the repository, or wants a login.
        """
        info = self._ask(lambda api: api.repo_info(self.repo_id, repo_type=self.kind, revision=self.revision))
        return str(info.sha)

    def files(self, paths: Sequence[str], commit: str) -> dict[str, HubFile]:
        """Return those of the files named that the repository has, by path.

        Raises:
            UserError: As for `commit`.
        """
        found: list[RepoFile | RepoFolder] = []
        for start in range(0, len(paths), PATHS_AT_ONCE):
            some = list(paths[start : start + PATHS_AT_ONCE])
            found += self._ask(
                lambda api, some=some: api.get_paths_info(self.repo_id, some, repo_type=self.kind, revision=commit)  # type: ignore[misc]
            )
        return _by_path(found, commit)

    def tree(self, commit: str, folder: str | None = None) -> dict[str, HubFile]:
        """Return all files of the repository, or of a folder of it, by path.

        Raises:
            UserError: As for `commit`.
        """
        return self._ask(
            lambda api: _by_path(
                api.list_repo_tree(self.repo_id, folder, recursive=True, repo_type=self.kind, revision=commit), commit
            )
        )

    def download(self, file: HubFile, target: Path) -> Download:
        """Return how a file is fetched."""
        return Download(
            url=hf_hub_url(
                self.repo_id, file.path, repo_type=self.kind, revision=file.commit, endpoint=self.endpoint.rstrip("/")
            ),
            target=target,
            host=self.host,
            size=file.size,
            digest=file.digest,
            headers={"Authorization": f"Bearer {token}"} if (token := get_token()) else {},
        )

    def _ask(self, question: Callable[[HfApi], T]) -> T:
        """Ask until there is an answer, or a reason why there is none."""
        api = HfApi(endpoint=self.endpoint.rstrip("/"))

        def once() -> T:
            try:
                return within(LISTING_SECONDS, lambda: question(api))
            except HfHubHTTPError as error:
                if error.response.status_code in TEMPORARY:
                    raise self.host.busy(error.response, self.page) from error
                raise self._refused(error, error.response.status_code) from error
            except OfflineModeIsEnabled as error:
                raise UserError(
                    f"{self.repo_id} is to be fetched, but HF_HUB_OFFLINE forbids it.", f"Unset it; then {GO_ON}."
                ) from error
            except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
                raise self.host.unreachable(error) from error

        return retry(once)

    def _refused(self, error: HfHubHTTPError, status: int) -> UserError:
        if isinstance(error, RevisionNotFoundError):
            return UserError(f"{self.page} has no revision {self.revision}.", "Fix the part after the @.")
        if isinstance(error, GatedRepoError) or status == NO_ACCESS:
            return UserError(
                f"The hub gives {self.repo_id} only to those who accepted its conditions and are logged in.",
                f"Accept them at {self.page}, log in with `hf auth login` (or set HF_TOKEN); {GO_ON}.",
            )
        if get_token() is None and (status == NO_LOGIN or isinstance(error, RepositoryNotFoundError)):
            return UserError(f"The hub does not give {self.repo_id} without a login ({status}).", self.host.login)
        if status == NO_LOGIN:
            return UserError(
                f"The hub does not accept the login for {self.repo_id} ({status}).",
                f"Log in anew: `hf auth login` (or set a valid HF_TOKEN); {GO_ON}.",
            )
        return self.host.refused(status, self.page)


def _by_path(entries: Iterable[RepoFile | RepoFolder], commit: str) -> dict[str, HubFile]:
    return {entry.path: _hub_file(entry, commit) for entry in entries if isinstance(entry, RepoFile)}


def _hub_file(entry: RepoFile, commit: str) -> HubFile:
    digest = Digest("sha256", entry.lfs.sha256) if entry.lfs else Digest(GIT, entry.blob_id)
    return HubFile(entry.path, entry.lfs.size if entry.lfs else entry.size, digest, commit)
