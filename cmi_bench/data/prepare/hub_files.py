"""Data that lie on the hub as they are to lie here: Music Arena, CMI-Pref, CMI-Pref-Pseudo."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cmi_bench.data.manifest import Manifest
from cmi_bench.data.prepare.host import FileError
from cmi_bench.data.prepare.hub import HubFile, HubRepo
from cmi_bench.data.prepare.paths import inside
from cmi_bench.data.prepare.state import holds
from cmi_bench.data.prepare.work import Content, Need, Work

SHOWN = 5
GIT_FILES = (".gitattributes",)
"""Files of a repository that are none of its data."""


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
