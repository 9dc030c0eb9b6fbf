"""Saved views of the MLflow UI: which runs are shown, in which order, with which columns and charts.

The UI shows a table without a metric, orders it by date and draws ten runs, whatever they are. A view that is saved with the experiment is
opened by a short address, and holds whichever runs are current then. The UI keeps its own in the same way (button "Share"): a tag
of the experiment, `mlflow.sharedViewState.<key>`, that holds JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

TAG = "mlflow.sharedViewState."
PARAMETERS = ("model", "language", "tokenizer", "method", "recipe", "seed")
METRICS = ("bits_per_byte", "init_bits_per_byte", "bits_per_byte_english", "init_bits_per_byte_english")
CURVES = ("curve/val_bpb", "curve/val_bpb_english")


@dataclass(frozen=True)
class View:
    """A view of an experiment.

    Attributes:
        key: Its name in an address.
        conditions: What a run has to meet, in MLflow's search language.
        fixed: Parameters that are the same for all its runs, and get no column.
    """

    key: str
    conditions: tuple[str, ...]
    fixed: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """The tag of the experiment that holds it."""
        return f"{TAG}{self.key}"

    def state(self) -> str:
        """Value of the tag."""
        columns = [_name("params", name) for name in PARAMETERS if name not in self.fixed] + [_name("metrics", name) for name in METRICS]
        sections = [{"uuid": name, "name": name, "display": True, "isReordered": False} for name in ("Bits per byte", "Training")]
        charts = [*(_bars(name, "Bits per byte") for name in METRICS), *(_line(name, "Training") for name in CURVES)]
        return json.dumps(
            {
                "searchFilter": " and ".join(self.conditions), "orderByKey": _name("metrics", METRICS[0]), "orderByAsc": True,
                "selectedColumns": columns, "runsHiddenMode": "SHOW_ALL", "compareRunCharts": charts, "compareRunSections": sections,
            },
            separators=(",", ":"),
        )  # fmt: skip


def _name(kind: str, name: str) -> str:
    """A parameter, metric or tag as the UI names its column."""
    return f"{kind}.`{name}`"


def equal(kind: str, **values: str) -> Iterable[str]:
    """Conditions that params or tags have these values."""
    return (f"{_name(kind, name)} = '{value}'" for name, value in values.items())


def _card(kind: str, name: str, section: str) -> dict[str, Any]:
    return {"uuid": f"{kind}-{name}", "type": kind, "metricKey": name, "metricSectionId": section, "deleted": False, "isGenerated": False}


def _bars(name: str, section: str) -> dict[str, Any]:
    return _card("BAR", name, section)


def _line(name: str, section: str) -> dict[str, Any]:
    return {**_card("LINE", name, section), "selectedMetricKeys": [name], "xAxisKey": "step"}
