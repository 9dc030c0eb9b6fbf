"""The data card: what a corpus is made of, what was removed and why, and what it is not."""

from __future__ import annotations

from typing import Any

from tokgraft.config.language import CorpusSettings


def card(settings: CorpusSettings, sources: list[dict[str, Any]], steps: list[dict[str, Any]], facts: dict[str, Any]) -> dict[str, Any]:
    """The card as JSON values.

    Args:
        settings: Of the corpus.
        sources: Facts of each source.
        steps: The ledger.
        facts: What the stage measured: splits, overlap, histograms, replaced personal data.
    """
    language = settings.language
    licences = sorted({source["licence"] for source in sources if source["licence"]})
    return {
        "id": settings.slug,
        "name": language.name,
        "language": {"bcp47": language.bcp47, "iso639_3": language.iso639_3, "script": language.script},
        "variant": f"of {language.parent}" if language.parent else "native",
        "sources": sources,
        "licence": language.licence or "; ".join(licences) or "not stated",
        "register": sorted({source["register"] for source in sources}),
        "before": {unit: sum(step[unit]["in"] for step in steps[:1]) for unit in ("pages", "paragraphs", "bytes")},
        "after": {unit: steps[-1][unit]["kept"] for unit in ("pages", "paragraphs", "bytes")},
        **facts,
    }


def as_markdown(card: dict[str, Any], steps: list[dict[str, Any]]) -> str:
    """The card for people."""
    language = card["language"]
    lines = [
        f"# {card['id']}: {card['name']}",
        "",
        f"{language['bcp47']} · {language['iso639_3']} · {language['script']} · {card['variant']} · licence: {card['licence']}",
        "",
        "## Sources",
        "",
        *(f"- {', '.join(f'{key} {value}' for key, value in source.items() if value not in ('', None))}" for source in card["sources"]),
        "",
        "## Splits",
        "",
        "| split | pages | paragraphs | bytes | pairs with English |",
        "|---|---:|---:|---:|---:|",
        *(f"| {name} | {split['pages']:,} | {split['paragraphs']:,} | {split['bytes']:,} | {card['pairs'][name]:,} |"
          for name, split in card["splits"].items()),
        "",
        "Paragraphs that two splits share (equal, or nearly: Jaccard similarity of at least .7), counted on the written files: "
        + ", ".join(f"{name.replace('_', ' ')} {sum(counts.values())}" for name, counts in card["overlap"].items()) + ".",
        "",
        "## What was dropped, and why",
        "",
        "| step | reason | pages | paragraphs | bytes |",
        "|---|---|---:|---:|---:|",
        *_drop_rows(steps),
        "",
        "## More",
        "",
        f"- Personal data replaced: {_listing(card['personal_data_replaced'])}.",
        f"- Distinct paragraphs after cleaning: {card['distinct']['paragraphs']:,} ({card['distinct']['bytes']:,} bytes).",
        *([f"- Share of paragraphs left untranslated in the source: {card['untranslated_share']:.2f}."]
          if card["untranslated_share"] is not None else []),
        f"- Pages by probability of the language (lower end of the bin): {_listing(card['language_id']['probability'])}.",
        f"- Pages in another language: {_listing(card['language_id']['other'])}.",
        f"- Clusters of repeated pages, by size: {_listing(card['duplicate_clusters'])}.",
        *([f"- Page components: {card['components']['components']:,}, the largest with {card['components']['largest']:,} pages."]
          if card["components"] else ["- Split as the English help pages are."]),
        f"- Register: {'; '.join(card['register'])}. Numbers measured on this text hold for it, not for the language at large.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _drop_rows(steps: list[dict[str, Any]]) -> list[str]:
    rows = []
    for step in steps:
        units = [step[unit]["dropped"] for unit in ("pages", "paragraphs", "bytes")]
        for reason in sorted(set().union(*units)):
            counts = " | ".join(f"{unit.get(reason, 0):,}" for unit in units)
            rows.append(f"| {step['step']} | {reason} | {counts} |")
    return rows or ["| - | nothing | 0 | 0 | 0 |"]


def _listing(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"
