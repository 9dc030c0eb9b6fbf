"""Configuration files as people and programs get them wrong: one ConfigError each, with the file and where there is one the line."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import yaml

from tokgraft.config import strict_yaml
from tokgraft.config.base import SLUG, ConfigFile, slugs
from tokgraft.config.experiment import Experiment
from tokgraft.config.language import Language
from tokgraft.config.model import BaseModelConfig
from tokgraft.config.recipe import TrainingRecipe
from tokgraft.config.task import Task
from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\nlr: 1\nname: y\n", r"'name' stands twice; first in line 1(.|\n)*line 3"),
        ("a: {b: 1, c: 2, b: 3}", r"'b' stands twice"),
        ("1: a\n0x1: b", r"1 stands twice"),
        ("a: &a {x: 1}\nb: {<<: *a, y: 1, y: 2}", r"'y' stands twice(.|\n)*line 2"),
        (BOMB, r"more than 20,000 values, aliases expanded(.|\n)*line 5"),
        ("params: &p [*p]", r"alias 'p' refers to what it is part of"),
        ("[" * 5000, r"nested more than 50 deep"),
        ("".join(" " * depth + "a:\n" for depth in range(100)), r"nested more than 50 deep(.|\n)*line 50"),
        ('name: "\\ud800"', r"half of a surrogate pair(.|\n)*line 1"),
        ("a: !!int ''", r"holds a value that cannot be read"),
        ("a: 2024-13-45", r"holds a value that cannot be read: ValueError: month"),
        ("a: " + "9" * 5000, r"holds a value that cannot be read"),
        ("a: !!python/object/apply:os.system [ls]", r"could not determine a constructor"),
        ("a: \0", r"special characters are not allowed"),
    ],
    ids=[
        "twice",
        "nested-twice",
        "equal-number",
        "merge-twice",
        "bomb",
        "self",
        "deep",
        "deep-block",
        "surrogate",
        "tag",
        "date",
        "digits",
        "python",
        "nul",
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        TrainingRecipe.load(str(path))
    assert "x.yaml" in str(caught.value)


def test_a_bomb_needs_no_memory(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for settings in (Experiment, TokenizerRecipe, Language):
        (tmp_path / "x.yaml").write_text(BOMB)
        with pytest.raises(ConfigError, match="aliases expanded"):
            settings.load(str(tmp_path / "x.yaml"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_aliases_and_merges_of_a_sensible_size_are_read() -> None:
    text = Path("config/experiments/closed-form.yaml").read_text()
    assert "&all" in text and strict_yaml.parse(text, "x") == yaml.safe_load(text)
    assert strict_yaml.parse("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}", "x") == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}


def test_a_path_that_is_no_text_file(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "latin.yaml").write_bytes("name: Größe".encode("latin-1"))
    (tmp_path / "huge.yaml").write_bytes(b"#" * 10**6)
    for name, says in (
        ("folder", "is a folder"),
        ("latin", "is not UTF-8: byte 8 is 0xf6"),
        ("absent", "does not exist"),
        ("huge", "bytes"),
    ):
        with pytest.raises(ConfigError, match=says):
            TrainingRecipe.load(str(tmp_path / f"{name}.yaml"))
    (tmp_path / "list.yaml").write_text("[]")
    with pytest.raises(ConfigError, match="expected keys and values, found list"):
        TrainingRecipe.load(str(tmp_path / "list.yaml"))


@pytest.mark.parametrize(
    "text", ['{"name": "a", "name": "b"}', '{"a":' + "[" * 10**5, '{"a": ' + "9" * 5000 + "}", '{"a": "\\ud800"}', "{"]
)
def test_settings_given_as_json_are_held_to_the_same(text: str) -> None:
    with pytest.raises(ConfigError, match="recipe given as JSON"):
        TrainingRecipe.load(text)


@pytest.mark.parametrize("name", ["bpb\n", "", "-x", "../x", "a b", "a;b", "a.b", "ä"])
def test_no_such_name_is_a_slug(name: str, tmp_path: Path) -> None:
    assert not SLUG.match(name)
    with pytest.raises(ConfigError, match=r"unknown task|does not exist"):
        Task.load(name)


@pytest.mark.parametrize("name", ["t; touch X #.yaml", "bpb\n.yaml", "$(touch X).yaml", "a b.yaml", "ä.yaml"])
def test_a_file_whose_name_is_no_slug_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "tokenizers"
    folder.mkdir()
    (folder / "good-one+x_2.yaml").write_text("")
    (folder / ".#good.yaml").write_text("")  # an editor's lock
    assert slugs("tokenizers", tmp_path) == ["good-one+x_2"]
    (folder / name).write_text("")
    with pytest.raises(ConfigError, match="is no slug"):
        slugs("tokenizers", tmp_path)
    with pytest.raises(ConfigError, match="is no slug"):
        TokenizerRecipe.load("good", tmp_path)


@pytest.mark.parametrize("kind", [BaseModelConfig, Experiment, Task, TokenizerRecipe, TrainingRecipe], ids=lambda kind: kind.folder)
def test_slugs_in_the_box_have_one_separator_and_the_other_one_is_answered(kind: type[ConfigFile]) -> None:
    """Some had `_` before; whoever types that is told the slug of today."""
    for slug in slugs(kind.folder, Path("config")):
        assert "_" not in slug
        if kind is Experiment:
            assert kind.load(slug, Path("config")).name == slug
        if "-" in slug:
            with pytest.raises(ConfigError, match=slug.replace("-", "_")) as caught:
                kind.load(slug.replace("-", "_"), Path("config"))
            assert slug in caught.value.do
