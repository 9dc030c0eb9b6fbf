"""Which base a resource was made for: kept beside its other facts, and given to the methods, which compare it with the base they treat."""

from __future__ import annotations

import json
from pathlib import Path

from tokgraft.vocab import Vocabulary

FACTS = "resource.json"
SOURCE = "source_vocabulary"


def source_facts(vocabulary: Vocabulary) -> dict[str, str]:
    """What a resource's facts say of the base's vocabulary."""
    return {SOURCE: vocabulary.text_fingerprint}


def read_source(folder: Path) -> str:
    """The fingerprint that `source_facts` put there."""
    return str(json.loads((folder / FACTS).read_text(encoding="utf-8"))[SOURCE])
