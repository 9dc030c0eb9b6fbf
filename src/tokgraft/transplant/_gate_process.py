"""The other side of the gate: loads a model folder with plain transformers and says what is not as it must be."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

from tokgraft.garbage import rarely_collected
from tokgraft.models.ids import listed
from tokgraft.models.tokenizer_io import has_code
from tokgraft.tokenizers.templates import CHATS, SETTINGS, TOOL

SIZE = "vocab_size"  # how a key of a config begins when it is the size of the text's vocabulary, or of a part of it


class Failure(Exception):
    """What is wrong, of which kind ("tokenizer" or "model"), and what to do."""


def serve() -> None:
    """Answer requests (`_gate.Expected` as a JSON line) until there are no more. What libraries print goes to the error stream."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer, PreTrainedTokenizerFast  # noqa: F401
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_grad_enabled(False)
    for line in sys.stdin.buffer:
        answers.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")
        answers.flush()
        gc.collect()


@rarely_collected()
def _answer(expected: dict[str, Any]) -> dict[str, Any]:
    from tokenizers import Tokenizer

    notes: list[str] = []
    with ThreadPoolExecutor(max_workers=1) as pool:
        loading = pool.submit(_load, expected)  # reading weights and parsing a tokenizer hardly hinder each other
        try:
            plain = Tokenizer.from_file(str(Path(expected["folder"]) / "tokenizer.json"))
            ids: dict[str, int] = plain.get_vocab(with_added_tokens=True)
            facts = {**_tokenizer(plain, expected, notes), "highest_id": max(ids.values()), **_model(loading.result(), ids, expected)}
        except Failure as failure:
            return {"error": list(failure.args), "notes": notes, "facts": {}}
        except Exception as error:
            what = f"what was written cannot be looked at: {_line(error)}"
            return {"error": ["model", what, "please report it"], "notes": notes, "facts": {}}
    return {"error": None, "notes": notes, "facts": facts}


def _tokenizer(plain: Any, expected: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Compare `AutoTokenizer` with `plain`, which is what tokenizer.json says."""
    from transformers import AutoTokenizer

    folder = expected["folder"]
    plain.no_padding()
    plain.no_truncation()
    trust = expected["trust_remote_code"] and has_code(Path(folder))
    try:
        loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust)
    except Exception as error:
        raise Failure("tokenizer", f"AutoTokenizer cannot load what was written: {_line(error)}", "please report it") from error
    chats = sorted(set(_rendered(loaded, notes)))
    for special, texts in ((True, expected["texts"]), (False, [*expected["texts"], *chats])):
        for text, ids in zip(texts, loaded(texts, add_special_tokens=special)["input_ids"] if texts else []):
            if ids != (right := plain.encode(text, add_special_tokens=special).ids):
                place = next((place for place, pair in enumerate(zip(ids, right)) if pair[0] != pair[1]), min(len(ids), len(right)))
                raise Failure(
                    "tokenizer",
                    f"AutoTokenizer makes a {type(loaded).__name__} of the new tokenizer, which encodes {text[:60]!r} otherwise than tokenizer.json "
                    f"says: from token {place} on {ids[place : place + 4]}, and not {right[place : place + 4]}",
                    "transformers rebuilds this tokenizer from its class: please report which model and tokenizer it was",
                )
    spelled = {
        added for chat in chats for added in expected["base_added"] if added in chat and plain.token_to_id(added) is None
    }  # fmt: skip
    if spelled:
        notes.append(
            f"the chat template writes {', '.join(sorted(spelled)[:5])}, one token each in the base: the new vocabulary spells them in pieces"
        )
    return {"texts": len(expected["texts"]), "chats": len(chats)}


def _rendered(tokenizer: Any, notes: list[str]) -> Iterator[str]:
    """What the chat templates make of short conversations."""
    templates = tokenizer.chat_template
    if not templates:
        return
    for name in templates if isinstance(templates, dict) else [None]:
        failed: list[str] = []
        for chat, tools, settings in product(CHATS, (None, [TOOL]), SETTINGS):
            more = {"chat_template": name, "add_generation_prompt": chat[-1]["role"] == "user", **settings}
            try:
                yield tokenizer.apply_chat_template(chat, tools=tools, tokenize=False, **more)
            except Exception as error:  # templates refuse what their model was not trained on, each with an error of its own
                failed.append(_line(error))
        if len(failed) == 2 * len(CHATS) * len(SETTINGS):
            notes.append(f"the chat template {name or ''} renders no conversation: {failed[0]}")


def _load(expected: dict[str, Any]) -> Any:
    """The model by its plain Auto class."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

    from tokgraft.models.kinds import kind_of

    folder = expected["folder"]
    common = {"local_files_only": True, "trust_remote_code": expected["trust_remote_code"]}
    config = AutoConfig.from_pretrained(folder, **common)
    kind = AutoModelForMaskedLM if kind_of(Path(folder), config) == "masked" else AutoModelForCausalLM
    try:
        model, report = kind.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **common)
    except Exception as error:
        raise Failure("model", f"{kind.__name__} cannot load what was written: {_line(error)}", "please report it") from error
    for name in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found := sorted(map(str, report.get(name) or ())):
            raise Failure(
                "model", f"{kind.__name__} finds {len(found)} {name.replace('_', ' ')}, among them {found[0]}", "please report it"
            )
    return model.eval()


def _model(model: Any, ids: dict[str, int], expected: dict[str, Any]) -> dict[str, Any]:
    """Look at the model's sizes, and compare its logits with the base's. `ids`: id of each token of the new vocabulary."""
    rows = model.get_input_embeddings().weight.shape[0]
    outside = sorted((number, token) for token, number in ids.items() if number >= rows)
    if outside:
        number, token = outside[0]
        raise Failure(
            "tokenizer", f"{len(outside)} tokens have no row, among them {token!r} (id {number} of {rows} rows)", "please report it"
        )
    _token_ids(model, expected["token_ids"])
    _sizes(model, set(expected["old_sizes"]))
    return {"columns": _logits(model, expected, rows)}


def _token_ids(model: Any, expected: dict[str, Any]) -> None:
    """Every entry that names tokens must say what was decided, after it was written and read."""
    for where, value in expected.items():
        name, *keys = where.split(".")
        found = getattr(model, name)
        for key in keys:
            found = getattr(found, key, None)
        if (found := json.loads(json.dumps(listed(found)))) != value:
            raise Failure("model", f"{where} is {found} in the written folder, and not {value}", "please report it")


def _sizes(model: Any, old: set[int]) -> None:
    """No parameter may have the size of the old vocabulary, unless that is also another size of the model."""
    sizes = dict(numbers(model.config.to_dict()))
    other = {number for name, numbers in sizes.items() if not name.startswith(SIZE) for number in numbers}
    new = model.get_input_embeddings().weight.shape[0]
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if left := set(tensor.shape) & old - other - {new}:
            raise Failure(
                "model",
                f"{type(model).__name__} has a second table that is indexed by tokens: {name} is still {tuple(tensor.shape)}, of the old "
                f"vocabulary of {left.pop()}",
                "tokgraft cannot make its rows yet: take a base without it",
            )


def numbers(config: Any) -> Iterator[tuple[str, set[int]]]:
    """Every key of a config, nested ones too, with the integers that stand under it."""
    found: dict[str, set[int]] = {}
    queue = [("", config)]
    while queue:
        key, value = queue.pop()
        if isinstance(value, dict):
            queue += value.items()
        elif isinstance(value, (list, tuple)):
            queue += [(key, one) for one in value]
        elif type(value) is int:
            found.setdefault(str(key), set()).add(value)
    yield from found.items()


def _logits(model: Any, expected: dict[str, Any], rows: int) -> int:
    """How many columns were compared."""
    import numpy as np
    import torch

    ids = expected["ids"] or [min(3, rows - 1)] * 2
    logits = model(input_ids=torch.tensor([ids])).logits[0].float()
    if logits.shape[-1] != rows or not torch.isfinite(logits).all():
        raise Failure(
            "model", f"the adapted model gives {logits.shape[-1]} logits for {rows} rows, or some that are not finite", "please report it"
        )
    if not expected["columns"]:
        return 0
    right = np.load(expected["logits"])
    found = logits.numpy()[:, expected["columns"]]
    apart, scale = float(np.abs(found - right).max()), float(np.abs(right).max())
    if not apart <= expected["tolerance"] * max(scale, 1e-6):
        raise Failure(
            "model",
            f"on tokens whose rows were copied the adapted {type(model).__name__} does not compute what its base computes: logits are up to "
            f"{apart:.3g} apart, the largest is {scale:.3g}. It has a part that is indexed by tokens and was not moved with them",
            "tokgraft cannot treat this kind of model: take another base",
        )
    return len(expected["columns"])


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
