"""What the flags of all commands take: one type for each kind of value, so that a wrong one is refused before any work.

argparse calls a type with the text of the flag. What is wrong becomes one line on standard error, and exit status 2.
"""

from __future__ import annotations

import argparse
import copy
import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tokgraft.config.bounds import BYTES, ITEMS, MULTIPLES, ROWS, SEEDS, SIZE, THREADS, Range
from tokgraft.errors import ConfigError, hint, near_matches
from tokgraft.masking import masked

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and name what a slip of the keyboard may have meant."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with status 2."""
        more = "" if "\n  -> " in message else f"\n  -> see: {self.prog} --help"
        self.exit(2, masked(f"{self.prog}: error: {message}{more}\n"))

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse; an unknown flag is shown with its near matches."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            flag, chosen = rest[0].partition("=")[0], _chosen(self, found)
            near = near_matches(flag, set(_flags(chosen))) if flag.startswith("-") else []
            do = f"did you mean {' or '.join(near)}?" if near else f"see: {chosen.prog} --help"
            self.error(f"unknown: {' '.join(rest)}\n  -> {getattr(found, 'unknown_flag', do)}")
        return found

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse, which passes over that standard output cannot be written; that is an error here."""
        if file is not None and file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"unknown {value!r}\n  -> {hint(str(value), map(str, action.choices))}")


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    return [flag for action in parser._actions for flag in action.option_strings]


def _chosen(parser: argparse.ArgumentParser, found: argparse.Namespace) -> argparse.ArgumentParser:
    """The parser of the command, and of its action, that was called."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and (name := getattr(found, action.dest, None)) in action.choices:
            return _chosen(action.choices[name], found)
    return parser


def _wrong(what: str, do: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{what}\n  -> {do}")


@dataclass(frozen=True)
class Whole:
    """A whole number of a range."""

    range: Range

    def __call__(self, text: str) -> int:
        """The number."""
        try:
            return self.range.check(int(text), "")
        except (ValueError, ConfigError):
            raise _wrong(f"{_shortened(text)} is not possible", f"give {self.range}") from None


seed = Whole(SEEDS)
threads = Whole(THREADS)
multiple = Whole(MULTIPLES)
size_in_bytes = Whole(Range(1, BYTES))
items = Whole(Range(1, ITEMS))
batch = Whole(Range(1, SIZE))
jobs = Whole(Range(1, 1024))  # at once
devices = Whole(Range(0, 4096))  # GPUs, processes; 0 leaves the choice to the program
nodes = Whole(Range(1, 4096))
port = Whole(Range(1, 65535))
shard = Whole(Range(0, 499))
repeats = Whole(Range(2, 1000))  # of a measurement: fewer give no interval


def duration(text: str) -> float:
    """Seconds, at most a day."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 86_400:  # NaN is not, either
        raise _wrong(f"{_shortened(text)} is no time", "give a number of seconds from 0 to 86400")
    return found


def folder(text: str) -> Path:
    """A folder that is there and not empty."""
    path = _path(text)
    if not os.path.exists(path):
        raise _wrong(f"there is no folder {text}", _nearest(path))
    if not os.path.isdir(path):
        raise _wrong(f"{text} is a file, not a folder", "give the folder that it lies in")
    try:
        empty = not any(os.scandir(path))
    except OSError as error:
        raise _wrong(f"{text} cannot be read: {error.strerror}", "change its permissions") from None
    if empty:
        raise _wrong(f"the folder {text} is empty", "give one that a finished stage has written")
    return path


def model(text: str) -> Path:
    """A folder with a model, or with its tokenizer; the name of a model on the Hub, or of a file in config/models/, is no folder yet."""
    if not os.path.exists(text):
        named = re.sub(r"[^a-z0-9]+", "-", text.rpartition("/")[2].lower()).strip("-")
        if os.path.isfile(f"config/models/{text}.yaml"):
            made = Path("results") / "models" / text / "base"
            raise _wrong(
                f"{text} is a model of config/models/, not a folder",
                f"give {made}" if made.is_dir() else f"make it first: tokgraft model --model {text} --out {made}",
            )
        if HUB_ID.fullmatch(text) and not os.path.isdir(text.partition("/")[0]):
            raise _wrong(
                f"there is no folder {text}; a model of the Hub is fetched first",
                f"write config/models/{named}.yaml with `source: {{kind: hub, id: {text}, revision: COMMIT}}` (docs/models.md), "
                f"type `tokgraft model --model {named} --out results/models/{named}/base`, and give that folder",
            )
    return folder(text)


def file(text: str) -> Path:
    """A file that is there."""
    path = _path(text)
    if os.path.isdir(path):
        raise _wrong(f"{text} is a folder, not a file", "give a file in it")
    if not os.path.exists(path):
        raise _wrong(f"there is no file {text}", _nearest(path))
    if not os.access(path, os.R_OK):
        raise _wrong(f"{text} cannot be read", "change its permissions")
    return path


def place(text: str) -> Path:
    """Where something will be written; whether it may be is for the stage to say, which knows what it reads."""
    return _path(text)


def named_folder(text: str) -> tuple[str, Path]:
    """NAME=DIR, a folder that is there."""
    name, given = _named(text)
    return name, folder(given)


def maybe_named_model(text: str) -> str:
    """DIR or NAME=DIR, as `model`; the text as it was given."""
    model(_named(text)[1] if "=" in text and not os.path.exists(text) else text)
    return text


def _named(text: str) -> tuple[str, str]:
    name, _, given = text.partition("=")
    if not (name and given):
        raise _wrong(f"{_shortened(text)} is not of the form NAME=DIR", "for example token_vectors=my-vectors")
    return name, given


def address(text: str) -> str:
    """Address of a tracking store. A bare word would become a folder of that name, in which nobody looks."""
    if not re.match(r"[a-z][a-z0-9+.-]*://.|databricks", text):
        raise _wrong(f"{_shortened(text)} is no address", "give sqlite:////folder/mlflow.db or http://host:5000")
    return text


def settings(text: str) -> dict[str, Any]:
    """A JSON object, given as text or as a JSON or YAML file."""
    from tokgraft import jsonl
    from tokgraft.config import strict_yaml

    do = "give a JSON object, such as '{\"key\": 1}', or a file that holds one"
    try:
        if text.lstrip()[:1] in {"{", "["}:
            found = jsonl.parse(text, "the JSON", do, error=ConfigError, unique=True)
        elif file(text).suffix in {".yaml", ".yml"}:
            found = strict_yaml.read(Path(text))
        else:
            found = jsonl.parse(Path(text).read_bytes(), text, do, error=ConfigError, unique=True)
    except (ConfigError, OSError) as error:
        raise _wrong(getattr(error, "what", str(error)), do) from None
    if not isinstance(found, dict):
        raise _wrong(f"{_shortened(text)} is a {type(found).__name__}, not an object", do)
    return found


def setting(text: str) -> tuple[list[str], Any]:
    """KEY=VALUE or PART.KEY=VALUE: the names on the way, and the value, a YAML scalar or a list in brackets."""
    from tokgraft.config import strict_yaml

    key, equals, given = text.partition("=")
    names = key.split(".")
    if not equals or not all(names):
        raise _wrong(f"{_shortened(text)} is not of the form KEY=VALUE", "for example eps=1e-9, or in a chain prior.rounds=3")
    try:
        value = strict_yaml.parse(given, f"the value of {key}")
    except ConfigError as error:
        raise _wrong(error.what.partition("\n")[0], "give a number, a word, or a list such as [1, 2]") from None
    with suppress(ValueError):  # YAML reads `1e-5` as text
        value = float(value) if isinstance(value, str) else value
    return names, value


def override(text: str) -> tuple[str, str]:
    """TOKEN=HOW: a token of the new vocabulary and how its row is made."""
    from tokgraft.config import overrides  # only this flag needs it: other stages do not run again when it changes

    try:
        return overrides.split(text)
    except ConfigError as error:
        raise _wrong(error.what, error.do) from None


def rows(text: str) -> int | str:
    """A number of rows, or "base"."""
    return text if text == "base" else Whole(ROWS)(text)


def parameters(settings: dict[str, Any], sets: Iterable[tuple[list[str], Any]]) -> dict[str, Any]:
    """Parameters from `--settings`, overridden by each `--set`.

    Raises:
        ConfigError: A `--set` leads into something that has no keys.
    """
    found = copy.deepcopy(settings)
    for (*parents, last), value in sets:
        place: Any = found
        for parent in parents:
            place = place.setdefault(parent, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise ConfigError(f"--set {'.'.join([*parents, last])}: {'.'.join(parents)} is no group of parameters", "give KEY=VALUE")
        place[last] = value
    return found


def device(text: str) -> str:
    """Where to compute: auto, cpu, cuda, or cuda:N."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", text):
        raise _wrong(f"there is no device {_shortened(text)}", "give auto, cpu, cuda or cuda:1")
    return text


def text(value: str) -> str:
    """A text that is not empty."""
    if not value.strip():
        raise _wrong("nothing is given", "leave the flag out, or give a value")
    return value


class KeyValues(argparse.Action):
    """Collect NAME=VALUE of a repeated flag in a dictionary; a name that comes twice is refused."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Add one pair."""
        found: dict[str, Any] = dict(getattr(namespace, self.dest) or {})
        name, given = values
        if name in found:
            raise argparse.ArgumentError(self, f"{name} is given twice\n  -> give each name once")
        setattr(namespace, self.dest, found | {name: given})


def add_devices(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Flags of a command that may compute on GPUs; `several`: also with several processes."""
    parser.add_argument(
        "--gpus",
        type=devices,
        default=0,
        metavar="N",
        help="wait for N free GPUs and use only them (default: 0, share what --device finds)",
    )
    if several:
        parser.add_argument(
            "--processes", type=devices, default=0, metavar="N", help="processes that train together, over all nodes (default: one a GPU)"
        )
        parser.add_argument("--nodes", type=nodes, default=1, metavar="N", help="nodes of the Slurm job to train on (default: 1)")


def add_force(parser: argparse.ArgumentParser) -> None:
    """The flag of every command that writes what --out names; `main` makes it hold for the whole command.

    Without it the attribute is absent, so that the parser of an action does not take back what the command's parser has read.
    """
    parser.add_argument(
        "--force",
        action="store_true",
        default=argparse.SUPPRESS,
        help="move what is in the way of --out, and is not ours, aside to <name>.old instead of refusing; nothing is deleted",
    )


def _path(text: str) -> Path:
    if not text.strip():
        raise _wrong("an empty name is given", "give the name of a file or folder")
    return Path(text)


def _nearest(path: Path) -> str:
    """What lies beside a path that is missing and has a similar name; else, what is the last part of it that is there."""
    above = path.absolute().parent
    try:
        near = near_matches(path.name, [entry.name for entry in os.scandir(above)])
    except OSError:
        while not above.exists():
            above = above.parent
        return f"of this path only {above} is there"
    return (
        f"did you mean {' or '.join(str(path.parent / name) for name in near)}?"
        if near
        else "run the stage that makes it, or correct the path"
    )


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
