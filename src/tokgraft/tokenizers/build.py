"""The tokenizer stage: train or copy, audit, measure, write the artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokgraft import artifacts, documents
from tokgraft.config.tokenizer import TokenizerRecipe
from tokgraft.errors import ConfigError, DataError, TokenizerError
from tokgraft.logs import log
from tokgraft.token_strings import vocabulary_of
from tokgraft.tokenizers import metrics, texts
from tokgraft.tokenizers.audit import CHALLENGES, audit, old_ids
from tokgraft.tokenizers.base import Base, load_base, to_tokenizer
from tokgraft.tokenizers.morphemes import PACKAGES
from tokgraft.tokenizers.padding import padded
from tokgraft.tokenizers.scripts import check_script
from tokgraft.tokenizers.trainers import TRAINERS

ENGLISH = "eng_Latn"
MOST_AUDITED = 50_000_000  # bytes of training text that go through the round trip, beside all of dev and test


def build_tokenizer(
    recipe: TokenizerRecipe, corpus: Path, out: Path, base: Path | None = None, english: Path | None = None,
    learn: Mapping[str, Path] | None = None,
) -> Path:  # fmt: skip
    """Make a tokenizer artifact: Hugging Face files, `audit.json`, `metrics.json`.

    Args:
        recipe: How it is made.
        corpus: Corpus artifact of the target language; only its train split is learned from.
        out: Folder of the artifact.
        base: Model folder whose tokenizer is extended, copied, or whose special tokens, roles and chat template are kept.
        english: English corpus artifact, for the English side of the metrics.
        learn: Slug -> corpus artifact of each language in the recipe's `languages`.

    Returns:
        `out`.

    Raises:
        ConfigError, TokenizerError: The recipe cannot work here, or the result breaks a gate.
        ArtifactError, DataError: An input is missing or damaged.
    """
    corpus, out = Path(corpus), Path(out)
    learn = {slug: Path(folder) for slug, folder in (learn or {}).items()}
    inputs = (
        {"corpus": corpus}
        | {f"learn_{slug}": folder for slug, folder in learn.items()}
        | ({"base": Path(base)} if base else {})
        | ({"english": Path(english)} if english else {})
    )
    begun = artifacts.begin(out, "tokenizer", inputs)
    trainer = TRAINERS.get(recipe.trainer, "trainer:")
    facts = documents.about(corpus)
    old = load_base(base) if base is not None else None
    trainer.check(recipe, old)
    _check_languages(recipe, learn)
    settings = {"recipe": recipe.canonical()}
    libraries = ("tokenizers", "regex", *((PACKAGES[recipe.morphemes][0],) if recipe.morphemes else ()))
    with artifacts.create(out, "tokenizer", settings, begun, libraries=libraries) as folder:
        train = _training_text(recipe, corpus, facts.slug, learn, trainer.own)
        log.info("%s: %d paragraphs, %d bytes", recipe.trainer, len(train), sum(len(text.encode()) for text in train))
        other = {"english": texts.paragraphs(Path(english), "train", recipe.max_train_bytes)} if trainer.english and english else {}
        files = trainer.train(train, recipe, old, **other)
        for name, content in (padded(files, recipe.pad_to) if recipe.pad_to else files).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        held_out = [*texts.paragraphs(corpus, "dev"), *texts.paragraphs(corpus, "test")]
        checked = [*held_out, *texts.paragraphs(corpus, "train", min(recipe.max_train_bytes, MOST_AUDITED))]
        enforced = trainer.own and not trainer.naive(recipe)
        report = audit(folder, checked, old, trainer.extends, trainer.own, trainer.descends, enforced)
        if trainer.descends and old is not None:
            _write(folder / "ids.json", {"new_to_old": old_ids(load_base(folder).spec, old.spec)})
        if enforced:
            _check_loading(folder, [*CHALLENGES, *held_out[:200]])
        measured = _metrics(load_base(folder), old if trainer.own else None, corpus, facts, english, trainer.extends or trainer.descends)
        _write(folder / "audit.json", report)
        _write(folder / "metrics.json", measured)
    _summary(out, report, measured)
    return out


def _check_languages(recipe: TokenizerRecipe, learn: Mapping[str, Path]) -> None:
    """The corpora given must be those of the recipe's languages.

    Raises:
        ConfigError: One is missing or too many.
        ArtifactError: One is no whole corpus.
        DataError: One is of another language.
    """
    if missing := sorted(set(recipe.corpora) ^ set(learn)):
        raise ConfigError(
            f"the recipe learns from {', '.join(recipe.corpora) or 'the target language alone'}, given are corpora of {', '.join(learn) or 'none'}",
            f"give --learn {missing[0]}=DIR" if missing[0] in recipe.corpora else f"leave --learn {missing[0]}=... out",
        )
    for slug, folder in learn.items():
        if (found := documents.about(folder).slug) != slug:
            raise DataError(f"{folder} is the corpus of {found}, not of {slug}", "give each corpus under its own slug")


def _training_text(recipe: TokenizerRecipe, corpus: Path, slug: str, learn: Mapping[str, Path], own: bool) -> list[str]:
    """The paragraphs that the trainer reads.

    Raises:
        DataError: A corpus has none.
        TokenizerError: They are hardly in the script that the corpus' slug names.
    """
    sources = {name: texts.paragraphs(folder, "train", recipe.max_train_bytes) for name, folder in (learn or {slug: corpus}).items()}
    for name, found in sources.items():
        if not found and own:
            raise DataError(f"{learn.get(name, corpus)} has no training text", "look at its counts.json: what was dropped, and why?")
        if own:
            check_script(found, name)
    if not recipe.languages:
        return sources[slug]
    return texts.blend(sources, recipe.languages, recipe.alpha, recipe.max_train_bytes)


def _check_loading(folder: Path, samples: Sequence[str]) -> None:
    """Loading with AutoTokenizer must give the tokenizer that the file describes.

    Raises:
        TokenizerError: It encodes something differently.
    """
    from transformers import AutoTokenizer

    made = load_base(folder)
    loaded, plain = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False), to_tokenizer(made.spec)
    for text in (*samples, *(special.content for special in made.specials)):
        for special in (False, True):
            ids = loaded(text, add_special_tokens=special)["input_ids"]
            if ids != plain.encode(text, add_special_tokens=special).ids:
                raise TokenizerError(
                    f"transformers encodes {text[:80]!r} differently from tokenizer.json", "this is a defect of the trainer"
                )
    if loaded.bos_token != made.roles["bos_token"]:
        raise TokenizerError(
            f"transformers takes {loaded.bos_token} for BOS, not {made.roles['bos_token']}", "this is a defect of the trainer"
        )


def _metrics(made: Base, base: Base | None, corpus: Path, facts: documents.About, english: Path | None, grown: bool) -> dict[str, Any]:
    target = ["\n".join(page) for page in texts.pages(corpus, "test")]
    pairs = texts.pairs(corpus)
    other = ["\n".join(page) for page in texts.pages(Path(english), "test")] if english else []
    other_words = documents.about(Path(english)).words if english else "space"

    def numbers(one: Base) -> dict[str, Any]:
        tokenizer, size = to_tokenizer(one.spec), len(vocabulary_of(one.spec))
        return {
            "size": size,
            "target": metrics.measure(tokenizer, target, facts.words).ratios(size),
            "english": metrics.measure(tokenizer, other, other_words).ratios(size) if other else None,
            "parallel": metrics.premium(tokenizer, pairs),
        }

    found = {
        "language": facts.slug,
        "words": facts.words,
        **numbers(made),
        "base": None,
        "tokens_per_base_token": None,
        "english_identical": None,
    }
    if base is not None:
        found["base"] = numbers(base)
        found["tokens_per_base_token"] = round(found["target"]["tokens"] / max(found["base"]["target"]["tokens"], 1), 6)
        if grown and english:
            paragraphs = texts.paragraphs(Path(english), "test")
            found["english_identical"] = metrics.identical_share(to_tokenizer(base.spec), to_tokenizer(made.spec), paragraphs)
    return found


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _summary(out: Path, report: dict[str, Any], measured: dict[str, Any]) -> None:
    """Log a table: this tokenizer beside the base's, on the language and on English."""
    rows = [("", "tokens in vocab.", "bytes/token", "tokens/word", "words split", "premium")]
    for name, numbers in ((out.name, measured), ("base", measured["base"])):
        for side in ("target", "english"):
            if numbers and numbers[side] and not (side == "english" and measured["language"] == ENGLISH):
                label = measured["language"] if side == "target" else "English"
                premium = numbers["parallel"]["premium"] if side == "target" and numbers["parallel"] else None
                ratios = numbers[side]
                rows.append((
                    f"{name} on {label}", f"{numbers['size']:,}", f"{ratios['bytes_per_token']:.3f}", f"{ratios['fertility']:.3f}",
                    f"{ratios['continued_words']:.1%}", f"{premium:.3f}" if premium else "-",
                ))  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        log.info(
            "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths)))
        )
    reach, trip = report["reachability"], report["round_trip"]
    log.info("round trip: %d of %d texts failed · unreachable tokens: %d", trip["failed"], trip["texts"], reach["unreachable"])
    if measured["english_identical"] is not None:
        log.info("English paragraphs split as by the base: %.2f %%", 100 * measured["english_identical"])
