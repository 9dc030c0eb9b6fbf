"""What the pages of the documentation show exists: commands, flags, names, files, keys, links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.docs.pages import FOLDERS, PAGES, ROOT, Block, blocks, check_command, commands, parser, parsers, problems, read, written


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.name)
def test_a_block_shows_what_exists(block: Block) -> None:
    assert problems(block) == []


@pytest.mark.parametrize(
    ("fence", "code", "said"),
    [
        ("```bash", "tokgraft transplant --model M --tokenizer T --metod mean --out O", "cannot be parsed"),
        ("```bash", "tokgraft transplant --model M --tokenizer T --method meen --out O", "no method 'meen'"),
        ("```bash", "tokgraft train --model M --corpus C --recipe lapt-2gb --out O", "no recipe 'lapt-2gb'"),
        ("```bash", "tokgraft run smok", "no experiment 'smok'"),
        ("```bash", "tokgraft corpus --language deu_Grek --out O", "no language 'deu_Grek'"),
        ("```bash", "make dmo", "no target dmo"),
        ("```bash", "make run CONFG=config/config.yaml", "no variable CONFG"),
        ("```bash", "snakemake --configfil config/config.yaml", "no flag --configfil"),
        ("```bash", "snakemake --configfile config/experiments/smok.yaml", "there is no config/experiments/smok.yaml"),
        ("```bash", "tokgrfat list methods", "neither ours"),
        ("```python", "from tokgraft.models.io import load_modl", "load_modl"),
        ("```python", "print(", "SyntaxError"),
        ("```yaml", "trainer: bpe", "which file it is"),
        ("```yaml", "# config/recipes/x.yaml\ndescription: x\nstagse: []", "stagse"),
        ("```yaml", "# profiles/slurm/config.yaml\nset-resources: {train_contineu: {gpu: 1}}", "train_contineu"),
        ("```", "anything", "no language"),
        ("<!-- not rn: because -->\n```bash", "make demo", "unknown comment"),
        ("<!-- run by: tests/methods/test_gide.py -->\n```bash", "make demo", "does not exist"),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_found(fence: str, code: str, said: str) -> None:
    (block,) = read(f"Text.\n\n{fence}\n{code}\n```\n", "docs/invented.md")
    assert said in " ".join(problems(block))


def test_no_block_is_overlooked() -> None:
    """Fences that are indented or not closed would be."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert text.count("```") == 2 * len(read(text, page.name)), page


def test_the_examples_of_help_can_be_typed() -> None:
    epilogs = [str(inner.epilog).partition("\n")[2] for _, inner in parsers(parser()) if inner.epilog]
    lines = [line for epilog in epilogs for line in commands(epilog) if line.startswith("tokgraft ")]
    assert len(lines) > 40
    placeholders = {"mine"}  # an experiment of the reader's own
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        assert [problem for problem in check_command(words) if not any(word in problem for word in placeholders)] == [], line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_commands_and_links_in_the_text_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    wrong = []
    for span in re.findall(r"`([^`\n]+)`", text):
        if span.startswith(FOLDERS) and not re.search(r"[<>*{}\s]|\.\.\.", span):
            path = span.partition("::")[0].rstrip("/")
            if not (ROOT / path).exists() and path not in written() and not (ROOT / f"{path}.py").exists():
                wrong.append(f"there is no {span}")
        elif span.startswith("tokgraft "):
            wrong += _unknown_flags(span)
        elif span.startswith("make "):
            target = span.split()[1]
            if not re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE):
                wrong.append(f"there is no target {target}")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / path) if path else page
        if not file.exists():
            wrong.append(f"there is no {target}")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            wrong.append(f"there is no heading #{anchor} in {path or page.name}")
    assert wrong == []


def anchors(page: Path) -> set[str]:
    """The anchors that a forge makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _unknown_flags(span: str) -> list[str]:
    """Commands and flags of an inline `tokgraft ...` that do not exist; values may be left out there."""
    words = span.split()[1:]
    known = dict(parsers(parser()))
    command = tuple(words[:2]) if tuple(words[:2]) in known else tuple(words[:1])
    if command not in known and not words[0].startswith(("-", "<", "...")):
        return [f"`{span}`: there is no command {words[0]}"]
    flags = {flag for action in known.get(command, parser())._actions for flag in action.option_strings}
    if words[0] == "run":  # the flags behind the experiment are those of Snakemake
        return []
    return [f"`{span}`: no flag {word}" for word in words if word.startswith("--") and word.partition("=")[0].rstrip(",") not in flags]
