"""Small help packages in two languages, written here: what a real one looks like, in a hundredth of its size."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from pathlib import Path

NOUNS = {
    "en": ["table", "chart", "document", "page", "footnote", "index", "formula", "cell", "macro", "image", "frame", "toolbar", "menu",
           "style", "printer", "database", "query", "report", "paragraph", "heading"],
    "de": ["Tabelle", "Grafik", "Datei", "Seite", "Fußnote", "Liste", "Formel", "Zelle", "Vorlage", "Abbildung", "Leiste", "Zeile", "Spalte",
           "Schrift", "Kopie", "Datenbank", "Abfrage", "Ansicht", "Auswahl", "Überschrift"],
}  # fmt: skip
VERBS = {
    "en": ["delete", "insert", "rename", "copy", "move", "format", "print", "export", "protect", "sort"],
    "de": [
        "löschen",
        "einfügen",
        "umbenennen",
        "kopieren",
        "verschieben",
        "formatieren",
        "drucken",
        "exportieren",
        "schützen",
        "sortieren",
    ],
}
SENTENCES = {
    "en": ["If you want to {v} the {a}, first open the {b} and then choose the command for the {c} from the list that appears.",
           "The {a} remains unchanged until you {v} the {b}, because the program keeps every {c} in memory until you save it.",
           "Please note that you can only {v} a {a} when no other {b} is selected, otherwise the {c} would be lost without a warning."],
    "de": ["Wenn Sie die {a} {v} möchten, öffnen Sie zuerst die {b} und wählen Sie danach in der angezeigten Übersicht den Befehl für die {c}.",
           "Die {a} bleibt unverändert, bis Sie die {b} {v}, weil das Programm jede {c} bis zum Speichern im Arbeitsspeicher behält.",
           "Bitte beachten Sie, dass Sie eine {a} nur {v} können, wenn keine andere {b} markiert ist, da sonst die {c} verloren geht."],
}  # fmt: skip
HEADINGS = {"en": "About the {a} and the {b}", "de": "Über die {a} und die {b}"}
EVERYWHERE = {
    "en": "This function is available in every version of the program that has been released since the very beginning.",
    "de": "Diese Funktion steht in jeder Version des Programms zur Verfügung, die seit dem Beginn veröffentlicht wurde.",
}
PAGE = """<!DOCTYPE html><html><body><p id="outside">Not help text</p>
<div id="DisplayArea" itemprop="softwareHelp">
{blocks}
<div class="embedded"><p class="embedded" dir="auto"><a href="x.html">Related page</a></p></div>
</div>
<footer><div id="DEBUG" class="debug"><h3 class="bug">Help content debug info:</h3><p id="bm_module"></p></div></footer>
</body></html>"""


def page_blocks(number: int, language: str) -> list[tuple[str, str, str]]:
    """(tag, id, text) of a page; the same number gives the same page in every language."""
    draw = random.Random(number)
    blocks = [("h1", f"hd_{number}", HEADINGS, None)]
    blocks += [("p", f"par_{number}_{place}", SENTENCES, place % 3) for place in range(6)]
    found = []
    for tag, name, source, which in blocks:
        chosen = [draw.randrange(20) for _ in range(3)]
        verb = draw.randrange(10)
        text = source[language] if which is None else source[language][which]
        nouns = dict(zip("abc", (NOUNS[language][noun] for noun in chosen), strict=True))
        found.append((tag, name, text.format(v=VERBS[language][verb], **nouns)))
    found.append(("p", "par_everywhere", EVERYWHERE[language]))
    found.append(("p", "par_same", "OK"))  # the same in every language: an untranslated paragraph
    if number % 10 == 0:
        found.append(
            ("p", f"par_left_{number}", SENTENCES["en"][0].format(v="open", a="left", b=f"over {NOUNS['en'][number % 20]}", c="text"))
        )
    return found


def write_help(root: Path, code: str, language: str, pages: int) -> None:
    """Pages below usr/share/libreoffice/help/<code>/text, as the packages have them."""
    for number in range(pages):
        path = root / f"usr/share/libreoffice/help/{code}/text/module{number % 3}/page{number:03d}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        blocks = "\n".join(f'<{tag} id="{name}" dir="auto">{text}</{tag}>' for tag, name, text in page_blocks(number, language))
        path.write_text(PAGE.format(blocks=blocks), encoding="utf-8")


def build_package(folder: Path, name: str, version: str, content: Path) -> Path:
    """A .deb named as apt names its downloads."""
    control = content / "DEBIAN"
    control.mkdir(exist_ok=True)
    (control / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.org>\nDescription: help\n"
    )
    target = folder / f"{name}_{version.replace(':', '%3a')}_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "-b", str(content), str(target)], check=True, capture_output=True)
    return target


def write_pins(path: Path, packages: dict[tuple[str, str], str]) -> Path:
    """A table of sources: (name, version) -> hash."""
    rows = [f"{name},debian package,{version},here,{sha256},none,2026-01-01" for (name, version), sha256 in packages.items()]
    path.write_text("name,kind,version,origin,sha256,licence,date\n" + "\n".join(rows) + "\n")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Apt:
    """A real apt, pointed at folders of its own: lists, sources and archive belong to the test."""

    def __init__(self, root: Path) -> None:
        self.root, self.archive, self.published = root, root / "archive", 1000
        for name in ("state/lists/partial", "cache/archives/partial", "parts", "etc", "archive"):
            (root / name).mkdir(parents=True)
        (root / "state/status").touch()
        self.config = root / "apt.conf"
        self.config.write_text(
            f'Dir::State "{root}/state"; Dir::State::status "{root}/state/status"; Dir::Cache "{root}/cache";\n'
            f'Dir::Etc::sourcelist "{root}/etc/sources.list"; Dir::Etc::sourceparts "{root}/parts";\n'
            'Acquire::Languages "none"; APT::Sandbox::User "root"; Acquire::AllowInsecureRepositories "true";\n'
        )
        self.source(f"copy:{self.archive}")

    def source(self, address: str) -> None:
        """The only line of sources.list."""
        (self.root / "etc/sources.list").write_text(f"deb [trusted=yes] {address} ./\n")

    def publish(self, *packages: Path) -> None:
        """Put packages into the archive and write its index."""
        stanzas = []
        for package in packages:
            target = self.archive / package.name.replace("%3a", "_")
            target.write_bytes(package.read_bytes())
            control = subprocess.run(["dpkg-deb", "-f", str(package)], check=True, capture_output=True, text=True).stdout.strip()
            stanzas.append(f"{control}\nFilename: ./{target.name}\nSize: {target.stat().st_size}\nSHA256: {sha256(target)}\n")
        (self.archive / "Packages").write_text("\n".join(stanzas))
        self.published += 1
        os.utime(self.archive / "Packages", (self.published * 1_000_000,) * 2)  # a server tells a new file by its time, in whole seconds

    def update(self) -> None:
        """Refresh the lists."""
        subprocess.run(["apt-get", "update"], check=True, capture_output=True, env={**os.environ, "APT_CONFIG": str(self.config)})
