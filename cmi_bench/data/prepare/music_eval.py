"""MusicEval: a Parquet table on the hub, with the audio files as its cells."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from cmi_bench.data.manifest import Manifest
from cmi_bench.data.prepare.archive import archive_folder, contents_of
from cmi_bench.data.prepare.fetch import PARTIAL, Download
from cmi_bench.data.prepare.host import no_space
from cmi_bench.data.prepare.hub import HubRepo
from cmi_bench.data.prepare.work import Content, Need, Work
from cmi_bench.errors import UserError

TABLES = "data"
"""Folder of the repository; the tables of a split in it are `<split>-00000-of-00001.parquet` and so on."""
AUDIO = "audio"
"""Their column: `bytes` (the file) and `path` (its name) of each row."""
ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class MusicEval:
    """Clip `<row>.wav` of a split is row `<row>` of its tables, in their order."""

    root: Path
    repo: HubRepo
    name: str = "MusicEval"
    slug: str = "musiceval"
    folder: str = "MusicEval_data"
    is_whole: bool = False

    def find(self, need: Need, manifest: Manifest) -> Work:
        """Ask the hub for the tables; see `Source.find`."""
        commit = self.repo.commit()
        there = self.repo.tree(commit, TABLES)
        folder = archive_folder(self.root, self.slug)
        tables = {}
        for split in sorted({_split_of(path) for path in need.wrong}):
            files = [file for path, file in sorted(there.items()) if Path(path).match(f"{split}-*.parquet")]
            if not files:
                raise UserError(
                    f"{self.repo.page} has no table {TABLES}/{split}-*.parquet: it was changed upstream.",
                    "Look for it there; another repository: sources.music_eval=OWNER/NAME",
                )
            tables[split] = [self.repo.download(file, folder / Path(file.path).name) for file in files]
        downloads = [download for split in tables for download in tables[split]]
        return Work(
            slug=self.slug,
            name=self.name,
            origin=f"{self.repo.page} at {commit[:10]}",
            folder=self.root / self.folder,
            downloads=downloads,
            files=len(need.wrong),
            unpacked_bytes=sum(download.size or 0 for download in downloads),
            finish=lambda: self._unpack(tables, need),
        )

    def _unpack(self, tables: Mapping[str, Sequence[Download]], need: Need) -> Mapping[str, Content]:
        made: list[str] = []
        for split, downloads in tables.items():
            for row, content in enumerate(_audio_cells([download.target for download in downloads])):
                path = f"{self.folder}/{split}_audio/{row}.wav"
                made.append(path)
                if path in need.wrong or not (self.root / path).exists():
                    _write_wav(content, self.root / path, where=f"{self.repo.repo_id}, {split}, row {row}")
        lacking = sorted(need.wrong - set(made))
        if lacking:
            raise UserError(
                f"{self.repo.page} has {len(made)} clips, the rows name {lacking[0]}: it was changed upstream.",
                "Rows and audio do not belong together: get the rows' file again.",
            )
        contents = contents_of(self.root, made)
        for downloads in tables.values():
            for download in downloads:
                download.target.unlink()
        return contents


def _split_of(path: str) -> str:
    """Return "test" for `MusicEval_data/test_audio/12.wav`."""
    return Path(path).parent.name.removesuffix("_audio")


def _audio_cells(tables: Sequence[Path]) -> Iterator[bytes]:
    """Yield the audio files of tables, row by row, holding only a few at a time.

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
                        yield cell.as_py()["bytes"]
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
