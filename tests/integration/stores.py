"""Real stores for the time of a test: an S3 endpoint and an SSH server, both on this machine and below one folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
PACKAGES = ("openssh-server", "openssh-sftp-server", "libwrap0", "libnsl2", "libtirpc3")
CONFIG = """Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/keys/user.pub
StrictModes no
PidFile none
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class Remote:
    """A store: its address, what `make remote` is told besides, what DVC is told in .dvc/config.local, and the environment it needs."""

    url: str
    make: tuple[str, ...] = ()
    local: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def s3(folder: Path) -> Iterator[Remote]:
    """An S3 endpoint (moto) with an empty bucket."""
    boto3 = pytest.importorskip("boto3", reason="moto and boto3 come with make test-integration")
    server = Path(sys.executable).with_name("moto_server")
    if not server.is_file():
        pytest.skip("moto_server is not installed (make test-integration does it)")
    port = free_port()
    with (folder / "moto.log").open("w") as log:
        process = subprocess.Popen([str(server), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    try:
        endpoint = f"http://127.0.0.1:{port}"
        wait(lambda: urllib.request.urlopen(endpoint, timeout=2), folder / "moto.log")
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
        client.create_bucket(Bucket="tokgraft")
        yield Remote("s3://tokgraft/store", (f"ENDPOINT={endpoint}",), env=KEYS)
    finally:
        stop(process)


@contextmanager
def ssh(folder: Path) -> Iterator[Remote]:
    """An OpenSSH server for the user of the test.

    Its packages are unpacked below `folder`. The server wants an account and a folder of its own in /etc/passwd and /run: it gets them in
    a mount namespace, so the machine stays as it is.
    """
    if os.geteuid() or not all(map(shutil.which, ("apt-get", "dpkg", "unshare", "ssh-keygen"))):
        pytest.skip("needs root, apt-get, dpkg, unshare and ssh-keygen to start an sshd below a folder")
    subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=folder, capture_output=True, check=False)
    packages = sorted(folder.glob("*.deb"))
    if not any(path.name.startswith("openssh-server") for path in packages):
        pytest.skip("openssh-server cannot be downloaded (apt-get update?)")
    for path in packages:
        subprocess.run(["dpkg", "-x", str(path), str(folder / "root")], check=True)
    (folder / "keys").mkdir()
    for name in ("host", "keys/user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    port = free_port()
    (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder))
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + "sshd:x:74:65534::/run/sshd:/usr/sbin/nologin\n")
    libraries = ":".join(str(path) for path in {path.parent for path in (folder / "root").rglob("lib*.so*")})
    script = (
        f"mount --bind {folder}/passwd /etc/passwd && mount -t tmpfs tmpfs /run && mkdir /run/sshd && "
        f"exec env LD_LIBRARY_PATH={libraries} {folder}/root/usr/sbin/sshd -D -e -f {folder}/sshd_config"
    )
    with (folder / "sshd.log").open("w") as log:
        process = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdout=log, stderr=log)
    try:
        try:
            wait(lambda: socket.create_connection(("127.0.0.1", port), timeout=2).close(), folder / "sshd.log", process)
        except RuntimeError as error:
            pytest.skip(f"sshd does not start here: {error}")
        (folder / "store").mkdir()
        local = {"keyfile": str(folder / "keys/user")}
        yield Remote(f"ssh://{getpass.getuser()}@127.0.0.1:{port}{folder}/store", local=local)
    finally:
        stop(process)


def wait(probe: object, log: Path, process: subprocess.Popen[bytes] | None = None, seconds: float = 60) -> None:
    """Wait until a server answers.

    Raises:
        RuntimeError: It has ended, or does not answer in time.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until and (process is None or process.poll() is None):
        try:
            probe()  # type: ignore[operator]
            return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(log.read_text()[-500:])


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
