"""Reading the files of a Debian package without installing it."""

from __future__ import annotations

import io
import lzma
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from tokgraft.errors import DataError

AR_MAGIC = b"!<arch>\n"
# A package of some kilobytes can unpack to any size.
MEMBERS = 100_000
FILE = 20_000_000  # most bytes of one file that is read
TOTAL = 500_000_000  # most bytes of the archive; LibreOffice's help has about 30 MB


def files(package: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """(path, content) of the regular files whose path ends in `suffix`, in archive order.

    Raises:
        DataError: The file is not a whole Debian package, holds more than any help package, or nothing here can decompress it.
    """
    try:
        with _tar(package) as stream, tarfile.open(fileobj=_Bounded(stream, package), mode="r|") as archive:
            for number, member in enumerate(archive, 1):
                wanted = member.isfile() and member.name.endswith(suffix)
                if number > MEMBERS or (wanted and member.size > FILE):
                    raise _too_much(package, f"{number:,} files, the last of {member.size:,} bytes")
                if wanted:
                    content = archive.extractfile(member)
                    assert content is not None
                    yield member.name.removeprefix("./"), content.read()
    except (tarfile.TarError, EOFError, OSError, ValueError, lzma.LZMAError, zlib.error, OverflowError) as error:
        raise DataError(f"{package} is not a whole Debian package: {error}", "delete it and run again") from None


class _Bounded(io.RawIOBase):
    """An archive that ends with an error after `TOTAL` bytes, whatever its headers announce."""

    def __init__(self, stream: IO[bytes], package: Path) -> None:
        self.stream, self.package, self.left = stream, package, TOTAL

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        found = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(found)
        if self.left < 0:
            raise _too_much(self.package, f"more than {TOTAL:,} bytes")
        return found


def _too_much(package: Path, what: str) -> DataError:
    return DataError(
        f"{package} unpacks to more than a help package holds: {what}", "get the package again, from an archive that you trust"
    )


@contextmanager
def _tar(package: Path) -> Iterator[IO[bytes]]:
    """The package's data archive, decompressed: by dpkg-deb where there is one, which knows every compression."""
    if tool := shutil.which("dpkg-deb"):
        with subprocess.Popen([tool, "--fsys-tarfile", str(package)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stderr is not None
            yield process.stdout
            process.stdout.read()  # padding after the last member; unread, it would end dpkg-deb by a broken pipe
            message = process.stderr.read().decode(errors="replace").strip()
        if process.returncode:
            raise ValueError(message.splitlines()[-1] if message else f"dpkg-deb ended with {process.returncode}")
        return
    name, data = _member(package, "data.tar")
    opener = {".xz": "lzma", ".gz": "gzip", ".bz2": "bz2"}.get(Path(name).suffix)
    if opener is None:
        raise DataError(f"{package} holds {name}, which Python cannot decompress", "install dpkg (apt, dnf or brew have it)")
    module = __import__(opener)
    with module.open(io.BytesIO(data)) as stream:
        yield cast("IO[bytes]", stream)


def _member(package: Path, prefix: str) -> tuple[str, bytes]:
    """Name and content of the first member of an ar archive whose name begins with `prefix`."""
    data = package.read_bytes()
    if not data.startswith(AR_MAGIC):
        raise ValueError("no ar archive")
    at = len(AR_MAGIC)
    while at + 60 <= len(data):
        name, size = data[at : at + 16].decode().strip().rstrip("/"), int(data[at + 48 : at + 58])
        if name.startswith(prefix):
            if at + 60 + size > len(data):
                raise ValueError("cut off")
            return name, data[at + 60 : at + 60 + size]
        at += 60 + size + size % 2
    raise ValueError(f"no {prefix} in it")
