"""`dvc.yaml`: one stage per stored artifact, its folder as only output. What depends on what is Snakemake's to know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tokgraft.cells import CellList
from tokgraft.config import layout
from tokgraft.errors import unknown
from tokgraft.store import StoreError
from tokgraft.store.paths import below_results
from tokgraft.store.records import Record

DVC_YAML, DVC_LOCK = Path("dvc.yaml"), Path("dvc.lock")
METRICS = Path("metrics.json")
HEADER = """# Written by `tokgraft push` (make push); change the experiment, not this file. Commit it with dvc.lock, snakemake.lock and metrics.json.
# Stages store outputs and name no dependencies: Snakemake owns the graph, DVC owns the bytes (docs/artifacts.md).
"""


@dataclass(frozen=True)
class Choice:
    """Which artifacts to pull: those that have every value named here; all when none is.

    A folder chooses the artifacts in it. An artifact that has no language (a base model) is not chosen by a language.
    """

    kind: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    tokenizer: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    def of(self, stored: Mapping[str, str]) -> dict[str, str]:
        """Those of the stored artifacts (stage -> path) that are chosen.

        Raises:
            ConfigError: A kind that there is not; a value or a folder that no stored artifact has.
            StoreError: Something is chosen, and nothing is stored.
        """
        for kind in self.kind:
            if kind not in layout.KINDS:
                raise unknown("stage", kind, layout.KINDS, "--stage")
        if not stored and self != Choice():
            raise StoreError(f"there is no {DVC_YAML} here: nothing is stored", "make push after a run, or check out a commit that has one")
        facts = {name: {**layout.facts(path), "kind": name.partition("@")[0]} for name, path in stored.items()}
        wanted = {field: values for field, values in vars(self).items() if values and field != "folders"}
        for field, values in wanted.items():
            known = {fact[field] for fact in facts.values() if field in fact}
            for value in values:
                if value not in known:
                    raise unknown("stage" if field == "kind" else field, value, known, str(DVC_YAML))
        folders = [folder.rstrip("/").removesuffix("/manifest.json") for folder in self.folders]
        for folder in folders:
            if not any(_within(path, folder) for path in stored.values()):
                raise unknown("artifact", folder, stored.values(), "dvc.yaml")
        return {
            name: path
            for name, path in stored.items()
            if all(facts[name].get(field) in values for field, values in wanted.items())
            and (not folders or any(_within(path, folder) for folder in folders))
        }


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def stage_name(path: str) -> str:
    """Stage of an artifact: `corpora@deu_Latn`, `models@pocket.deu_Latn.bpe8k.focus.s0.init`, `tables@demo`, `lists@demo.cells.json`."""
    kind, *parts = layout.parts(path)
    if kind != layout.EXPERIMENTS:
        return f"{kind}@{'.'.join(parts)}"
    experiment = parts[0]
    return f"{layout.TABLES}@{experiment}" if path == layout.tables(experiment) else f"{layout.LISTS}@{'.'.join(parts)}"


def output(path: str) -> str:
    """The file that Snakemake knows an artifact by: its manifest, or the file itself."""
    return path if _is_list(path) else layout.manifest(path)


def artifact(name: str) -> str:
    """The artifact that one of Snakemake's outputs belongs to: its folder, or the file itself."""
    return name if _is_list(name) else name.rpartition("/")[0]


def _is_list(path: str) -> bool:
    """Whether a path is one of the single files of an experiment."""
    kind, *parts = layout.parts(path)
    return kind == layout.EXPERIMENTS and path in {place(parts[0]) for place in (layout.cells, layout.checked, layout.published)}


def wanted(cells: CellList, records: Mapping[str, Record]) -> list[str]:
    """Every artifact of an experiment: what its cells name, the tables, and all that these were made from.

    Args:
        cells: The cells of the experiment.
        records: Snakemake's records of the outputs.
    """
    named = [str(folder) for cell in cells.cells for folder in vars(cell.paths).values() if folder is not None]
    found: set[str] = set()
    queue = [*named, *(place(cells.experiment) for place in (layout.tables, layout.cells, layout.checked))]
    while queue:
        path = queue.pop()
        if path not in found:
            found.add(path)
            record = records.get(output(path))
            made = record.metadata["input"] if record else []
            queue += [artifact(name) for name in made if name.startswith(f"{layout.RESULTS}/")]
    return sorted(found)


def stored(root: Path) -> dict[str, str]:
    """Stage -> path of every artifact that dvc.yaml names.

    Raises:
        StoreError: dvc.yaml is damaged, was not written by tokgraft, or names what is no artifact.
    """
    try:
        data = yaml.load((root / DVC_YAML).read_text(encoding="utf-8"), Loader=_Loader) or {}
        groups: dict[str, dict[str, Any]] = data.get("stages") or {}
        found = {f"{group}@{item}": path for group, stage in groups.items() for item, path in stage["foreach"].items()}
        # Whatever else DVC would take from the file (another output, a working directory, variables) is refused.
        strange = data.keys() - {"stages", "metrics", "plots"} or {
            group for group, stage in groups.items() if stage != _stage(group, stage["foreach"])
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{root / DVC_YAML} cannot be read: {error!r}", "take it from git again: git checkout dvc.yaml") from None
    for path in found.values():
        below_results(root, path, str(DVC_YAML))
    strange |= {name for name, path in found.items() if stage_name(path) != name}
    if strange:
        raise StoreError(
            f"{root / DVC_YAML} was not written by tokgraft: {', '.join(sorted(map(str, strange))[:3])}",
            "do not trust it: take one from a commit that you know, or delete it and push again",
        )
    return found


def write(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Write dvc.yaml for these artifacts; stage -> path."""
    names = {stage_name(path): path for path in sorted(paths)}
    groups: dict[str, dict[str, str]] = {}
    for name, path in sorted(names.items()):
        group, _, item = name.partition("@")
        groups.setdefault(group, {})[item] = path
    data: dict[str, Any] = {"stages": {group: _stage(group, items) for group, items in groups.items()}}
    if (root / METRICS).is_file():
        data["metrics"] = [METRICS.as_posix()]
    if tables := {item: path for name, path in names.items() for group, _, item in [name.partition("@")] if group == layout.TABLES}:
        axes = {"x": "bytes", "y": "val_bpb", "x_label": "bytes of training text", "y_label": "bits per byte (validation)"}
        data["plots"] = [{f"{path}/curves.csv": {**axes, "title": f"Learning curves of {name}"}} for name, path in tables.items()]
    text = HEADER + yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=200)
    (root / DVC_YAML).write_text(text, encoding="utf-8")
    return names


def _stage(group: str, items: dict[str, str]) -> dict[str, Any]:
    command = "snakemake ${item}" if group == layout.LISTS else "snakemake ${item}/manifest.json"
    return {"foreach": items, "do": {"cmd": command, "outs": [{"${item}": {"persist": True}}]}}


# The C implementations are ten times as fast; they are not in every build of PyYAML.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
