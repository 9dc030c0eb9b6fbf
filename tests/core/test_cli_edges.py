"""Every flag of every command refuses what it cannot take: status 2, one clear line, no traceback, before work, nothing written."""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import toys
import toytasks
from command_tree import parsers
from tokgraft.cli import _arguments as arguments
from tokgraft.cli import build_parser, main
from tokgraft.models.io import save_model

ROOT = Path(__file__).parents[2]
FOLDERS = (arguments.folder, arguments.model)
OWN = {
    arguments.address, arguments.maybe_named_model, arguments.device, arguments.file, arguments.folder, arguments.model, arguments.named_folder, arguments.override, arguments.place, arguments.rows,
    arguments.setting, arguments.settings, arguments.text, arguments.duration,
}  # fmt: skip


def flags() -> list[Any]:
    """(words of the command, action) of everything that takes a value."""
    found = []
    for words, parser in parsers(build_parser()):
        for action in parser._actions:
            if action.nargs != 0 and not isinstance(action, argparse._SubParsersAction) and action.nargs != argparse.REMAINDER:
                name = action.option_strings[-1] if action.option_strings else action.dest
                found.append(pytest.param(words, action, id=" ".join((*words, name))))
    return found


def of(*types: Any) -> list[Any]:
    """The flags of some types."""
    return [flag for flag in flags() if flag.values[1].type in types]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the project's configuration, an empty folder and a file."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listing(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path.relative_to(folder)), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Run a command that must be refused; its message."""
    before = listing(Path())
    assert main(argv) == 2, argv
    assert listing(Path()) == before
    out, error = capsys.readouterr()
    message = error[error.index("tokgraft") :] if "error:" in error else error
    assert out == "" and "error: " in message and "Traceback" not in error
    what, *do = message.rstrip("\n").split("\n")
    yaml = 'in "<unicode string>"' in message  # which shows the line that is wrong
    assert len(what) < 400 and len(do) <= (4 if yaml else 1) and all(line.startswith("  " if yaml else "  -> ") for line in do), message
    return message


def given(words: tuple[str, ...], action: argparse.Action, value: str) -> tuple[str, ...]:
    return (*words, f"{action.option_strings[-1]}={value}") if action.option_strings else (*words, value)


@pytest.mark.parametrize(("words", "action"), flags())
def test_every_flag_has_a_type(words: tuple[str, ...], action: argparse.Action) -> None:
    """A bare int takes -2 and 10**30, a bare Path takes what is not there, a bare text takes nothing for something."""
    assert action.choices or action.type in OWN or isinstance(action.type, arguments.Whole)


@pytest.mark.parametrize("value", ["-1", "0", str(10**30), "9" * 5000, "x", "", "1.5", "nan", "1e9"])
@pytest.mark.parametrize(("words", "action"), [flag for flag in flags() if isinstance(flag.values[1].type, arguments.Whole)])
def test_numbers(words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    low = action.type.range.low
    if value == "0" and low == 0:
        assert action.type(value) == 0
        return
    message = refused(capsys, *given(words, action, value))
    assert f"give a whole number from {low} to " in message and action.option_strings[-1] in message


@pytest.mark.parametrize("value", ["missing", "missing/deeper", "file", "file/below", "empty", "", "x" * 300])
@pytest.mark.parametrize(("words", "action"), of(*FOLDERS))
def test_folders(words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, *given(words, action, value))


@pytest.mark.parametrize("value", ["missing", "empty", ""])
@pytest.mark.parametrize(("words", "action"), of(arguments.file))
def test_files(words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, *given(words, action, value))


DEEP = '{"a":' * 100_000


@pytest.mark.parametrize(
    "value",
    [
        "{", '{"a": }', "[1]", "[" * 100_000, DEEP, '{"a": 1, "a": 2}', '{"a": ' + "9" * 5000 + "}", '{"a": "\\ud800"}', "", "missing.json",
        "empty", "list.json", "bytes.json", "list.yaml", "bomb.yaml",
    ],
    ids=lambda value: value[:20],
)  # fmt: skip
@pytest.mark.parametrize(("words", "action"), of(arguments.settings))
def test_settings(words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "list.json").write_text("[]")
    (here / "bytes.json").write_bytes(b"\xff{}")
    (here / "list.yaml").write_text("- a\n")
    (here / "bomb.yaml").write_text(
        "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefghi", "bcdefghij"))
    )
    refused(capsys, *given(words, action, value))


@pytest.mark.parametrize("value", ["eps=[[[", "eps=" + "[" * 5000, "eps", "=1", "a..b=1", "", "eps={", "eps=*x", "eps=" + "9" * 5000])
@pytest.mark.parametrize(("words", "action"), of(arguments.setting))
def test_single_settings(words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, *given(words, action, value))


@pytest.mark.parametrize("value", ["", "x", "=zero", "x=", "x=nil", "x=like", "x=like:", "x=text:", "x=zero:1", "x=Zero"])
@pytest.mark.parametrize(("words", "action"), of(arguments.override))
def test_overrides(words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "how: like:TOKEN, zero or text:SOME TEXT" in refused(capsys, *given(words, action, value))


@pytest.mark.parametrize("value", ["", "0", "-1", "bases", "1.5", str(10**30)])
@pytest.mark.parametrize(("words", "action"), of(arguments.rows))
def test_numbers_of_rows(words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "whole number" in refused(capsys, *given(words, action, value))


@pytest.mark.parametrize("value", ["", "x", "x=", "=config", "x=missing", "x=file", "x=empty"])
@pytest.mark.parametrize(("words", "action"), of(arguments.named_folder))
def test_named_folders(words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, *given(words, action, value))
    assert "twice" in refused(capsys, *given(words, action, "x=config"), *given((), action, "x=config"))


@pytest.mark.parametrize("value", ["", "missing", "x=", "=config", "x=missing", "x=file", "x=empty", "file", "empty"])
@pytest.mark.parametrize(("words", "action"), of(arguments.maybe_named_model))
def test_folders_with_or_without_a_name(
    words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(capsys, *given(words, action, value))


@pytest.mark.parametrize("value", ["", "mlflow.db", "localhost:5000", "/folder/mlflow.db", "http://", "nonsense"])
@pytest.mark.parametrize(("words", "action"), of(arguments.address))
def test_addresses(words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, *given(words, action, value))


@pytest.mark.parametrize("value", ["", " "])
@pytest.mark.parametrize(("words", "action"), of(arguments.text, arguments.place, arguments.device))
def test_nothing_is_no_value(words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, *given(words, action, value))


@pytest.mark.parametrize("value", ["banana", "cuda:", "cuda:-1", "gpu"])
@pytest.mark.parametrize(("words", "action"), of(arguments.device))
def test_devices(words: tuple[str, ...], action: Any, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(capsys, *given(words, action, value))


@pytest.mark.parametrize(
    ("argv", "near"),
    [
        (["list", "method"], "methods"),
        (["list", "language"], "languages"),
        (["trian"], "train"),
        (["tokenizer", "evalute"], "evaluate"),
        (["report", "--cells", "config/schema.json", "--chekc"], "--check"),
        (["publish", "--cells", "config/schema.json", "--registr-all"], "--register"),
        (["corpus", "--out", "x", "--language", "vi"], "did you mean vie_Latn?"),
        (["corpus", "--out", "x", "--language", "vietnamese"], "did you mean vie_Latn?"),
        (["corpus", "--out", "x", "--language", "Deutsch"], "did you mean deu_Latn?"),
        (["corpus", "--out", "x", "--language", "vie_latn"], "did you mean vie_Latn?"),
        (["model", "--out", "x", "--model", "poket"], "did you mean pocket"),
        (["doctor", "--settings", "smok"], "did you mean smoke"),
        (["list", "cells", "--settings", "config/experiments/smok.yaml"], "did you mean config/experiments/smoke.yaml?"),
        (["list", "cells", "--settings", "config/confg.yaml"], "did you mean config/config.yaml?"),
        (["train", "--model", "confg"], "did you mean config?"),
    ],
)
def test_near_matches(argv: list[str], near: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert near in refused(capsys, *argv)


def test_a_code_that_nobody_has_is_no_near_match(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "known: aeb_Arab, " in refused(capsys, "corpus", "--out", "x", "--language", "ua")


def test_a_language_of_an_experiment_has_near_matches_by_name(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = {
        "models": ["pocket"],
        "languages": ["vietnamese"],
        "tokenizers": ["bpe8k"],
        "methods": ["mean"],
        "recipes": ["init"],
        "tasks": ["bpb"],
    }
    assert "did you mean vie_Latn?" in refused(capsys, "list", "cells", "--settings", json.dumps({"name": "x", "grids": [grid]}))


@pytest.mark.parametrize(
    "value", ["{", '{"name": ' + "[" * 100_000, '{"name": "x", "name": "y"}', '{"name": ' + "9" * 5000 + "}", '{"name": null}']
)
def test_an_experiment_as_json(value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["list", "cells"], ["doctor"]):
        refused(capsys, *command, "--settings", value)


def test_a_bare_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, error = capsys.readouterr()
    assert out == "" and "transplant" in error and "usage: tokgraft" in error


@pytest.mark.parametrize(
    "argv",
    [
        ["list", "recipes"],
        ["list", "languages"],
        ["list", "experiments"],
        ["list", "cells"],
        ["doctor"],
        ["doctor", "--settings", "smoke"],
        ["model", "--model", "pocket", "--out", "x"],
        ["corpus", "--language", "deu_Latn", "--out", "x"],
        ["pull"],
        ["push"],
    ],
)
def test_outside_a_checkout(argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    message = refused(capsys, *argv)
    assert "-> " in message and ("folder that holds config/" in message or argv[0] in {"pull", "push"})


@pytest.mark.parametrize("argv", [["list", "methods"], ["list", "resources"], ["list", "schema"]])
def test_what_needs_no_checkout(argv: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 0


@pytest.mark.parametrize("argv", [["list", "schema"], ["list", "languages"], ["list", "configuration"]])
def test_a_reader_that_goes_away_is_no_error(argv: list[str]) -> None:
    """`tokgraft list schema | head -1`"""
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "tokgraft", *argv], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT
        )
    assert done.returncode == 141 and done.stderr == ""


def no_room() -> None:
    """In a process of its own: no file may grow, so that a write fails as on a full disk (of /dev/full writing nothing fails, too)."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("argv", [["list", "schema"], ["list", "languages"], ["--help"], ["list", "--help"], ["--version"]])
@pytest.mark.parametrize("full", [True, False])
def test_output_that_cannot_be_written_is_a_line(argv: list[str], unbuffered: str, full: bool, tmp_path: Path) -> None:
    """More than the buffer holds, and less; `> /dev/full` is a full disk."""
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with (Path("/dev/full") if full else tmp_path / "out").open("wb") as place:
        done = subprocess.run(
            [sys.executable, "-m", "tokgraft", *argv],
            stdout=place,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
            env=environment,
            preexec_fn=None if full else no_room,
        )
    command, why = "tokgraft" if argv[-1].startswith("--") else "tokgraft list", "No space left on device" if full else "File too large"
    assert (done.returncode, done.stderr) == (2, f"{command}: error: cannot write the output: {why}\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("argv", "status"), [(["list", "languages"], 0), (["list", "--help"], 0), (["--version"], 0), (["list", "nope"], 2)]
)
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_output_is_no_traceback(argv: list[str], status: int, closed: str, unbuffered: str) -> None:
    call = f"{shlex.join([sys.executable, '-m', 'tokgraft', *argv])} {closed}"
    done = subprocess.run(
        call, shell=True, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | {"PYTHONUNBUFFERED": unbuffered}
    )
    assert done.returncode == status and "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("argv", [["list", "nope"], ["list", "cells", "--settings", "nope"], []])
def test_the_status_holds_where_the_error_cannot_be_written(argv: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tokgraft", *argv], stdout=subprocess.PIPE, stderr=full, check=False, cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.fixture
def subjects(here: Path) -> Path:
    """A base model, another tokenizer and a corpus, all small."""
    tokenizer = toys.tokenizer("byte_level")
    save_model(toys.decoder(len(tokenizer), True), tokenizer, here / "base")
    toys.tokenizer("sp_bpe", 600, "both").save_pretrained(here / "new")
    toytasks.write_corpus(here / "corpus", toys.german())
    return here


def test_a_new_tokenizer_must_be_given(subjects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method in ("mean", "focus", "mean+prior"):
        message = refused(capsys, "transplant", "--model", "base", "--method", method, "--out", "out")
        assert "new tokenizer" in message and "--tokenizer DIR" in message
    assert main(["transplant", "--model", "base", "--method", "none", "--out", "out"]) == 0


def test_a_model_of_the_hub_is_not_a_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "transplant", "--model", "meta-llama/Llama-3.2-1B", "--tokenizer", "config", "--method", "mean", "--out", "x")
    assert "config/models/llama-3-2-1b.yaml" in message and "tokgraft model --model llama-3-2-1b" in message
    assert "tokgraft model --model pocket --out results/models/pocket/base" in refused(capsys, "score", "--model", "pocket")
    (here / "results/models/pocket/base").mkdir(parents=True)
    assert "give results/models/pocket/base" in refused(capsys, "train", "--model", "pocket")


# What else than a model or its tokenizer a folder on the command line is.
NO_MODELS = {"--config", "--corpora", "--corpus", "--english", "--learn", "--resource", "--shards", "--templates", "folders"}


@pytest.mark.parametrize(("words", "action"), of(*FOLDERS, arguments.maybe_named_model, arguments.named_folder))
def test_whatever_takes_a_model_says_how_to_get_one_of_the_hub(
    words: tuple[str, ...], action: Any, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = action.option_strings[-1] if action.option_strings else action.dest
    forms = {arguments.maybe_named_model: ("{}", "mine={}"), arguments.named_folder: ("mine={}",)}
    for form in forms.get(action.type, ("{}",)):
        hub = refused(capsys, *given(words, action, form.format("meta-llama/Llama-3.2-1B")))
        own = refused(capsys, *given(words, action, form.format("pocket")))
        for said in ("tokgraft model --model llama-3-2-1b" in hub, "tokgraft model --model pocket" in own):
            assert said == (name not in NO_MODELS)


@pytest.mark.parametrize(
    "argv",
    [
        "corpus --language deu_Latn --english base --out out",
        "tokenizer --recipe bpe2k --corpus base --base base --out out",
        "tokenizer evaluate --tokenizer corpus --corpus corpus --out out",
        "tokenizer evaluate --tokenizer new --corpus base --out out",
        "tokenizer compare corpus --corpus corpus --out out.html",
        "tokenizer mixture --tokenizer corpus --corpora corpus corpus --out out.json",
        "tokenizer adversarial --tokenizer corpus --corpus corpus --out out.jsonl",
        "model --settings {} --out out",
        'model --settings {"name":"x","source":{"kind":"local","path":"corpus"}} --out out',
        "resource --name token_vectors --corpus base --tokenizer new --out out",
        "resource --name token_vectr --corpus corpus --tokenizer new --out out",
        "resource --name token_vectors --corpus corpus --tokenizer new --set epohcs=3 --out out",
        "resource --name token_vectors --corpus corpus --tokenizer new --set dim=1.0e+30 --out out",
        "transplant --model corpus --tokenizer new --method mean --out out",
        "transplant --model base --tokenizer corpus --method mean --out out",
        "transplant --model base --tokenizer new --method multivariate --set eps=.nan --out out",
        "transplant --model base --tokenizer new --method multivariate --set eps=2 --set eps.x=1 --out out",
        "transplant --model base --tokenizer new --method focus --resource token_vectors=corpus --out out",
        "transplant --model base --tokenizer new --method mean --resource token_vectr=corpus --out out",
        "transplant --model base --tokenizer new --method mean --override nowhere=zero --out out",
        "transplant --model base --tokenizer new --method mean --override </s>=zero --override </s>=like:<|end|> --out out",
        "transplant --model base --tokenizer new --method mean --rows 9 --out out",
        "transplant --model base --tokenizer new --method mean --rows 9000 --pad-to-multiple 8 --out out",
        "transplant --model base --method none --rows 9000 --out out",
        "train --model corpus --corpus corpus --recipe smoke --out out",
        "train --model base --corpus base --recipe smoke --out out",
        "train --model base --corpus corpus --recipe smok --out out",
        'train --model base --corpus corpus --settings {"stages":[{"name":"a","train":["all"],"bytes":1000000000000000000,"lr":1}]} --out out',
        "score --model corpus --corpus corpus --tasks bpb --out out",
        "score --model base --corpus base --tasks bpb --out out",
        "score --model base --corpus corpus --tasks bpbb --out out",
        "score --model base --corpus corpus --tasks bpb config/tasks/bpb.yaml --out out",
        'score --model base --corpus corpus --settings {"../../x":{"builder":"bits_per_byte"}} --out out',
        'score --model base --corpus corpus --settings {"x":3} --out out',
        "hydra --adapted corpus --base base --out out",
        "sibling --adapted corpus --base base --sibling base --out out",
        "sibling --adapted base --base base --sibling base --difference ad --out out",
        "report --cells config/schema.json --out out",
        "report --cells file --out out",
        "publish --cells file --uri sqlite:///mlflow.db",
        "push --cells file",
        "verify corpus/..",
        "list cells --settings config/schema.json",
    ],
)
def test_wrong_inputs(argv: str, subjects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What only the stage can see is refused there, before it writes."""
    refused(capsys, *argv.split())


def test_python_calls_refuse_the_same(subjects: Path) -> None:
    import tokgraft
    from tokgraft.config.recipe import TrainingRecipe
    from tokgraft.errors import ConfigError
    from tokgraft.scoring.run import score
    from tokgraft.training.run import train

    call: dict[str, Any] = {"model": "base", "tokenizer": "new", "method": "mean", "out": "out"}
    for wrong in (
        {"seed": -1},
        {"seed": 2**40},
        {"pad_to_multiple": -8},
        {"pad_to_multiple": 0},
        {"rows": 0},
        {"rows": "all"},
        {"rows": 9000, "pad_to_multiple": 8},
        {"overrides": {"</s>": "nil"}},
        {"overrides": {"": "zero"}},
        {"seed": 1.5},
        {"tokenizer": None},
    ):
        with pytest.raises(ConfigError):
            tokgraft.transplant(**{**call, **wrong})
    recipe = TrainingRecipe.load("smoke", ROOT / "config")
    for wrong in ({"seed": -1}, {"threads": -2}, {"threads": 0}):
        with pytest.raises(ConfigError):
            train(Path("base"), Path("corpus"), recipe, Path("out"), **wrong)
    with pytest.raises(ConfigError):
        score(Path("base"), Path("corpus"), {}, Path("out"), threads=-2)
    assert not Path("out").exists()


@pytest.mark.parametrize("target", ["run", "demo"])
def test_make_looks_at_the_experiment_before_snakemake_does(target: str) -> None:
    """Snakemake itself shows a traceback when the file of --configfile is not there."""
    call = ["make", "-o", "setup", target, f"BIN={Path(sys.executable).parent}", "CONFIG=config/experiments/smok.yaml"]
    done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2 and "did you mean config/experiments/smoke.yaml?" in done.stderr
    assert "snakemake" not in done.stdout and "Traceback" not in done.stderr
