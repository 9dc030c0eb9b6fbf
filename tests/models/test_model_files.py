from __future__ import annotations

from pathlib import Path

import pytest

from tokgraft.config.base import slugs
from tokgraft.config.model import BaseModelConfig

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("slug", slugs("models", ROOT / "config"))
def test_every_model_file_is_valid_and_names_its_licence(slug):
    assert BaseModelConfig.load(slug, ROOT / "config").licence
