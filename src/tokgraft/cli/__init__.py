"""The command line: `tokgraft <command> --flag ...`; one module of this package per command.

A command module has `HELP` (one line), `EXAMPLES` (shown by --help), `add_arguments(parser)` and `run(args) -> int`.
Nothing heavy is imported before `run`, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import traceback
from collections.abc import Sequence

from tokgraft import __version__, skipping
from tokgraft.errors import TokgraftError


def build_parser() -> argparse.ArgumentParser:
    """The parser with one sub-command for each module of this package."""
    parser = argparse.ArgumentParser(
        prog="tokgraft", description="Move a language model onto a new vocabulary, and measure what it costs and brings."
    )
    parser.add_argument("--version", action="version", version=f"tokgraft {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
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
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on an error the user can mend."""
    args = build_parser().parse_args(argv)
    from tokgraft import logs
    from tokgraft.masking import masked

    logs.setup(args.verbose)
    try:
        return skipping.run(args)
    except TokgraftError as error:
        print(masked(f"tokgraft {args.command}: error: {error}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"tokgraft {args.command}: interrupted; nothing half-written is left", file=sys.stderr)
        return 130
    except Exception:
        # A defect: with its traceback, but without a password that an argument or a message of a library may hold.
        print(masked(traceback.format_exc()), file=sys.stderr)
        return 1
