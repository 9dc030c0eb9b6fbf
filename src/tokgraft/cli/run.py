"""`tokgraft run`: an experiment, from corpus to report: Snakemake, after the file, the machine and other runs were looked at."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tokgraft.cli import _arguments as arguments
from tokgraft.cli import doctor

HELP = "run an experiment: Snakemake, once the file and this machine were looked at"
EXTRA = "workflow"
EXAMPLES = """  tokgraft run config/config.yaml                      # the default experiment
  tokgraft run smoke                                   # config/experiments/smoke.yaml
  tokgraft run smoke --dry-run                         # what would be done; all flags behind the experiment are those of Snakemake
  tokgraft run mine --cores 8
  tokgraft run mine --workflow-profile profiles/slurm
"""
# With one of these Snakemake makes no file, or is told not to mind the lock.
UNLOCKED = {"-n", "--dry-run", "--dryrun", "--nolock", "--unlock"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument(
        "experiment", metavar="EXPERIMENT", type=arguments.text, help="its file, or the name of a file in config/experiments"
    )
    parser.add_argument("flags", nargs=argparse.REMAINDER, metavar="...", help="flags and targets of Snakemake (snakemake --help)")
    parser.set_defaults(unknown_flag="flags of Snakemake go behind the experiment: tokgraft run EXPERIMENT --cores 8")


def run(args: argparse.Namespace) -> int:
    """Become Snakemake; 1 when something that the experiment needs is missing on this machine.

    Raises:
        ConfigError: This is no folder of the project; the experiment is wrong; another run makes the same files, or a killed one left its lock.
    """
    from tokgraft import preflight
    from tokgraft.errors import ConfigError
    from tokgraft.matrix import file_of, load_matrix

    if not any(Path(name).is_file() for name in ("Snakefile", "workflow/Snakefile")):
        raise ConfigError(f"there is no Snakefile in {Path.cwd()}", "change into the folder of the project")
    if any(flag.split("=")[0] in {"--configfile", "--configfiles"} for flag in args.flags):
        raise ConfigError("the experiment is named twice", "give it first, without --configfile: tokgraft run FILE [FLAGS]")
    if (file := file_of(args.experiment)) is None:
        raise ConfigError("an experiment to be run is a file", "write the JSON text into config/experiments/<name>.yaml")
    matrix = load_matrix(args.experiment)
    if not UNLOCKED & set(args.flags):
        preflight.check_lock(matrix)
    if status := doctor.show(matrix, brief=True):
        return status
    # Targets go first: --configfile takes every word that follows.
    command = [sys.executable, "-m", "snakemake", *args.flags, "--configfile", str(file)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)
