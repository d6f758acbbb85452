"""Writes a folder as a zip that depends on nothing but the files' names and contents.

Names are sorted; times, modes and the system that made it are fixed: so the same files make the same bytes with one
Python and one zlib, and what has not changed is not deployed again.
"""

import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first instant that a zip can tell
READABLE = 0o644  # by everybody: Lambda's user is not the files' owner
UNIX = 3
LEVEL = 6  # the highest, 9, takes four times as long to save 1 %
LARGEST = 8


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip that was written; parts, by what stands at its top, as they are zipped."""

    path: Path
    unzipped_bytes: int
    parts: Counter[str]

    @property
    def zipped_bytes(self) -> int:
        """Its size as it is uploaded."""
        return self.path.stat().st_size

    def largest(self) -> str:
        """Name what takes the most of it."""
        return ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in self.parts.most_common(LARGEST))


def write(folder: Path, path: Path, below: str = "") -> Archive:
    """Write the folder's files. Shapes: parts are told of what stands `below` a folder of it."""
    files = sorted((file.relative_to(folder).as_posix(), file) for file in folder.rglob("*") if file.is_file())
    unzipped, parts = 0, Counter[str]()
    unfinished = path.with_suffix(f".{uuid.uuid4().hex}")  # somebody else may be writing the same one
    with ZipFile(unfinished, "w", ZIP_DEFLATED, compresslevel=LEVEL) as archive:
        for name, file in files:
            info = ZipInfo(name, EPOCH)
            info.create_system = UNIX
            info.external_attr = READABLE << 16
            info.compress_type = ZIP_DEFLATED
            archive.writestr(info, file.read_bytes(), compresslevel=LEVEL)
            unzipped += info.file_size
            parts[Path(name).relative_to(below).parts[0]] += info.compress_size
    unfinished.replace(path)
    return Archive(path, unzipped, parts)
