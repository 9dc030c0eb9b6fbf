"""Scoring never reaches another machine by accident; the command as it is typed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tokgraft import artifacts
from tokgraft.scoring.offline import NetworkUsedError, guard, hub_reachable


def test_connections_are_refused_inside_and_possible_again_outside() -> None:
    before = (socket.socket.connect, socket.getaddrinfo, os.environ.get("HF_HUB_OFFLINE"))
    with guard() as folder:
        assert os.environ["HF_HUB_OFFLINE"] == "1" and os.environ["HF_HOME"].startswith(str(folder))
        with pytest.raises(NetworkUsedError, match=r"192.0.2.1.*offline"):
            socket.create_connection(("192.0.2.1", 443), timeout=1)
        with pytest.raises(NetworkUsedError, match="example"):
            socket.getaddrinfo("example.org", 443)
        with socket.socket() as server, socket.socket() as client:  # this machine itself is fine
            server.bind(("127.0.0.1", 0))
            server.listen()
            client.connect(server.getsockname())
        with pytest.raises(NetworkUsedError):
            hub_reachable()
    assert not folder.exists()
    assert (socket.socket.connect, socket.getaddrinfo, os.environ.get("HF_HUB_OFFLINE")) == before


def test_a_hub_look_up_raises_instead_of_downloading() -> None:
    import datasets
    from transformers import AutoTokenizer

    with guard():
        with pytest.raises(Exception, match=r"(?i)offline|cannot|couldn't|connect"):
            AutoTokenizer.from_pretrained("some-org/some-model-that-is-not-here")
        with pytest.raises(Exception, match=r"(?i)offline|cannot|couldn't|connect"):
            datasets.load_dataset("some-org/some-data-set-that-is-not-here")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tokgraft", "score", *map(str, arguments)], capture_output=True, text=True)


def test_the_command(german: Path, english: Path, make_tokenizer: Callable, make_model: Callable, tmp_path: Path) -> None:
    model, config = make_model(make_tokenizer("bpe")), Path(__file__).parents[2] / "config"
    common = ["--model", model, "--corpus", german, "--config", config, "--threads", 1]
    wrong = run(*common, "--tasks", "bpb", "headng", "--out", tmp_path / "s")
    assert wrong.returncode == 2 and "heading" in wrong.stderr and "Traceback" not in wrong.stderr
    wrong = run(*common, "--settings", '{"x": {"builder": "heading", "max_item": 3}}', "--out", tmp_path / "s")
    assert wrong.returncode == 2 and "max_items" in wrong.stderr
    good = run(*common, "--english", english, "--tasks", "bpb-small", "bpb-english-small", "heading-small", "hub", "--out", tmp_path / "s")
    assert good.returncode == 0, good.stderr
    assert "bpb-small: bits_per_byte" in good.stdout and "hub: skipped" in good.stdout
    assert "it/s" not in good.stderr and "Warning" not in good.stderr
    assert not artifacts.verify(tmp_path / "s")
    result = json.loads((tmp_path / "s" / "scores.json").read_text())
    assert result["model"]["fingerprint"] == artifacts.fingerprint(model)
    assert set(result["tasks"]) == {"bpb-small", "bpb-english-small", "heading-small"}
    hashed = (tmp_path / "s" / "scores.json").read_text() + (tmp_path / "s" / "manifest.json").read_text()
    assert str(tmp_path) not in hashed and "Tabelle" not in hashed


REACHING = [
    lambda there: there.connect(("192.0.2.1", 443)),
    lambda there: there.connect_ex(("192.0.2.1", 443)),
    lambda there: there.sendto(b"x", ("192.0.2.1", 53)),
    lambda there: there.sendto(b"x", 0, ("192.0.2.1", 53)),
    lambda there: there.sendmsg([b"x"], [], 0, ("192.0.2.1", 53)),
    lambda there: socket.gethostbyname("example.org"),
    lambda there: socket.gethostbyname_ex("example.org"),
    lambda there: socket.gethostbyaddr("192.0.2.1"),
    lambda there: socket.getnameinfo(("192.0.2.1", 53), 0),
    lambda there: socket.getaddrinfo("127.example.org", 443),
    lambda there: socket.getaddrinfo("localhost.example.org", 443),
]


@pytest.mark.parametrize("reach", REACHING)
def test_every_way_of_a_socket_to_another_machine_is_refused(reach: Callable) -> None:
    with guard(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there:
        there.settimeout(0.2)
        with pytest.raises(NetworkUsedError):
            reach(there)


def test_this_machine_can_be_reached_in_every_way(tmp_path: Path) -> None:
    with guard(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        here.bind(("127.0.0.1", 0))
        assert other.sendto(b"one", here.getsockname()) == 3
        assert other.sendmsg([b"two"], [], 0, here.getsockname()) == 3
        assert other.connect_ex(here.getsockname()) == 0
        assert other.sendmsg([b"three"]) == 5
        assert [here.recv(10) for _ in range(3)] == [b"one", b"two", b"three"]
        assert socket.gethostbyname("localhost").startswith("127.")
    with guard(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as pipe:
        pipe.bind(str(tmp_path / "socket"))
        assert pipe.sendto(b"x", str(tmp_path / "socket")) == 1


def test_programs_started_inside_are_told_to_stay_offline() -> None:
    with guard():
        code = "from huggingface_hub import constants; print(constants.HF_HUB_OFFLINE)"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "True"
