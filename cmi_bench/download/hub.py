"""Files on the Hugging Face hub: what a repository holds, and folders of the data root that are copies of one.

Both through the hub's own client. It begins a file anew when it was stopped (`huggingface_hub` 2.4), so the few large
ones, tables and weights, are fetched by `http`.
"""

import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import httpx2
from huggingface_hub import HfApi, get_token, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
)
from huggingface_hub.hf_api import RepoFile, RepoFolder

from cmi_bench.data.manifest import Manifest
from cmi_bench.download.http import (
    GIT,
    GO_ON,
    GONE,
    NO_ACCESS,
    NO_LOGIN,
    NOT_FOUND,
    TEMPORARY,
    Digest,
    Download,
    FileError,
    Host,
    Patience,
    StoppedError,
    TemporaryError,
    asked_to_wait,
    digest_of,
    no_space,
    unreachable,
)
from cmi_bench.download.state import FOLDER, Content, Need, Work, holds, inside
from cmi_bench.errors import UserError
from cmi_bench.utils.files import without_credentials

T = TypeVar("T")

PATHS_AT_ONCE = 500


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
        info = self._ask(lambda: self._api.repo_info(self.repo_id, repo_type=self.kind, revision=self.revision))
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
                lambda some=some: self._api.get_paths_info(  # type: ignore[misc]
                    self.repo_id, some, repo_type=self.kind, revision=commit
                )
            )
        return _by_path(found, commit)

    def tree(self, commit: str, folder: str | None = None) -> dict[str, HubFile]:
        """Return all files of the repository, or of a folder of it, by path.

        Raises:
            UserError: As for `commit`.
        """
        return self._ask(
            lambda: _by_path(
                self._api.list_repo_tree(self.repo_id, folder, recursive=True, repo_type=self.kind, revision=commit),
                commit,
            )
        )

    def download(self, file: HubFile, target: Path) -> Download:
        """Return how a large file is fetched, so that it goes on where it stopped."""
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

    def fetch(self, file: HubFile, *, into: Path) -> Path:
        """Fetch a file by the hub's client, unless it is there.

        Args:
            file: Which one.
            into: A folder where it comes to lie as in the repository, beside the client's own notes.

        Raises:
            UserError: As for `commit`.
        """
        fetched = self._ask(
            lambda: hf_hub_download(
                self.repo_id,
                file.path,
                repo_type=self.kind,
                revision=file.commit,
                local_dir=into,
                endpoint=self.endpoint.rstrip("/"),
            )
        )
        return Path(str(fetched))

    @property
    def _api(self) -> HfApi:
        return HfApi(endpoint=self.endpoint.rstrip("/"))

    def _ask(self, question: Callable[[], T]) -> T:
        """Ask until there is an answer, or a reason why there is none."""
        patience = Patience()
        while True:
            try:
                return question()
            except (HfHubHTTPError, LocalEntryNotFoundError, httpx2.TransportError, OfflineModeIsEnabled) as error:
                # Behind the client's "not here either" is why it looked here.
                failure = self._failure(
                    error.__cause__ or error if isinstance(error, LocalEntryNotFoundError) else error
                )
                if not isinstance(failure, TemporaryError):
                    raise failure from error
                patience.wait(failure)

    def _failure(self, error: BaseException) -> UserError | TemporaryError:
        """Return what a failure of the hub's client is to us."""
        if isinstance(error, httpx2.TransportError):
            return unreachable(self.host, error)
        if isinstance(error, HfHubHTTPError):
            status = error.response.status_code
            if status not in TEMPORARY:
                return self._refused(error, status)
            return TemporaryError(self.host.busy(status, self.page), wait=asked_to_wait(error.response.headers))
        if isinstance(error, OfflineModeIsEnabled):
            return UserError(
                f"{self.repo_id} is to be fetched, but HF_HUB_OFFLINE forbids it.", f"Unset it; then {GO_ON}."
            )
        return UserError(f"{self.page}: {error}", f"Try again later: {GO_ON}. {self.host.mirror}")

    def _refused(self, error: HfHubHTTPError, status: int) -> UserError:
        url = str(error.response.url)
        if isinstance(error, RemoteEntryNotFoundError) or (
            status in (NO_ACCESS, NOT_FOUND, GONE) and "/api/" not in url
        ):
            return self.host.refused(status, url)
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


SHOWN = 5
GIT_FILES = (".gitattributes",)
"""Files of a repository that are none of its data."""


@dataclass(frozen=True)
class HubDownload:
    """A file of a folder that is a copy of a repository."""

    repo: HubRepo
    file: HubFile
    target: Path
    staging: Path
    """The folder where it is until it is known to be right."""
    done: int = 0
    is_there: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return self.file.size

    def fetch(self, client: httpx2.Client, arrived: Callable[[int], None], stop: threading.Event) -> None:
        """Fetch and check it; see `http.fetch`."""
        if stop.is_set():
            raise StoppedError
        try:
            came = self._right_one()
            self.target.parent.mkdir(parents=True, exist_ok=True)
            came.replace(self.target)
        except OSError as error:
            raise no_space(self.target, error) from error
        arrived(self.size)

    def _right_one(self) -> Path:
        problem = ""
        for _ in range(2):
            try:
                came = self.repo.fetch(self.file, into=self.staging)
            except OSError as error:
                if error.errno is not None:
                    raise
                problem = str(error).partition("\n")[0]  # the client's word for another size than promised
                continue
            digest = digest_of(came, self.file.digest.algorithm)
            if digest == self.file.digest:
                return came
            problem = f"{digest.algorithm.upper()} hash is {digest.value}, not {self.file.digest.value}"
            came.unlink()
        raise FileError(
            f"{self.target.name} from {self.repo.host.name} is not what was promised: {problem.rstrip('.')}.",
            f"It was cut off or changed upstream, or on its way: try again later. {self.repo.host.mirror}",
        )


@dataclass(frozen=True)
class HubFiles:
    """A folder of the data root that is a copy of a repository, or of the part of it that rows name."""

    name: str
    slug: str
    folder: str
    repo: HubRepo
    root: Path
    is_whole: bool = False

    def find(self, need: Need, manifest: Manifest) -> Work:
        """Ask the hub for the files; see `Source.find`."""
        commit = self.repo.commit()
        listed = self._listed(need, commit)
        contents = {path: Content(file.size, file.digest) for path, file in listed.items()}
        staging = self.root / FOLDER / self.slug
        wrong = [path for path in listed if not holds(self.root, path, manifest.records.get(path), contents[path])]
        return Work(
            slug=self.slug,
            name=self.name,
            origin=f"{self.repo.page} at {commit[:10]}",
            folder=self.root / self.folder,
            downloads=[
                HubDownload(self.repo, listed[path], inside(self.root, path, named_in=self.repo.repo_id), staging)
                for path in wrong
            ],
            files=len(wrong),
            contents=contents,
            finish=lambda: _remove(staging),
        )

    def _listed(self, need: Need, commit: str) -> Mapping[str, HubFile]:
        """Return what the hub has of what is needed, by path relative to the data root."""
        if self.is_whole:
            tree = self.repo.tree(commit)
            return {f"{self.folder}/{path}": file for path, file in tree.items() if path not in GIT_FILES}
        there = self.repo.files([path.removeprefix(f"{self.folder}/") for path in need.wanted], commit)
        # What lies here and the hub does not know is the user's own affair.
        absent = sorted(path for path in need.wrong if path.removeprefix(f"{self.folder}/") not in there)
        if absent:
            more = f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else ""
            raise FileError(
                f"{self.repo.page} has no {', '.join(absent[:SHOWN])}{more}: rows and audio do not belong together.",
                "Get the rows' file again (remove it first), or look for the change upstream.",
            )
        return {f"{self.folder}/{path}": file for path, file in there.items()}


def _remove(staging: Path) -> Mapping[str, Content]:
    """Remove what the hub's client noted beside the files."""
    shutil.rmtree(staging, ignore_errors=True)
    return {}
