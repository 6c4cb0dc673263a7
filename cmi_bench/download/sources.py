"""Where the rows' files and each folder of the data root come from.

A dataset's declaration names its function of this module (`Dataset.audio_source`): PAM is one folder of a zip file on
Zenodo, MusicEval a Parquet table on the hub with audio files as cells, the others lie on the hub as they lie here.
"""

import io
import shutil
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

import httpx2
import soundfile

from cmi_bench.data import fields
from cmi_bench.data.datasets import all_datasets
from cmi_bench.data.manifest import Manifest
from cmi_bench.data.rows import NAMES_FILE, read_jsonl
from cmi_bench.download.fetch import PARTIAL, Download, digest_of, fetch_all, no_space, parse_digest, raise_first
from cmi_bench.download.http import FileError, Host, get_json
from cmi_bench.download.hub import HubFile, HubRepo
from cmi_bench.download.state import FOLDER, Content, Need, Source, Work, check_space, holds, inside
from cmi_bench.errors import UserError
from cmi_bench.task_config import SourcesConfig
from cmi_bench.utils.console import some_of
from cmi_bench.utils.files import json_text, without_credentials, write_text_atomic

ROWS_HOST = Host("The server of the rows' files", "sources.rows")
TEST, TRAINING = "all_test.jsonl", "all_train.jsonl"


def fetch_rows(client: httpx2.Client, url: str, target: Path, *, check: Callable[[Path], object]) -> bool:
    """Fetch a rows' file unless it is there.

    Args:
        client: The connection pool.
        url: Where it is.
        target: Where it goes.
        check: Raises a UserError where a file is none of benchmark rows.

    Returns:
        Whether it was fetched.

    Raises:
        UserError: It cannot be had, or what came is something else.
    """
    if target.exists():
        return False
    raise_first(fetch_all(client, [Download(url, target, ROWS_HOST, check=check)], jobs=1))
    return True


def training_audio(file: Path) -> list[str]:
    """Return the audio that training rows name, each file once; their labels are not looked at.

    Raises:
        UserError: The file is no JSON-lines file, or names no audio.
    """
    named = (
        line.value.get(key) for line in read_jsonl(file) for key in (fields.AUDIO_A, fields.AUDIO_B, fields.REF_AUDIO)
    )
    paths = list(dict.fromkeys(path for path in named if isinstance(path, str) and path.strip()))
    if not paths:
        raise UserError(f"{file} has no row that names audio.", "Get it again.")
    return paths


class Archives(NamedTuple):
    """What the files of a folder are unpacked from."""

    downloads: Sequence[Download]
    origin: str
    """Where they come from, for the user."""
    unpack: Callable[[], Sequence[str]]
    """Makes the files that are wrong or missing; returns all that the archives hold, relative to the data root."""


@dataclass(frozen=True)
class ArchiveSource(ABC):
    """A folder whose files come in archives, which are removed when they are unpacked."""

    root: Path
    name: str
    slug: str
    folder: str
    is_whole: bool = False

    @abstractmethod
    def archives(self, need: Need) -> Archives:
        """Ask upstream for the archives of what is needed.

        Raises:
            UserError: It cannot be asked, or does not have them.
        """

    def target(self, name: str) -> Path:
        """Return where an archive is while it is needed."""
        return self.root / FOLDER / self.slug / name

    def find(self, need: Need, manifest: Manifest) -> Work:
        """Ask upstream for the archives; see `Source.find`."""
        archives = self.archives(need)
        return Work(
            slug=self.slug,
            name=self.name,
            origin=archives.origin,
            folder=self.root / self.folder,
            downloads=archives.downloads,
            files=len(need.wrong),
            unpacked_bytes=sum(download.size or 0 for download in archives.downloads),
            finish=lambda: self._finish(archives, need),
        )

    def _finish(self, archives: Archives, need: Need) -> Mapping[str, Content]:
        made = archives.unpack()
        lacking = sorted(need.wrong - set(made))
        if lacking:
            raise UserError(
                f"{archives.origin} has {len(made):,} clips, but no {some_of(lacking)}, which the rows name.",
                "Rows and audio do not belong together: get the rows' file again, or look for the change upstream.",
            )
        contents = {path: Content((self.root / path).stat().st_size, digest_of(self.root / path)) for path in made}
        for download in archives.downloads:
            download.target.unlink()
        return contents


TABLES = "data"
"""Folder of the repository; the tables of a split in it are `<split>-00000-of-00001.parquet` and so on."""
AUDIO = "audio"
"""Their column: `bytes` (the file) and `path` (its name) of each row."""
ROWS_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class MusicEval(ArchiveSource):
    """Clip `<row>.wav` of a split is row `<row>` of its tables, in their order."""

    repo: HubRepo

    def archives(self, need: Need) -> Archives:
        """Ask the hub for the tables; see `ArchiveSource.archives`."""
        commit = self.repo.commit()
        there = self.repo.tree(commit, TABLES)
        tables: dict[str, list[Download]] = {}
        for split in sorted({_split_of(path) for path in need.wrong}):
            files = [file for path, file in sorted(there.items()) if Path(path).match(f"{split}-*.parquet")]
            if not files:
                raise UserError(
                    f"{self.repo.page} has no table {TABLES}/{split}-*.parquet: it was changed upstream.",
                    "Look for it there; another repository: sources.music_eval=OWNER/NAME",
                )
            tables[split] = [self.repo.download(file, self.target(Path(file.path).name)) for file in files]
        return Archives(
            [download for split in tables for download in tables[split]],
            f"{self.repo.page} at {commit[:10]}",
            lambda: self._unpack(tables, need),
        )

    def _unpack(self, tables: Mapping[str, Sequence[Download]], need: Need) -> list[str]:
        made: list[str] = []
        for split, downloads in tables.items():
            folder, names = f"{self.folder}/{split}_audio", {}
            for row, (name, content) in enumerate(_audio_cells([download.target for download in downloads])):
                path = f"{folder}/{row}.wav"
                made.append(path)
                if name:
                    names[f"{row}.wav"] = name
                if path in need.wrong or not (self.root / path).exists():
                    _write_wav(content, self.root / path, where=f"{self.repo.repo_id}, {split}, row {row}")
            if names:
                self._write_names(self.root / f"{folder}{NAMES_FILE}", json_text(names))
        return made

    def _write_names(self, file: Path, text: str) -> None:
        """Write down what the clips were called: it tells of systems and prompts, which the rows do not."""
        if not file.exists() or file.read_text("utf-8") != text:
            write_text_atomic(file, text)


def _split_of(path: str) -> str:
    """Return "test" for `MusicEval_data/test_audio/12.wav`."""
    return Path(path).parent.name.removesuffix("_audio")


def _audio_cells(tables: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield the audio files of tables with their names ("" without one), row by row, holding only a few at a time.

    Raises:
        UserError: A table cannot be read or holds something else.
    """
    import pyarrow
    from pyarrow import parquet

    for table in tables:
        try:
            with parquet.ParquetFile(table) as opened:
                for batch in opened.iter_batches(ROWS_AT_ONCE, columns=[AUDIO]):
                    for cell in batch.column(AUDIO):
                        found = cell.as_py()
                        yield found.get("path") or "", found["bytes"]
        except (pyarrow.ArrowException, KeyError, TypeError, OSError) as error:
            raise UserError(
                f"{table.name} holds no column {AUDIO!r} of audio files: {error}",
                "It was changed upstream: look for a newer version of this program.",
            ) from error


def _write_wav(content: bytes, target: Path, *, where: str) -> None:
    """Write an audio file as WAV, its samples in the form that they have: what is WAV already stays byte for byte."""
    partial = target.with_name(target.name + PARTIAL)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with soundfile.SoundFile(io.BytesIO(content)) as source:
            if source.format == "WAV":
                partial.write_bytes(content)
            else:
                _convert(source, partial)
        partial.replace(target)
    except (soundfile.LibsndfileError, TypeError) as error:
        raise UserError(f"{where}: the audio cannot be read: {error}", "It was changed upstream.") from error
    except OSError as error:
        raise no_space(target, error) from error
    finally:
        partial.unlink(missing_ok=True)


def _convert(source: soundfile.SoundFile, target: Path) -> None:
    """Write what compresses without loss in its own bit depth, and what a codec made of floats as floats."""
    subtype = source.subtype if source.subtype.startswith("PCM_") and source.subtype != "PCM_S8" else "FLOAT"
    samples = source.read(dtype="float32" if subtype == "FLOAT" else "int32", always_2d=True)
    soundfile.write(target, samples, source.samplerate, subtype=subtype, format="WAV")


def unzip(archive: Path, root: Path, *, below: str, replace: Collection[str]) -> list[str]:
    """Unpack the files of one folder of an archive; each appears under its name only when it is whole.

    Args:
        archive: The zip file.
        root: Where its paths are relative to.
        below: The folder in it, with a slash at its end.
        replace: Paths that are unpacked even if there is such a file.

    Returns:
        The paths of the folder's files, whether they were unpacked or there already.

    Raises:
        UserError: A name in the archive leads out of the folder (then nothing is unpacked), it is damaged, or there
            is no space.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
            for member in members:
                inside(root, member.filename, named_in=archive.name)
            chosen = [member for member in members if member.filename.startswith(below)]
            todo = [one for one in chosen if one.filename in replace or not (root / one.filename).exists()]
            check_space(root, sum(member.file_size for member in todo), what=f"unpacking {archive.name}")
            for member in todo:
                _extract(opened, member, root / member.filename)
    except zipfile.BadZipFile as error:
        archive.unlink(missing_ok=True)
        raise UserError(f"{archive.name} is damaged: {error}", "It was removed; run the same command again.") from error
    return [member.filename for member in chosen]


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    partial = target.with_name(target.name + PARTIAL)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(member) as source, partial.open("wb") as file:
            shutil.copyfileobj(source, file)
        partial.replace(target)
    except OSError as error:
        raise no_space(target, error) from error
    finally:
        partial.unlink(missing_ok=True)


ZENODO = Host("Zenodo", "sources.zenodo")
ARCHIVE = "human_eval.zip"
MUSIC = "human_eval/music/"


@dataclass(frozen=True, kw_only=True)
class Pam(ArchiveSource):
    """The music of PAM's human evaluation."""

    client: httpx2.Client
    zenodo: str
    """Address of Zenodo, or of a mirror."""
    record: str
    """Number of the record."""

    def archives(self, need: Need) -> Archives:
        """Ask Zenodo for the archive's size and checksum; see `ArchiveSource.archives`."""
        page = f"{without_credentials(self.zenodo)}/records/{self.record}"
        base = f"{self.zenodo.rstrip('/')}/api/records/{self.record}"
        record: Any = get_json(self.client, base, ZENODO)
        target = self.target(ARCHIVE)
        try:
            listed: Any = next((file for file in record["files"] if file["key"] == ARCHIVE), {})
            size, digest = int(listed["size"]), parse_digest(listed["checksum"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"Zenodo's record {self.record} lists no {ARCHIVE} with size and checksum: it was changed upstream.",
                f"Look at {page}; another record: sources.pam=NUMBER",
            ) from error
        download = Download(f"{base}/files/{ARCHIVE}/content", target, ZENODO, size=size, digest=digest)
        return Archives([download], page, lambda: unzip(target, self.root, below=MUSIC, replace=need.wrong))


GIT_FILES = (".gitattributes",)
"""Files of a repository that are none of its data."""


@dataclass(frozen=True)
class HubFiles:
    """A folder of the data root that is a copy of a repository, or of the part of it that rows name."""

    root: Path
    name: str
    slug: str
    folder: str
    repo: HubRepo
    is_whole: bool = False

    def find(self, need: Need, manifest: Manifest) -> Work:
        """Ask the hub for the files; see `Source.find`."""
        commit = self.repo.commit()
        listed = self._listed(need, commit)
        contents = {path: Content(file.size, file.digest) for path, file in listed.items()}
        wrong = [path for path in listed if not holds(self.root, path, manifest.records.get(path), contents[path])]
        return Work(
            slug=self.slug,
            name=self.name,
            origin=f"{self.repo.page} at {commit[:10]}",
            folder=self.root / self.folder,
            downloads=[
                self.repo.download(listed[path], inside(self.root, path, named_in=self.repo.repo_id)) for path in wrong
            ],
            files=len(wrong),
            contents=contents,
        )

    def _listed(self, need: Need, commit: str) -> Mapping[str, HubFile]:
        """Return what the hub has of what is needed, by path relative to the data root."""
        if self.is_whole:
            tree = self.repo.tree(commit)
            return {f"{self.folder}/{path}": file for path, file in tree.items() if path not in GIT_FILES}
        found = self.repo.files([path.removeprefix(f"{self.folder}/") for path in need.wanted], commit)
        there = {f"{self.folder}/{path}": file for path, file in found.items()}
        # What lies here and the hub does not know is the user's own affair.
        absent = sorted(need.wrong - there.keys())
        if absent:
            raise FileError(
                f"{self.repo.page} has no {some_of(absent)}: rows and audio do not belong together.",
                "Get the rows' file again (remove it first), or look for the change upstream.",
            )
        return there


def benchmark_sources(config: SourcesConfig, root: Path, client: httpx2.Client) -> tuple[Source, ...]:
    """Return the sources of the test sets, in the order of the tables."""
    makers = [_maker(dataset.audio_source) for dataset in all_datasets() if dataset.audio_source]
    return tuple(make(config, root, client) for make in makers)


SourceMaker = Callable[[SourcesConfig, Path, httpx2.Client], Source]
"""From the addresses, the data root and an HTTP client to a source: what `Dataset.audio_source` names."""


def _maker(place: str) -> SourceMaker:
    module, _, function = place.partition(":")
    return cast(SourceMaker, getattr(import_module(module), function))


def pam_source(config: SourcesConfig, root: Path, client: httpx2.Client) -> Source:
    """Return where PAM's audio comes from."""
    return Pam(root, "PAM", "pam", "human_eval", client=client, zenodo=config.zenodo, record=config.pam)


def music_eval_source(config: SourcesConfig, root: Path, client: httpx2.Client) -> Source:
    """Return where MusicEval's audio comes from."""
    repo = HubRepo(config.music_eval, "dataset", config.hub)
    return MusicEval(root, "MusicEval", "musiceval", "MusicEval_data", repo=repo)


def music_arena_source(config: SourcesConfig, root: Path, client: httpx2.Client) -> Source:
    """Return where MusicArena's audio comes from."""
    repo = HubRepo(config.music_arena, "dataset", config.hub)
    return HubFiles(root, "Music Arena", "music_arena", "MusicArena_data", repo)


def cmi_pref_source(config: SourcesConfig, root: Path, client: httpx2.Client) -> Source:
    """Return where CMI-Pref's audio comes from."""
    repo = HubRepo(config.cmi_pref, "dataset", config.hub)
    return HubFiles(root, "CMI-Pref", "cmi_pref", "cmi-pref", repo)


def training_sources(config: SourcesConfig, root: Path) -> Sequence[Source]:
    """Return the sources that only the training rows need."""
    pseudo = HubRepo(config.cmi_pref_pseudo, "dataset", config.hub)
    # Its labels are files of its own, so all of it is wanted.
    return (HubFiles(root, "CMI-Pref-Pseudo", "cmi_pref_pseudo", "cmi-pref-pseudo", pseudo, is_whole=True),)
