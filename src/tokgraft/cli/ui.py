"""`tokgraft ui`: compare the runs in the MLflow UI."""

from __future__ import annotations

import argparse

from tokgraft.cli import _arguments as arguments

HELP = "compare the runs in the MLflow UI: a table of bits per byte for each base model and language"
EXTRA = "track"
EXAMPLES = """  tokgraft ui                                     # the store mlflow.db here; opens a browser where a display is
  tokgraft ui --port 5001 --no-browser
  tokgraft ui --uri http://mlflow.example:5000    # a server that runs already
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "--uri", type=arguments.address, help="MLflow tracking store (default: MLFLOW_TRACKING_URI, else the file mlflow.db here)"
    )
    parser.add_argument("--port", type=arguments.port, metavar="N", help="port of the UI on this machine (default: 5000)")
    parser.add_argument("--no-browser", action="store_true", help="print the addresses, open nothing")


def run(args: argparse.Namespace) -> int:
    """Print the comparisons, and show the UI until it is interrupted."""
    import signal

    from tokgraft.logs import log
    from tokgraft.tracking import links, ui
    from tokgraft.tracking.address import default_uri, file_of

    uri = args.uri or default_uri()
    file = file_of(uri)
    if file is not None and not file.is_file():
        raise ui.UiError(f"there is no tracking store {file}", "run an experiment, or publish one: tokgraft publish --cells FILE")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, so that no server is left behind
    port = args.port or links.PORT
    server = None if uri.startswith("http") else ui.start(uri, port)
    home = links.home(uri) if server is None else links.local(port)
    try:
        found = ui.published(uri)
        print("\n".join(ui.comparisons(found, home)) or f"nothing was published from this folder: {home}", flush=True)
        if not args.no_browser and ui.has_display():
            ui.show(ui.first(found, home))
        if server is not None:
            log.info("the UI is at %s until you press Ctrl-C", home)
            return server.wait()
        return 0
    except KeyboardInterrupt:
        return 0
    finally:
        if server is not None:
            ui.stop(server)
