"""Is a text in the script that its language is written in? A wrong folder is found before a tokenizer is trained on it."""

from __future__ import annotations

from collections.abc import Sequence

from tokgraft.errors import TokenizerError
from tokgraft.logs import log

JOINT = {"Hans": ("Hani",), "Hant": ("Hani",), "Jpan": ("Hani", "Hira", "Kana"), "Kore": ("Hang", "Hani"), "Hang": ("Hang", "Hani")}
LEAST, ENOUGH = 0.1, 0.5
LOOKED_AT = 200_000  # characters


def check_script(texts: Sequence[str], slug: str) -> None:
    """Compare letters with the script in a corpus' slug (`ell_Grek`); slugs without a script are not judged.

    Raises:
        TokenizerError: Less than a tenth of the letters is of that script. (Between a tenth and a half there is a warning.)
    """
    import regex

    script = slug.split("_")[1] if "_" in slug else ""
    try:
        own = regex.compile("[" + "".join(rf"\p{{Script={name}}}" for name in JOINT.get(script, (script,))) + "]")
    except regex.error:
        return
    sample = "".join(texts[:: max(1, len(texts) // 2000)])[:LOOKED_AT]
    letters = regex.findall(r"\p{L}", sample)
    if not letters:
        return
    share = sum(bool(own.match(letter)) for letter in letters) / len(letters)
    if share < LEAST:
        raise TokenizerError(
            f"{share:.1%} of the letters of corpus {slug} are of script {script}", "is this the text of that language? Look at its source"
        )
    if share < ENOUGH:
        log.warning("only %.0f %% of the letters of corpus %s are of script %s", 100 * share, slug, script)
