"""Fetching packages with a real apt that looks at an archive of the test's own."""

from __future__ import annotations

import functools
import http.server
import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from help_material import Apt, build_package, sha256, write_help, write_pins

from tokgraft.config.language import AptHelp
from tokgraft.corpus.sources import SOURCES, SourceFolders, _apt, _deb
from tokgraft.corpus.sources.apt_help import extract
from tokgraft.errors import DataError
from tokgraft.logs import log

NAME, VERSION = "libreoffice-help-xx", "4:1.0-1"
needs_apt = pytest.mark.skipif(not shutil.which("apt-get") or not shutil.which("dpkg-deb"), reason="needs apt")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    write_help(tmp_path / "content", "xx", "de", 3)
    return build_package(tmp_path, NAME, VERSION, tmp_path / "content")


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    apt = Apt(tmp_path / "apt")
    monkeypatch.setenv("APT_CONFIG", str(apt.config))
    monkeypatch.setattr(_apt, "ARCHIVES", apt.root / "none")
    return apt


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(log, "propagate", True)
    caplog.set_level(logging.INFO, "tokgraft")
    return caplog


@needs_apt
def test_downloads_once_and_checks_on_every_use(apt: Apt, package: Path, tmp_path: Path) -> None:
    apt.publish(package)
    apt.update()
    pins = write_pins(tmp_path / "pins.csv", {(NAME, VERSION): sha256(package)})
    cache = tmp_path / "cache"
    first = _apt.fetch(NAME, cache, pins)
    assert first.version == VERSION and first.sha256 == sha256(package) and first.pinned
    assert first.path.parent == cache and len(list(cache.iterdir())) == 2
    assert [page.id for page in extract(_deb.files(first.path, ".html"))[0]] == ["module0/page000", "module1/page001", "module2/page002"]
    apt.source("copy:/nowhere")
    (apt.root / "archive/Packages").unlink()
    assert _apt.fetch(NAME, cache, pins) == first  # from the cache: no apt is asked
    first.path.write_bytes(first.path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"libreoffice-help-xx.*cut off or altered.*\n.*deleted; run again"):
        _apt.fetch(NAME, cache, pins)
    assert not first.path.exists()


@needs_apt
def test_a_known_version_with_another_hash_is_refused(apt: Apt, package: Path, tmp_path: Path) -> None:
    apt.publish(package)
    apt.update()
    pins = write_pins(tmp_path / "pins.csv", {(NAME, VERSION): "0" * 64})
    with pytest.raises(DataError, match=r"expected 000000000000"):
        _apt.fetch(NAME, tmp_path / "cache", pins)


@needs_apt
def test_an_unknown_version_is_used_with_a_warning(apt: Apt, package: Path, tmp_path: Path, messages: pytest.LogCaptureFixture) -> None:
    apt.publish(package)
    apt.update()
    pins = write_pins(tmp_path / "pins.csv", {(NAME, "4:0.9-1"): "0" * 64})
    _apt._warn_unknown.cache_clear()
    found = _apt.fetch(NAME, tmp_path / "cache", pins)
    assert not found.pinned and found.sha256 == sha256(package)
    assert "known: 4:0.9-1" in messages.text
    found.path.write_bytes(b"short")
    with pytest.raises(DataError, match="cut off or altered"):
        _apt.fetch(NAME, tmp_path / "cache", pins)


@needs_apt
def test_the_pinned_version_is_preferred(apt: Apt, package: Path, tmp_path: Path) -> None:
    newer = build_package(tmp_path, NAME, "4:1.0-2", tmp_path / "content")
    apt.publish(package, newer)
    apt.update()
    assert _apt.fetch(NAME, tmp_path / "a", write_pins(tmp_path / "pins.csv", {(NAME, VERSION): sha256(package)})).version == VERSION
    assert _apt.fetch(NAME, tmp_path / "b", write_pins(tmp_path / "none.csv", {})).version == "4:1.0-2"


@needs_apt
def test_empty_lists_are_refreshed_by_root_only(
    apt: Apt, package: Path, tmp_path: Path, messages: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt.publish(package)
    pins = write_pins(tmp_path / "pins.csv", {(NAME, VERSION): sha256(package)})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(DataError, match=r"lists are empty.*\n.*sudo apt-get update"):
        _apt.fetch(NAME, tmp_path / "cache", pins)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert _apt.fetch(NAME, tmp_path / "cache", pins).pinned
    assert "apt's package lists are empty: running `apt-get update`" in messages.text


@pytest.fixture
def mirror(apt: Apt) -> Iterator[Apt]:
    """The archive behind an HTTP server."""
    handler = functools.partial(QuietHandler, directory=str(apt.archive))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        apt.source(f"http://127.0.0.1:{server.server_port}/")
        yield apt
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


@needs_apt
def test_outdated_lists_are_refreshed_by_root_only(mirror: Apt, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror.publish(package)
    mirror.update()
    (mirror.archive / package.name.replace("%3a", "_")).unlink()
    mirror.publish(build_package(tmp_path, NAME, "4:1.0-2", tmp_path / "content"))
    pins = write_pins(tmp_path / "pins.csv", {})
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 1000)
        with pytest.raises(DataError, match=r"404.*\n.*out of date: type `sudo apt-get update`"):
            _apt.fetch(NAME, tmp_path / "cache", pins)
    assert not list((tmp_path / "cache").iterdir())
    assert _apt.fetch(NAME, tmp_path / "cache", pins).version == "4:1.0-2"


@needs_apt
def test_a_mirror_that_went_away(mirror: Apt, package: Path, tmp_path: Path) -> None:
    mirror.publish(package)
    mirror.update()
    (mirror.root / "apt.conf").write_text((mirror.root / "apt.conf").read_text() + 'Acquire::http::Proxy "http://127.0.0.1:9";\n')
    with pytest.raises(DataError, match=r"download libreoffice-help-xx` failed.*\n.*the mirrors in /etc/apt work, or copy the .deb into"):
        _apt.fetch(NAME, tmp_path / "cache", write_pins(tmp_path / "pins.csv", {}))


@needs_apt
def test_an_unknown_package_brings_near_matches(apt: Apt, package: Path, tmp_path: Path) -> None:
    apt.publish(package)
    apt.update()
    with pytest.raises(DataError, match=r"no package 'libreoffice-help-xy'\n.*did you mean libreoffice-help-xx\?"):
        _apt.fetch("libreoffice-help-xy", tmp_path / "cache", write_pins(tmp_path / "pins.csv", {}))


@needs_apt
def test_unreachable_mirrors(apt: Apt, package: Path, tmp_path: Path) -> None:
    apt.publish(package)
    apt.source("http://127.0.0.1:9/")
    with pytest.raises(DataError, match=r"`apt-get update` failed: .*127.0.0.1.*\n.*the mirrors in /etc/apt"):
        _apt.fetch(NAME, tmp_path / "cache", write_pins(tmp_path / "pins.csv", {}))


@needs_apt
def test_an_installed_package_serves_when_nothing_can_be_downloaded(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dpkg's own database, in a folder of the test's own."""
    admin = tmp_path / "dpkg"
    (admin / "info").mkdir(parents=True)
    control = subprocess.run(["dpkg-deb", "-f", str(package)], check=True, capture_output=True, text=True).stdout
    (admin / "status").write_text(control.strip() + "\nStatus: install ok installed\n")
    pages = sorted((tmp_path / "content").rglob("*.html"))
    (admin / f"info/{NAME}.list").write_text("".join(f"{path}\n" for path in pages))
    monkeypatch.setenv("DPKG_ADMINDIR", str(admin))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "dpkg-query").symlink_to(str(shutil.which("dpkg-query")))
    monkeypatch.setenv("PATH", str(tools))
    place = SourceFolders(tmp_path / "cache", write_pins(tmp_path / "pins.csv", {}))
    monkeypatch.setattr(_apt, "ARCHIVES", tmp_path / "none")
    loaded = SOURCES.get("apt_help").read(AptHelp(kind="apt_help", package=NAME), place)
    assert len(loaded.pages) == 3 and loaded.facts["version"] == VERSION and loaded.facts["installed"]
    with pytest.raises(DataError, match="no apt-get"):
        SOURCES.get("apt_help").check(AptHelp(kind="apt_help", package="libreoffice-help-zz"), place)


def test_no_apt_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"no apt-get\n.*local"):
        _apt.fetch(NAME, tmp_path / "cache", write_pins(tmp_path / "pins.csv", {}))


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
def test_a_package_put_into_the_cache_needs_no_apt(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    shutil.copy(package, cache)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(_apt, "ARCHIVES", tmp_path / "none")
    found = _apt.fetch(NAME, cache, write_pins(tmp_path / "pins.csv", {}))
    assert found.version == VERSION and not found.pinned
    assert len(extract(_deb.files(found.path, ".html"))[0]) == 3  # unpacked by Python alone


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
@pytest.mark.parametrize("tools", [True, False])
def test_a_damaged_package(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: bool) -> None:
    if not tools:
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    data = package.read_bytes()
    for number, damaged in enumerate([data[: len(data) // 2], b"<html>not found</html>", b""]):
        path = tmp_path / f"bad{number}.deb"
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"bad{number}.deb is not a whole Debian package"):
            list(_deb.files(path, ".html"))


@needs_apt
def test_no_space(apt: Apt, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apt.publish(package)
    apt.update()
    full = shutil._ntuple_diskusage(10**9, 10**9, 0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(DataError, match=r"cannot write to the download cache .*No space left.*\n.*--cache"):
        _apt.fetch(NAME, tmp_path / "cache", write_pins(tmp_path / "pins.csv", {}))


def test_the_table_of_sources_must_be_whole(tmp_path: Path) -> None:
    (tmp_path / "pins.csv").write_text("name,version\n")
    with pytest.raises(DataError, match="no column sha256"):
        _apt.pinned(NAME, tmp_path / "pins.csv")
