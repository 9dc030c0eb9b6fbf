"""A folder in which the commands of the documentation run as they are printed, in seconds: its files have the pages' names and small contents.

Recipes, languages and base models keep their names; sizes are small, and sources that would be downloaded are text of our own.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import yaml

import toys
from tests.docs.pages import ROOT
from tokgraft.cli import main
from tokgraft.models.io import load_model, load_tokenizer, save_model
from toycorpora import invented

SMALL_RECIPE = yaml.safe_load((ROOT / "config/recipes/smoke.yaml").read_text()) | {
    "sequence_length": 32,
    "validations": 1,
    "checkpoints": 1,
}
SMALL_RECIPE["stages"] = [stage | {"bytes": 4000} for stage in SMALL_RECIPE["stages"]]
# The first of thirty letters in a row, of scripts whose languages the pages prepare.
LETTERS = {"Grek": 0x3B1, "Hang": 0xAC00, "Khmr": 0x1780}


def configure(root: Path) -> None:
    """The project's configuration with small sizes, and texts of our own where it names sources to be downloaded."""
    shutil.copytree(ROOT / "config", root / "config", dirs_exist_ok=True)
    (root / "data/swiss_german").mkdir(parents=True)
    _texts(root)
    for path in (root / "config").glob("*/*.yaml"):
        path.write_text(yaml.safe_dump(shrink(yaml.safe_load(path.read_text()), path.parent.name)))


def create(root: Path) -> Path:
    """Configuration, corpora, models and tokenizers under the names that the pages give them."""
    configure(root)
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/activate").touch()
    _models(root)
    with contextlib.chdir(root):
        assert main(["model", "--model", "smollm2-135m", "--out", "results/models/smollm2-135m/base"]) == 0
        for slug in ("eng_Latn", "deu_Latn", "ell_Grek", "ekk_Latn", "gsw_Latn"):
            english = [] if slug == "eng_Latn" else ["--english", "results/corpora/eng_Latn"]
            assert main(["corpus", "--language", slug, *english, "--out", f"results/corpora/{slug}"]) == 0
    (root / "CORPUS").symlink_to(root / "results/corpora/deu_Latn")
    return root


def shrink(settings: dict[str, Any], folder: str) -> dict[str, Any]:
    """The settings of a configuration file with small sizes, and nothing to download."""
    small = dict(settings)
    if folder == "tokenizers":
        small |= {key: 640 for key in ("vocab_size",) if key in settings} | {key: 64 for key in ("new_tokens",) if key in settings}
    elif folder == "recipes":
        small = SMALL_RECIPE
    elif folder == "languages":
        local = [source for source in settings["sources"] if source["kind"] == "local"]
        script = settings["script"] if settings["script"] in LETTERS else "Latn"
        small |= {"sources": local or [{"kind": "local", "path": f"data/{script}"}], "lid": [], "hub_tasks": []}
    elif folder == "models":
        source = settings["source"]
        scratch = source["kind"] == "scratch"
        size = {"layers": 1, "hidden": 32, "heads": 2, "intermediate": 64}
        small |= {"source": source | size if scratch else {"kind": "local", "path": "my-model"}}
    return small


def _texts(root: Path) -> None:
    """Sources of corpora: lines of made-up words as .txt, and the same under the key `body`."""
    lines = invented(300, seed=7)
    pages = ["\n".join(lines[at : at + 3]) for at in range(0, len(lines), 3)]
    for script in ("Latn", *LETTERS):
        (root / "data" / script).mkdir()
        for number, page in enumerate(pages):
            (root / "data" / script / f"{number}.txt").write_text(_in_script(page, script))
    (root / "data/swiss_german/pages.jsonl").write_text("".join(json.dumps({"body": page}) + "\n" for page in pages))
    (root / "data/gsw_Latn").symlink_to("Latn")
    language = {
        "name": "Big", "bcp47": "et", "iso639_3": "ekk", "script": "Latn", "lid": [], "shards": 2,
        "sources": [{"kind": "local", "path": "data/Latn"}],
    }  # fmt: skip
    (root / "big.yaml").write_text(yaml.safe_dump(language))


def _in_script(text: str, script: str) -> str:
    """The text with other letters."""
    return text if script == "Latn" else "".join(chr(LETTERS[script] + ord(one) % 30) if one.isalpha() else one for one in text)


def base_model(place: Path) -> None:
    """A base model with the special tokens of chats."""
    tokenizer = deepcopy(toys.tokenizer("byte_level"))  # that one is shared by all tests
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    save_model(_decoder(len(tokenizer)), tokenizer, place)


def _decoder(rows: int) -> Any:
    model = toys.decoder(rows, False)
    model.config.max_position_embeddings = 2048
    return model


def _models(root: Path) -> None:
    for place in ("my-model", "BASE", "results/models/pocket/base"):
        base_model(root / place)
    sibling = load_model(root / "BASE")
    with torch.no_grad():
        for weight in sibling.parameters():
            weight.mul_(1.001)
    save_model(sibling, load_tokenizer(root / "BASE"), root / "INSTRUCT")
    target = deepcopy(toys.tokenizer("byte_level", 640, "german"))
    target.add_special_tokens({"additional_special_tokens": ["<think>", "</think>", "<|unused_0|>"]})
    target.save_pretrained(root / "TOKENIZER")
    for place in ("init", "my/model", "results/models/pocket/deu_Latn/bpe8k/mean/s0/init"):
        save_model(_decoder(len(target)), target, root / place)
