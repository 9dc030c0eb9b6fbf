"""The rankings as a text for a terminal: what the console shows at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from tokgraft.cells import CellList
from tokgraft.reporting.ranking import Ranked, Ranking
from tokgraft.scoring.statistics import FEWEST

SHOWN = 12  # models of a ranking; the best with the original tokenizer is shown wherever it stands


def text(cells: CellList, found: Sequence[Ranking]) -> str:
    """One block for each ranking, the fewest bits per byte first; what keeps the original tokenizer is marked."""
    if not found:
        return "No ranking: nothing was scored in bits per byte.\n"
    return "\n".join(_block(cells, ranking) for ranking in found)


def _block(cells: CellList, ranking: Ranking) -> str:
    first = ranking.entries[0].bits
    seeds = f"{first.seeds} seed{'s' if first.seeds > 1 else ''}"
    where = f"{cells.name('models', ranking.model)} · {cells.name('languages', ranking.language)}"
    lines = [f"{where}: bits per byte of {first.n} pages ({ranking.task}, {seeds}) with 95% intervals, fewer are better"]
    shown = [(rank, entry) for rank, entry in enumerate(ranking.entries, 1) if rank <= SHOWN or entry is ranking.original]
    width = max(len(_name(entry)) for _, entry in shown)
    for rank, entry in shown:
        mark = "  <- original tokenizer" if entry.combination.keeps_tokenizer else ""
        lines.append(
            f"{rank:>4}  {_name(entry):<{width}}  {entry.bits.mean:7.3f} [{entry.bits.low:.3f}, {entry.bits.high:.3f}]  {_behind(entry)}{mark}"
        )
    if (more := len(ranking.entries) - len(shown)) > 0:
        lines.append(f"      and {more} more, in ranking.csv")
    return "\n".join(line.rstrip() for line in [*lines, _claim(ranking)]) + "\n"


def _name(entry: Ranked) -> str:
    return f"{entry.name} · {entry.combination.tokenizer}"


def _behind(entry: Ranked) -> str:
    if entry.behind is None:
        return ""
    claim = "" if entry.behind.claimed else ", not told apart" if entry.behind.enough else ", no claim"
    return f"{entry.behind.mean:+.3f} [{entry.behind.low:+.3f}, {entry.behind.high:+.3f}]{claim}"


def _claim(ranking: Ranking) -> str:
    """What the order is worth: how many are told apart from the first."""
    others = [entry for entry in ranking.entries if entry.behind is not None]
    if not others:
        return "      One model: there is nothing to rank."
    pages = ranking.entries[0].bits.n
    if pages < FEWEST:
        return f"      No order is claimed: it was measured on {pages} pages, and that takes {FEWEST}."
    apart = sum(entry.behind is not None and entry.behind.claimed for entry in others)
    if not apart:
        return "      No order can be claimed: no difference to the first excludes 0."
    rest = len(others) - apart
    others_too = f"; {rest} cannot be told apart from it" if rest else ""
    return f"      {apart} of {len(others)} are behind the first beyond their interval{others_too}."
