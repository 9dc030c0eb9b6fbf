"""The command line: `tokgraft <command> --flag ...`; one module of this package per command.

A command module has `HELP` (one line), `EXAMPLES` (shown by --help), `add_arguments(parser)` and `run(args) -> int`; and `EXTRA`, where it
needs packages beyond the core: the extra of pyproject.toml that brings them.
Nothing heavy is imported before `run`, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import pkgutil
import select
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from tokgraft import __version__, skipping
from tokgraft.cli._arguments import Parser
from tokgraft.errors import TokgraftError


def build_parser() -> argparse.ArgumentParser:
    """The parser with one sub-command for each module of this package."""
    parser = Parser(prog="tokgraft", description="Move a language model onto a new vocabulary, and measure what it costs and brings.")
    parser.add_argument("--version", action="version", version=f"tokgraft {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        if module_info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        command = commands.add_parser(
            module_info.name, help=module.HELP, description=module.HELP,
            epilog="examples:\n" + module.EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.add_argument("-v", "--verbose", action="store_true", help="log more")
        module.add_arguments(command)
        command.set_defaults(run=module.run, extra=getattr(module, "EXTRA", ""))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on an error the user can mend."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who calls (`>&-`): nobody wants to read it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    status = _run(argv)
    try:
        sys.stderr.flush()
    except OSError:  # a full disk: the status says it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    return status


def _run(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as end:  # --help, or a flag that is wrong
        return _ended(int(end.code or 0), parser.prog)
    except OSError as error:
        return _unwritten(error, parser.prog)
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    from tokgraft import artifacts, extras, logs
    from tokgraft.masking import masked

    logs.setup(args.verbose)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        if args.extra:
            extras.demand(args.extra)
        with artifacts.forced(getattr(args, "force", False)):
            status = skipping.run(args)
        return _ended(status, f"{parser.prog} {args.command}")
    except TokgraftError as error:
        _say(masked(f"tokgraft {args.command}: error: {error}"))
        return 2
    except KeyboardInterrupt:
        _say(f"tokgraft {args.command}: interrupted; nothing half-written is left")
        return 130
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 141
        if isinstance(error, OSError) and error.filename is None and (refused := _ended(0, f"{parser.prog} {args.command}", "\n")):
            return refused
        # What only some inputs need (a GGUF file) is no reason to ask for it before each run.
        if isinstance(error, ModuleNotFoundError) and (missing := extras.explain(error, args.extra)):
            print(masked(f"tokgraft {args.command}: error: {missing}"), file=sys.stderr)
            return 2
        # A defect: with its traceback, but without a password that an argument or a message of a library may hold.
        _say(masked(traceback.format_exc()))
        return 1


def _ended(status: int, command: str, last: str = "") -> int:
    """The exit status once the output is written out: 2, with a line, where the system refuses it (a full disk); 141 where nobody reads it.

    What was refused stays in the buffer and goes nowhere then, or the interpreter would try it again at its end. Where there is no buffer
    (PYTHONUNBUFFERED), only writing something more, `last`, shows after the fact that an error came from the output.
    """
    try:
        sys.stdout.write(last)
        sys.stdout.flush()
    except OSError as error:
        return _unwritten(error, command)
    return status


def _unwritten(error: OSError, command: str) -> int:
    """The exit status of a command whose output the system refused."""
    if isinstance(error, BrokenPipeError) and _nobody_reads():
        return 141
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _say(f"{command}: error: cannot write the output: {error.strerror}")
    return 2


def _say(message: str) -> None:
    """Write to standard error, if that can be written; the exit status says it anyway."""
    with suppress(OSError):
        print(message, file=sys.stderr)


def _nobody_reads() -> bool:
    """Whether the reader of the output has closed its pipe (`| head`); if so, what is left to write goes nowhere."""
    closed = [stream for stream in (sys.stdout, sys.stderr) if _is_closed_pipe(stream)]
    for stream in closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return bool(closed)


def _is_closed_pipe(stream: TextIO) -> bool:
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    except (OSError, ValueError):  # it is no file, but what a test or a notebook has put there
        return False
