"""PAM: a zip file on Zenodo, of which one folder is music."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from cmi_bench.data.manifest import Manifest
from cmi_bench.data.prepare.archive import archive_folder, contents_of
from cmi_bench.data.prepare.digest import parse_digest
from cmi_bench.data.prepare.fetch import Download
from cmi_bench.data.prepare.host import Host
from cmi_bench.data.prepare.patience import get_json
from cmi_bench.data.prepare.unzip import unzip
from cmi_bench.data.prepare.work import Content, Need, Work
from cmi_bench.errors import UserError
from cmi_bench.urls import without_credentials

ZENODO = Host("Zenodo", "sources.zenodo")
ARCHIVE = "human_eval.zip"
MUSIC = "human_eval/music/"


@dataclass(frozen=True)
class Pam:
    """The music of PAM's human evaluation."""

    root: Path
    client: httpx2.Client
    zenodo: str
    """Address of Zenodo, or of a mirror."""
    record: str
    """Number of the record."""
    name: str = "PAM"
    slug: str = "pam"
    folder: str = "human_eval"
    is_whole: bool = False

    def find(self, need: Need, manifest: Manifest) -> Work:
        """Ask Zenodo for the archive's size and checksum; see `Source.find`."""
        download = self._download(archive_folder(self.root, self.slug) / ARCHIVE)
        return Work(
            slug=self.slug,
            name=self.name,
            origin=f"{without_credentials(self.zenodo)}/records/{self.record}",
            folder=self.root / MUSIC,
            downloads=[download],
            files=len(need.wrong),
            unpacked_bytes=download.size or 0,
            finish=lambda: self._unpack(download.target, need),
        )

    def _download(self, target: Path) -> Download:
        base = f"{self.zenodo.rstrip('/')}/api/records/{self.record}"
        record = get_json(self.client, base, ZENODO)
        try:
            listed = _listed(record)
            return Download(
                f"{base}/files/{ARCHIVE}/content",
                target,
                ZENODO,
                size=int(listed["size"]),
                digest=parse_digest(listed["checksum"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"Zenodo's record {self.record} lists no {ARCHIVE} with size and checksum: it was changed upstream.",
                f"Look at {without_credentials(self.zenodo)}/records/{self.record}; another record: sources.pam=NUMBER",
            ) from error

    def _unpack(self, archive: Path, need: Need) -> Mapping[str, Content]:
        made = unzip(archive, self.root, below=MUSIC, replace=need.wrong)
        lacking = sorted(need.wrong - set(made))
        if lacking:
            raise UserError(
                f"{ARCHIVE} holds no {', '.join(lacking[:3])}{' and more' * (len(lacking) > 3)}, which the rows name.",
                "Rows and audio do not belong together: get the rows' file again, or look for the change upstream.",
            )
        contents = contents_of(self.root, made)
        archive.unlink()
        return contents


def _listed(record: Any) -> Mapping[str, Any]:
    return next((file for file in record["files"] if file["key"] == ARCHIVE), {})
