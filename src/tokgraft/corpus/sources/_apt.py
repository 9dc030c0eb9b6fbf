"""Fetching a package as any user, and holding it to its hash on every use."""

from __future__ import annotations

import csv
import errno
import os
import re
import shutil
import stat
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache as memo
from pathlib import Path

from filelock import FileLock

from tokgraft.artifacts import file_sha256
from tokgraft.errors import DataError, near_matches, remedy
from tokgraft.logs import log

ARCHIVES = Path("/var/cache/apt/archives")
HTTP = ["-o", "Acquire::http::Timeout=30", "-o", "Acquire::https::Timeout=30", "-o", "Acquire::Retries=2"]
_UNREACHABLE = re.compile(r"resolv|connect|timed out|unreachable|Failed to fetch|Unable to fetch|Proxy|Certificate", re.IGNORECASE)
_NO_SPACE = re.compile(r"No space left|enough free space", re.IGNORECASE)
_READ_ONLY = re.compile(r"Read-only file system", re.IGNORECASE)
ELSEWHERE = "or put the text into a folder and use a source of kind `local` (docs/languages.md)"


@dataclass(frozen=True)
class Package:
    """A package file whose hash has been checked.

    Attributes:
        path: The file.
        version: Version of the package.
        sha256: Hash of the file.
        pinned: Whether the table of sources knows this version.
    """

    path: Path
    version: str
    sha256: str
    pinned: bool


@dataclass(frozen=True)
class Offer:
    """A version that apt can download."""

    version: str
    sha256: str
    size: int


def pinned(package: str, pins: Path) -> dict[str, str]:
    """Version -> SHA-256 of the known versions of a package.

    Raises:
        DataError: The table lacks a column.
    """
    if not pins.is_file():
        log.warning("%s does not exist: downloads cannot be compared with known hashes", pins)
        return {}
    with pins.open(encoding="utf-8", newline="") as handle:
        rows = csv.DictReader(handle)
        missing = {"name", "version", "sha256"} - set(rows.fieldnames or [])
        if missing:
            raise DataError(f"{pins} has no column {', '.join(sorted(missing))}", "restore the file from version control")
        return {row["version"]: row["sha256"].lower() for row in rows if row["name"] == package}


def fetch(package: str, cache: Path, pins: Path) -> Package:
    """The package's file, from the cache when it is there, else by `apt-get download`.

    A version that the table of sources knows is preferred. An unknown one is used with a warning, and its hash recorded.

    Raises:
        DataError: It cannot be had, or its hash is wrong.
    """
    known = pinned(package, pins)
    files = _files(package, [cache, ARCHIVES])
    for version in known:
        if version in files:
            return _checked(files[version], version, known[version], True, cache)
    offers = _offers(package) if shutil.which("apt-cache") else {}
    wanted = next((version for version in known if version in offers), next(iter(offers), None))
    if wanted is None and files:
        wanted = max(files)  # no apt here: what somebody has put into the cache
    if wanted is None:
        offers = _offers_or_error(package)
        wanted = next((version for version in known if version in offers), next(iter(offers)))
    if wanted in files:
        path, hash_of = files[wanted], offers[wanted].sha256 if wanted in offers else _recorded(files[wanted])
    else:
        path, offer = _download(package, offers[wanted], cache)
        wanted, hash_of = offer.version, offer.sha256
    if wanted not in known:
        _warn_unknown(package, wanted, tuple(known), str(pins))
    return _checked(path, wanted, known.get(wanted, hash_of), wanted in known, cache)


@memo
def _warn_unknown(package: str, version: str, known: tuple[str, ...], pins: str) -> None:
    log.warning("%s %s is not in %s (known: %s): its hash cannot be compared with a known one; it is written to the data card. "
                "Results may differ a little from published ones.", package, version, pins, ", ".join(known) or "none")  # fmt: skip


def installed(package: str) -> tuple[str, list[Path]] | None:
    """Version and files of a package that is installed on this system, if it is."""
    if not shutil.which("dpkg-query"):
        return None
    state = _run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package).stdout.split()
    if len(state) != 2 or state[0] != "installed":
        return None
    return state[1], [Path(line) for line in _run("dpkg-query", "-L", package).stdout.splitlines()]


def _files(package: str, folders: list[Path]) -> dict[str, Path]:
    """Version -> file of the package, the first folder first. Files of apt encode the epoch's colon as %3a."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob(f"{package}_*.deb")) if folder.is_dir() else []:
            found.setdefault(urllib.parse.unquote(path.name.split("_")[1]), path)
    return found


def _recorded(path: Path) -> str:
    """The hash noted beside a downloaded file, or an empty text."""
    note = path.with_name(path.name + ".sha256")
    return note.read_text().strip() if note.is_file() else ""


def _checked(path: Path, version: str, expected: str, known: bool, cache: Path) -> Package:
    actual = file_sha256(path)
    if expected and actual != expected:
        if path.parent == cache:
            path.unlink(missing_ok=True)
        raise DataError(
            f"{path} is cut off or altered: SHA-256 {actual[:12]}…, expected {expected[:12]}… for version {version}",
            "it was deleted; run again to download it anew" if not path.exists() else "delete it and run again",
        )
    return Package(path, version, actual, known)


def _run(*command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=folder, env=environment, check=False)


def _offers(package: str) -> dict[str, Offer]:
    """Version -> what apt's lists say of it, the version apt would choose first."""
    shown = _run("apt-cache", "show", "--no-all-versions", package), _run("apt-cache", "show", package)
    offers: dict[str, Offer] = {}
    for result in shown:
        for stanza in result.stdout.split("\n\n"):
            fields = dict(re.findall(r"^(Version|SHA256|Size): (\S+)", stanza, re.MULTILINE))
            if {"Version", "SHA256"} <= set(fields):
                offers.setdefault(fields["Version"], Offer(fields["Version"], fields["SHA256"], int(fields.get("Size", 0))))
    return offers


def _offers_or_error(package: str) -> dict[str, Offer]:
    if not shutil.which("apt-get") or not shutil.which("apt-cache"):
        raise DataError(
            f"{package} has to come from apt, and this system has no apt-get",
            f"run on Debian or Ubuntu (a container will do), or copy the .deb into the cache folder, {ELSEWHERE}",
        )
    problem = ""
    if not _listed():
        problem = _update("apt's package lists are empty", package)
        if offers := _offers(package):
            return offers
    names = _run("apt-cache", "pkgnames", "libreoffice-help-").stdout.split()
    if problem:
        raise DataError(f"`apt-get update` failed: {problem}", f"see whether the network and the mirrors in /etc/apt work, {ELSEWHERE}")
    if not names:
        raise DataError(
            f"apt knows no package called libreoffice-help-*, so not {package} either",
            f"enable the component `main` (Debian) or `universe` (Ubuntu) in /etc/apt/sources.list, then `sudo apt-get update`, {ELSEWHERE}",
        )
    near = near_matches(package, names)
    raise DataError(
        f"apt knows no package {package!r}",
        (f"did you mean {' or '.join(near)}? " if near else "") + f"`apt-cache search '^libreoffice-help-'` lists them, {ELSEWHERE}",
    )


def _listed() -> bool:
    """Whether apt has package lists at all: a fresh container has none."""
    found = re.search(r"='(.+)'", _run("apt-config", "shell", "LISTS", "Dir::State::lists/d").stdout)
    return any(Path(found[1]).glob("*_Packages*")) if found else True


def _update(why: str, package: str) -> str:
    """Refresh the package lists once: only root may. Gives what went wrong (one broken mirror of many need not matter)."""
    if os.geteuid() != 0:
        raise DataError(f"{why}, so {package} cannot be downloaded", "type `sudo apt-get update` and run again")
    with _alone():
        log.info("%s: running `apt-get update`", why)
        result = _run("apt-get", "-q", *HTTP, "-o", "APT::Update::Error-Mode=any", "update")
    return _reason(result) if result.returncode else ""


@contextmanager
def _alone() -> Iterator[None]:
    """One `apt-get update` at a time: two would fight for apt's lock.

    The lock lies in a folder that only its user can write to: in a shared one, a link of its name would have another file opened.
    """
    folder = _own_folder()
    with FileLock(folder / "apt.lock"):
        yield


def _own_folder() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tokgraft"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise DataError(
            f"cannot make the folder {folder} for a lock: {error.strerror}", "set XDG_CACHE_HOME to a folder of yours"
        ) from None
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
        raise DataError(f"{folder} is no folder that only you can write to", "delete it, or set XDG_CACHE_HOME to a folder of yours")
    return folder


def _download(package: str, offer: Offer, cache: Path, again: bool = False) -> tuple[Path, Offer]:
    """Download a version (another when the lists turn out to be old) into the cache; it appears there whole, its hash noted beside it."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(cache).free < 2 * offer.size + 1_000_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with tempfile.TemporaryDirectory(prefix=".download.", dir=cache) as temporary:
            log.info("downloading %s %s (%.1f MB)", package, offer.version, offer.size / 1e6)
            # As root, apt would hand the download to the user _apt, who may not write here.
            sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
            result = _run("apt-get", "-q", *HTTP, *sandbox, "download", f"{package}={offer.version}", folder=Path(temporary))
            found = sorted(Path(temporary).glob("*.deb"))
            if result.returncode == 0 and found:
                return _keep(found[0], cache), offer
    except OSError as error:
        raise DataError(
            f"cannot write to the download cache {cache}: {error.strerror}", remedy(error.errno, "choose another folder with --cache")
        ) from None
    if _stale(result) and os.geteuid() == 0 and not again:
        _update("apt's package lists are out of date", package)
        fresh = _offers(package)
        if fresh:
            return _download(package, fresh.get(offer.version, next(iter(fresh.values()))), cache, again=True)
    raise _failure(package, cache, result)


def _keep(downloaded: Path, cache: Path) -> Path:
    target = cache / downloaded.name
    note = cache / f"{downloaded.name}.sha256"
    partial = downloaded.with_name("note")
    partial.write_text(file_sha256(downloaded) + "\n")
    os.replace(partial, note)
    os.replace(downloaded, target)
    return target


def _stale(result: subprocess.CompletedProcess[str]) -> bool:
    return "404" in result.stderr or "Hash Sum mismatch" in result.stderr


def _failure(package: str, cache: Path, result: subprocess.CompletedProcess[str]) -> DataError:
    what = f"`apt-get download {package}` failed: {_reason(result)}"
    if _NO_SPACE.search(result.stderr):
        return DataError(what, f"free space at {cache}, or choose another folder with --cache")
    if _READ_ONLY.search(result.stderr):
        return DataError(what, remedy(errno.EROFS, "choose another folder with --cache"))
    if _stale(result):
        return DataError(what, "apt's package lists are out of date: type `sudo apt-get update` and run again")
    if _UNREACHABLE.search(result.stderr):
        return DataError(what, f"see whether the network and the mirrors in /etc/apt work, or copy the .deb into {cache}, {ELSEWHERE}")
    return DataError(what, f"try it by hand, copy the .deb into {cache}, {ELSEWHERE}")


def _reason(result: subprocess.CompletedProcess[str]) -> str:
    """The line that tells what went wrong: apt's first error, for the later ones only sum up."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("E:")] or result.stderr.splitlines()
    return " ".join(lines[0].removeprefix("E:").split()) if lines else f"exit status {result.returncode}"
