"""Jobs that run at once never share a device, and a dead job's device is free."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tokgraft import gpus
from tokgraft.errors import ConfigError

# A job: takes devices, notes when it had which, and holds them for a while.
JOB = """
import sys, time
from tokgraft import gpus, logs
logs.setup()
count, hold, note = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
mine = gpus.claim(count, poll=0.01)
start = time.monotonic()
print(",".join(mine), flush=True)
time.sleep(hold)
open(note, "a").write(f"{','.join(mine)} {start} {time.monotonic()}\\n")
"""


def environment(folder: Path, visible: str) -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": visible, gpus.FOLDER: str(folder / "locks")}


def start(folder: Path, visible: str, count: int, hold: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", JOB, str(count), str(hold), str(folder / "notes")]
    return subprocess.Popen(command, env=environment(folder, visible), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def held(job: subprocess.Popen[str]) -> list[str]:
    assert job.stdout is not None
    return job.stdout.readline().strip().split(",")


def test_jobs_at_once_never_share_a_device(tmp_path: Path) -> None:
    found = [start(tmp_path, "0,1,2", count, 0.15) for count in (1, 2, 1, 3, 1, 1, 2, 1)]
    assert [job.wait(60) for job in found] == [0] * len(found)
    spans = []
    for line in (tmp_path / "notes").read_text().splitlines():
        names, first, last = line.split()
        spans += [(name, float(first), float(last)) for name in names.split(",")]
    assert len(spans) == 12
    for number, (name, first, last) in enumerate(spans):
        for other, begin, end in spans[number + 1 :]:
            assert name != other or last <= begin or end <= first, spans
    for job in found:
        job.communicate()


def test_the_device_of_a_killed_job_is_free(tmp_path: Path) -> None:
    holder = start(tmp_path, "0", 1, 600)
    assert held(holder) == ["0"]
    second = start(tmp_path, "0", 1, 0)
    assert second.stderr is not None
    said = second.stderr.readline()  # none is free, so it waits and says so
    assert "waiting for 1 free GPUs of 0" in said and "locks" in said
    holder.send_signal(signal.SIGKILL)
    out, _ = second.communicate(timeout=60)
    assert out.strip() == "0"
    holder.communicate()


def test_two_jobs_that_need_all_devices_do_not_wait_for_each_other(tmp_path: Path) -> None:
    single = start(tmp_path, "0,1", 1, 0.5)
    assert len(held(single)) == 1
    large = [start(tmp_path, "0,1", 2, 0.1) for _ in range(3)]
    assert [job.wait(60) for job in large] == [0, 0, 0]
    for job in (single, *large):
        job.communicate()


def test_the_devices_of_slurm_are_honoured_and_not_shared_with_other_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = {"CUDA_VISIBLE_DEVICES": "GPU-7a,GPU-9b", "SLURM_JOB_ID": "1"}
    assert gpus.claim(1, first) == ["GPU-7a"]
    assert first["CUDA_VISIBLE_DEVICES"] == "GPU-7a"
    # Another job of the cluster may see other cards under the same numbers: it must not wait for this one.
    second = {"CUDA_VISIBLE_DEVICES": "GPU-7a", "SLURM_JOB_ID": "2"}
    assert gpus.claim(1, second) == ["GPU-7a"]


def test_the_claim_outlives_exec(tmp_path: Path) -> None:
    code = "import os, sys; from tokgraft import gpus; gpus.claim(1); os.execvp('sh', ['sh', '-c', 'echo $CUDA_VISIBLE_DEVICES; exec sleep 600'])"
    holder = subprocess.Popen([sys.executable, "-c", code], env=environment(tmp_path, "4,5"), stdout=subprocess.PIPE, text=True)
    assert held(holder) == ["4"]
    assert held(start_and_end(tmp_path, "4,5")) == ["5"]
    holder.kill()
    holder.communicate()


def start_and_end(folder: Path, visible: str) -> subprocess.Popen[str]:
    job = start(folder, visible, 1, 0)
    job.wait(60)
    return job


def test_too_few_devices_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"asks for 3 GPUs, this machine shows 2.*CUDA_VISIBLE_DEVICES=0,1"):
        gpus.claim(3, {"CUDA_VISIBLE_DEVICES": "0,1", gpus.FOLDER: str(tmp_path)})


def test_no_claim_changes_nothing(tmp_path: Path) -> None:
    given = {"CUDA_VISIBLE_DEVICES": "0,1", gpus.FOLDER: str(tmp_path / "none")}
    assert gpus.claim(0, given) == []
    assert given["CUDA_VISIBLE_DEVICES"] == "0,1" and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("value", "names"), [("0,1", ["0", "1"]), ("", []), ("-1", []), ("NoDevFiles", []), (" 2 , 3", ["2", "3"]), ("1,-1,2", ["1"])]
)
def test_visible_devices_are_read_as_cuda_reads_them(value: str, names: list[str]) -> None:
    assert gpus.visible({"CUDA_VISIBLE_DEVICES": value}) == names


def test_without_the_variable_the_driver_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\necho 'GPU 0: Some Card (UUID: GPU-1)'\necho '  MIG 1g.5gb Device 0: (UUID: MIG-1)'\necho 'GPU 1: Some Card (UUID: GPU-2)'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert gpus.visible({}) == ["0", "1"]


def test_a_lock_folder_that_cannot_be_used_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"(?s)lock file .*TOKGRAFT_GPU_LOCKS"):
        gpus.claim(1, {"CUDA_VISIBLE_DEVICES": "0", gpus.FOLDER: str(tmp_path / "file" / "locks")})
