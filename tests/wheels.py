"""The package as others install it: a wheel, and a virtual environment with the core's packages and no others."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import toys
from tokgraft.models.io import save_model

ROOT = Path(__file__).parents[1]
PARTS = ("pyproject.toml", "README.md", "LICENSE", "src")

# In one process: every method, and every refiner behind one, that requires nothing but the two vocabularies.
EVERY = """
import sys
from pathlib import Path
from tokgraft import methods, transplant
base, new, out = sys.argv[1:]
for chain in [*methods.METHODS.names(), *(f"mean+{name}" for name in methods.REFINERS.names())]:
    if not methods.parse(chain).requires:
        transplant.run(model=base, tokenizer=None if chain == "none" else new, method=chain, out=Path(out) / chain)
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def site(self) -> Path:
        return self.root / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

    def tokgraft(self, cwd: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the installed command in a folder, without what this process adds to Python's path."""
        return run([self.root / "bin" / "tokgraft", *words], cwd)


def run(command: list[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command; its environment has nothing of Python's in it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "TOKGRAFT"))}
    return subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def copy(folder: Path) -> Path:
    """What the package is built from, in a folder of its own: building leaves files behind."""
    folder.mkdir(parents=True)
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def build(place: Path) -> Path:
    """The wheel, built without the network by the setuptools that is installed (torch needs it)."""
    flags = ("--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir", "--disable-pip-version-check", "--quiet")
    done = run([sys.executable, "-m", "pip", "wheel", *flags, "--wheel-dir", place / "wheels", copy(place / "source")], place)
    assert done.returncode == 0, done.stderr
    (wheel,) = (place / "wheels").iterdir()
    return wheel


def needed(wheel: Path) -> list[importlib.metadata.Distribution]:
    """What the core that a wheel declares needs, all the way down, of the packages that are installed here."""
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = importlib.metadata.PathDistribution(zipfile.Path(packed, name.rpartition("/")[0] + "/"))
        queue = [(text, "") for text in metadata.requires or ()]
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[tuple[str, str]] = set()
    while queue:
        text, extra = queue.pop()
        requirement = Requirement(text)
        if (text, extra) in seen or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
            continue
        seen.add((text, extra))
        distribution = importlib.metadata.distribution(requirement.name)
        found[canonicalize_name(requirement.name)] = distribution
        queue += [(inner, wanted) for inner in distribution.requires or () for wanted in ("", *requirement.extras)]
    return list(found.values())


def bare(wheel: Path, root: Path) -> Environment:
    """An environment with the wheel and links to what its core needs; nothing else that is installed here can be seen from it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(root)], check=True)
    environment = Environment(root)
    for distribution in needed(wheel):
        for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            (environment.site / name).symlink_to(str(distribution.locate_file(name)))
    install = ("-m", "pip", "--python", environment.python, "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    done = run([sys.executable, *install, wheel], root)
    assert done.returncode == 0, done.stderr
    return environment


def inputs(place: Path) -> tuple[Path, Path]:
    """Folders of a small base model and of a new tokenizer."""
    source, target = toys.tokenizer("byte_level"), toys.tokenizer("byte_level", 600, "both")
    save_model(toys.decoder(len(source), True), source, place / "base")
    target.save_pretrained(place / "new")
    return place / "base", place / "new"


def check(environment: Environment, place: Path) -> None:
    """List, transplant and verify in an empty folder; score says what it lacks."""
    base, new = inputs(place)
    (empty := place / "empty").mkdir()
    for what, known in (("methods", "mean "), ("resources", "donor ")):
        listed = environment.tokgraft(empty, "list", what)
        assert listed.returncode == 0 and f"\n{known}" in listed.stdout, listed.stderr
    made = environment.tokgraft(empty, "transplant", "--model", base, "--tokenizer", new, "--method", "multivariate", "--out", "adapted")
    assert made.returncode == 0, made.stderr
    verified = environment.tokgraft(empty, "verify", "adapted")
    assert (verified.returncode, verified.stdout) == (0, "1 artifacts, 0 problems\n"), verified.stderr
    scored = environment.tokgraft(empty, "score", "--model", "adapted", "--corpus", place, "--tasks", "bpb", "--out", "scores")
    assert scored.returncode == 2
    assert scored.stderr == (
        "tokgraft score: error: the Python packages datasets, lm_eval are not installed\n  -> pip install 'tokgraft[score]'\n"
    )
    ran = run([environment.python, "-c", EVERY, base, new, place / "every"], empty)
    assert ran.returncode == 0, ran.stderr
    assert {"mean", "multivariate", "hidden_state", "mean+clip"} <= {path.name for path in (place / "every").iterdir()}
    looked = environment.tokgraft(empty, "doctor")
    assert looked.returncode == 2 and "there is no folder config" in looked.stderr and "Traceback" not in looked.stderr
    assert {path.name for path in empty.iterdir()} == {"adapted"}
