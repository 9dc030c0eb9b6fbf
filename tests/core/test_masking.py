"""No secret in what is logged, shown or written."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from tokgraft import artifacts, logs
from tokgraft.cli import main
from tokgraft.errors import ArtifactError
from tokgraft.logs import log
from tokgraft.masking import masked

SECRET = "s3cr3tVALUE0123456789"
SHOWN = [
    f"https://me:{SECRET}@host.example/path",
    f"https://me:pa/{SECRET}@host.example/path",
    f"https://me:{SECRET}/ss@host.example:5000/path",
    f"https://me:{SECRET}@x@host.example",
    f"https://me:{SECRET}'x@host.example",
    f"https://me:{SECRET}?a#b@host.example",
    f"https://{SECRET}@host.example/path",
    f"https://{SECRET}/with/slash@host.example/path",
    f"https://{SECRET}:@host.example",
    f"https://{SECRET}:x-oauth-basic@host.example",
    f"postgresql+psycopg2://me:{SECRET}@host/db",
    f"ssh://me:{SECRET}@host/folder",
    f"webdavs://:{SECRET}@host/folder",
    f"https://host.example/x?token={SECRET}&a=b",
    f"https://host.example/x?a=b&X-Amz-Signature={SECRET}",
    f"https://account.blob.example/x?sv=1&sig={SECRET}",
    f"--token {SECRET}",
    f"--token={SECRET}",
    f"--hub-token '{SECRET} with spaces {SECRET}'",
    f"--storage-s3-secret-key {SECRET}",
    f"--password {SECRET}",
    f"AWS_SECRET_ACCESS_KEY={SECRET}",
    f"AWS_ACCESS_KEY_ID={SECRET} AWS_SESSION_TOKEN={SECRET}",
    f"aws_secret_access_key = {SECRET}",
    f"HF_TOKEN={SECRET}",
    f"TOKEN={SECRET}",
    f"MLFLOW_TRACKING_PASSWORD={SECRET}",
    json.dumps({"url": "s3://bucket", "secret_access_key": SECRET, "password": SECRET}),
    str({"sas_token": SECRET, "connection_string": f"AccountKey={SECRET};a=b"}),
    f"Authorization: Bearer {SECRET}",
    f"failed to fetch 'https://me:{SECRET}@host/x' with headers {{'Authorization': 'Basic {SECRET}'}}",
    f"hf_{SECRET}",
    "AKIA0123456789ABCDEF is not allowed",
]


@pytest.mark.parametrize("text", SHOWN)
def test_secrets_are_hidden(text: str) -> None:
    found = masked(text)
    assert SECRET not in found and "AKIA0" not in found
    assert "***" in found


@pytest.mark.parametrize(
    "text",
    [
        "tokgraft transplant --tokenizer TOK --resource token_vectors=results/x --set eps=1e-9 --batch-tokens 1024",
        '{"new_tokens": 2000, "seed_tokens": ["<a>"], "pad_token": "<pad>", "eos_token": "</s>", "max_token_bytes": 64}',
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning",
        "sqlite:////home/me@work/mlflow.db",
        "ssh://me@host.example/folder",
        "s3://bucket/folder",
        "https://github.com/some/thing@v1",
        "--set 'eps' is not of the form KEY=VALUE",
        "name at least eos_token in its tokenizer_config.json",
        "wrong password: check it",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert masked(text) == text


def test_long_text_takes_no_time() -> None:
    for text in (
        "a" * 100_000,
        "://" * 30_000,
        "http://a:" * 10_000,
        "?token" * 20_000,
        "--a-" * 30_000,
        "password" * 10_000,
        "a_" * 50_000,
    ):
        masked(text)


def test_the_log_and_the_record_of_a_run_hide_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is logged: the command, settings, a warning, a traceback; and `run.json`."""
    monkeypatch.setattr(sys, "argv", ["tokgraft", "publish", "--uri", f"https://me:{SECRET}@host", "--token", SECRET])
    logs.setup()
    logs.opening({"path": f"https://{SECRET}@host/x"})
    log.warning("cannot reach %s", f"https://me:{SECRET}@host")
    try:
        raise RuntimeError(f"password={SECRET}")
    except RuntimeError:
        log.exception("failed")
    with artifacts.create(tmp_path / "a", "corpus", {}) as folder:
        (folder / "x").write_text("x")
    error = capsys.readouterr().err
    assert "cannot reach https://***@host" in error and "RuntimeError" in error and SECRET not in error
    command = json.loads((tmp_path / "a" / artifacts.RUN).read_text())["command"]
    assert SECRET not in command and shlex.split(command)[:3] == ["tokgraft", "publish", "--uri"]


def test_an_error_hides_secrets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(args: object) -> int:
        raise ArtifactError(f"https://me:{SECRET}@host is away", f"try https://{SECRET}@host")

    monkeypatch.setattr("tokgraft.skipping.run", fail)
    assert main(["list", "methods"]) == 2
    error = capsys.readouterr().err
    assert "is away" in error and SECRET not in error


def test_the_traceback_of_a_defect_hides_secrets(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(args: object) -> int:
        raise RuntimeError(f"https://me:{SECRET}@host")

    monkeypatch.setattr("tokgraft.skipping.run", fail)
    assert main(["list", "methods"]) == 1
    error = capsys.readouterr().err
    assert "Traceback" in error and "RuntimeError: https://***@host" in error and SECRET not in error
