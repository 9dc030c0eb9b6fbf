"""YAML as configuration needs it: keys stand once, aliases cannot blow up, nesting is bounded, and every flaw names its line.

PyYAML keeps the last of two equal keys without a word. An alias costs nothing to read, but each use of what was built from it walks the
whole again: nine lines of aliases to aliases stand for 10^9 nodes. So nodes are counted as often as they are referred to.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tokgraft.errors import ConfigError

NODES = 20_000
"""Most keys, values and entries of a file, every alias counted as what it refers to."""
DEPTH = 50
BYTES = 200_000


@dataclass(frozen=True)
class Tagged:
    """A scalar with a tag that YAML itself does not know, such as `!function utils.shout`."""

    tag: str
    text: str


def parse(text: str, where: str, tags: bool = False) -> Any:
    """The value of a YAML text.

    Args:
        text: The text.
        where: What the error names, such as the file's path.
        tags: Give scalars with other tags as `Tagged` instead of refusing them; nothing is imported or called.

    Raises:
        ConfigError: Not YAML, a key that stands twice, too many nodes (aliases expanded), nested too deeply, half of a surrogate pair.
    """
    try:
        return yaml.load(text, Loader=_TagLoader if tags else _Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where} is not valid YAML: {error}") from None
    except Exception as error:  # values with a tag: !!int of an empty text is an IndexError, a date without digits an AttributeError
        raise ConfigError(f"{where} holds a value that cannot be read: {type(error).__name__}: {error}") from None


def read(path: Path, tags: bool = False) -> Any:
    """The value of a YAML file (`tags` as in `parse`).

    Raises:
        ConfigError: It is missing, unreadable, not UTF-8, or `parse` refuses it.
    """
    path = Path(path)
    try:
        if (size := path.stat().st_size) > BYTES:
            raise ConfigError(f"{path} has {size:,} bytes; configuration files have at most {BYTES:,}", "give another file")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder where a YAML file is expected", "give a file in it") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}", "save it as UTF-8") from None
    return parse(text, str(path), tags)


class _Loader(yaml.SafeLoader):
    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._count = self._depth = 0
        self._sizes: dict[int, int] = {}  # nodes in the expansion of each finished node, by its id()

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node; count it with what it refers to."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        before = self._count
        self._depth += 1
        if self._depth > DEPTH:
            raise _error(f"nested more than {DEPTH} deep", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise _error(f"the alias {event.anchor!r} refers to what it is part of", event.start_mark)
            self._count += self._sizes[id(node)]
        else:
            self._count += 1
            self._sizes[id(node)] = self._count - before
        if self._count > NODES:
            raise _error(f"more than {NODES:,} values, aliases expanded", event.start_mark)
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        """Compose a scalar; its text must be one that can be written as UTF-8."""
        node = super().compose_scalar_node(anchor)
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            raise _error("half of a surrogate pair, which is no character", node.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping whose own keys are all different; a key that `<<` brings may be given anew."""
        seen: dict[Any, Any] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge" or not isinstance(key_node, yaml.ScalarNode):
                continue
            key = self.construct_object(key_node)
            if key in seen:
                raise _error(f"the key {key!r} stands twice; first in line {seen[key].line + 1}", key_node.start_mark)
            seen[key] = key_node.start_mark
        return super().construct_mapping(node, deep)


class _TagLoader(_Loader):
    def tagged(self, suffix: str, node: yaml.Node) -> Tagged:
        """Construct a scalar whose tag begins with `!`."""
        if not isinstance(node, yaml.ScalarNode):
            raise _error(f"the tag !{suffix} on something else than a text", node.start_mark)
        return Tagged(f"!{suffix}", str(node.value))


_TagLoader.add_multi_constructor("!", _TagLoader.tagged)


def _error(what: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=mark)
