"""Domain seed tokens: strings that become tokens whatever their frequency (after KL3M, arXiv:2503.17247).

They are no added tokens, which are matched inside words and past the merges: the pre-tokenizer keeps a seed whole where it stands
whole, and merges lead to it. So a text without seeds is cut as if there were none, and every seed is reachable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from tokgraft.config.tokenizer import SeedSet, TokenizerRecipe
from tokgraft.errors import ConfigError
from tokgraft.tokenizers.continued import Merges, settle
from tokgraft.tokenizers.splits import MARK, quoted_class

NOT_BEFORE, NOT_AFTER = r"(?<![\p{L}\p{M}\p{N}])", r"(?![\p{L}\p{M}\p{N}])"
SETS: dict[SeedSet, tuple[str, ...]] = {
    "whitespace": (*(" " * count for count in range(2, 17)), *("\t" * count for count in range(1, 5)), "\n", "\n\n", "\r\n"),
    "years": tuple(str(year) for year in range(1776, 2051)),
    "numbers": tuple(str(number) for number in range(1, 1000)),
    "markup": (
        "##", "###", "####", "**", "__", "```", "---", "](", "[^", "<!--", "-->", "/>", "</", "<?xml", "?>", "<![CDATA[", "]]>",
        *(f"<{slash}{tag}>" for tag in ("p", "b", "i", "a", "br", "div", "span", "table", "tr", "td", "th", "ul", "ol", "li", "h1", "h2", "h3")
          for slash in ("", "/")),
        "{\"", "\":", "\",", "\"}", "\"]", "[{", "}]", "},", "&amp;", "&lt;", "&gt;", "&nbsp;",
    ),
    "enumeration": (
        *(f"({letter})" for letter in "abcdefghijklmnopqrstuvwxyz"), *(f"({number})" for number in range(1, 21)),
        *(f"({numeral})" for numeral in ("ii", "iii", "iv", "vi", "vii", "viii", "ix")),
    ),
    "citation": ("§§", "¶¶", "U.S.C.", "C.F.R.", "et al.", "e.g.", "i.e.", "et seq.", "No.", "Art.", "Abs.", "Nr.", "vgl.", "z.B.", "d.h."),
}  # fmt: skip
PATTERNS: dict[SeedSet, str] = {  # one pattern instead of hundreds of alternatives
    "years": f"{NOT_BEFORE}(?:177[6-9]|17[89][0-9]|1[89][0-9][0-9]|20[0-4][0-9]|2050){NOT_AFTER}",
    "numbers": f"{NOT_BEFORE}[1-9][0-9]{{0,2}}{NOT_AFTER}",
}


def strings(recipe: TokenizerRecipe) -> list[str]:
    """All seeds of a recipe, its own first, each once.

    Raises:
        ConfigError: A seed is empty.
    """
    if "" in recipe.seed_tokens:
        raise ConfigError("seed_tokens has an empty string", "take it out")
    return list(dict.fromkeys([*recipe.seed_tokens, *(seed for name in recipe.seed_sets for seed in SETS[name])]))


def patterns(recipe: TokenizerRecipe, marked: bool = False) -> list[str]:
    """Patterns that keep the seeds whole, longest first; with `marked`, spaces are written `▁`.

    A seed that begins or ends with a letter or digit does not match inside a longer word or number.
    """
    listed = [*recipe.seed_tokens, *(seed for name in recipe.seed_sets if name not in PATTERNS for seed in SETS[name])]
    single = [
        _alternative(seed.replace(" ", MARK) if marked else seed) for seed in sorted(set(listed), key=lambda seed: (-len(seed), seed))
    ]
    return [*single, *(PATTERNS[name] for name in ("years", "numbers") if name in recipe.seed_sets)]


def _alternative(seed: str) -> str:
    return (NOT_BEFORE if seed[0].isalnum() else "") + quoted_class(seed) + (NOT_AFTER if seed[-1].isalnum() else "")


def plant(
    alphabet: Sequence[str], merges: Sequence[tuple[str, str]], seeds: Iterable[str], symbols: Callable[[str], Sequence[str]], size: int
) -> tuple[list[str], list[tuple[str, str]]]:
    """Make room for the seeds by dropping the last merges learned, and lead merges to each of them.

    Args:
        alphabet: Tokens that are no product of a merge.
        merges: Learned merges in rank order, each with a product of its own.
        seeds: The strings that must become tokens.
        symbols: The alphabet's tokens that write a seed.
        size: How many tokens there may be, alphabet included.

    Returns:
        The products in id order, and the merges that make them.

    Raises:
        ConfigError: The seeds alone do not fit.
    """
    wanted = [list(symbols(seed)) for seed in seeds]
    kept, best = len(merges), None
    while kept >= 0:
        whole = [*merges[:kept], *_chain([*alphabet], merges[:kept], wanted)]
        products = list(dict.fromkeys(left + right for left, right in whole))  # a second merge to a token costs no id
        spare = size - len(alphabet) - len(products)
        if spare < 0 and best:
            break
        if spare >= 0:
            best = products, whole
        if spare == 0 or (spare > 0 and kept == len(merges)):
            break
        kept += 1 if spare > 0 else spare
    if best:
        return best
    raise ConfigError(f"the seed tokens need more than the {size - len(alphabet)} tokens that vocab_size leaves", "use a larger vocab_size")


def _chain(alphabet: list[str], merges: Sequence[tuple[str, str]], wanted: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    """Merges, after `merges`, that lead to every string wanted: its present segmentation is joined from the left."""
    ids: dict[str, int] = {token: number for number, token in enumerate(dict.fromkeys(alphabet))}
    names = list(ids)
    table: Merges = {}
    found: list[tuple[str, str]] = []

    def add(left: str, right: str) -> None:
        if left + right not in ids:
            ids[left + right] = len(names)
            names.append(left + right)
        table[ids[left], ids[right]] = (len(table), ids[left + right])

    for left, right in merges:
        add(left, right)
    for word in wanted:
        _join_whole([ids[symbol] for symbol in word], names, table, found, add)
    return found


def _join_whole(
    word: list[int], names: Sequence[str], table: Mapping[tuple[int, int], tuple[int, int]], found: list[tuple[str, str]],
    add: Callable[[str, str], None],
) -> None:  # fmt: skip
    while len(parts := settle(word, table)) > 1:
        left, right = names[parts[0]], names[parts[1]]
        add(left, right)
        found.append((left, right))
