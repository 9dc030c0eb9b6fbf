from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tokgraft.config.base import slugs
from tokgraft.config.model import BaseModelConfig

ROOT = Path(__file__).parents[2]


def test_examples_of_the_page_are_valid():
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "models.md").read_text(encoding="utf-8"), re.DOTALL)
    assert [BaseModelConfig.parse(yaml.safe_load(block), "docs/models.md").source.kind for block in blocks] == ["local", "hub"]


@pytest.mark.parametrize("slug", slugs("models", ROOT / "config"))
def test_every_model_file_is_valid_and_names_its_licence(slug):
    assert BaseModelConfig.load(slug, ROOT / "config").licence
