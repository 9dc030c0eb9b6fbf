"""`make parity` has every reference package, so that a skipped comparison is one that nobody made."""

from __future__ import annotations

import os

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was measured on real inputs."""
    import real

    if real.FIGURES:
        terminalreporter.section("differences on real inputs")
        for figure in real.FIGURES:
            terminalreporter.write_line(figure)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With TOKGRAFT_PARITY=all a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("TOKGRAFT_PARITY") == "all" and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("\nskipped although every reference package should be here: see envs/parity.txt", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
