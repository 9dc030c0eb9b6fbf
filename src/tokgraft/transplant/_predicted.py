"""Which tokens an adapted model predicts most on text of its language, beside how often the text has them.

A row that comes through another model can be crafted so that it is predicted everywhere, although its length is usual (arXiv:2601.00065);
rows also come out so by accident. That shows in predictions, and in nothing that looks at rows alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokgraft import documents
from tokgraft.logs import log

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SHOWN = 5  # tokens that are told of
SHARE = 0.05  # of the positions, from which a made row is suspect ...
TIMES = 10  # ... where its token is predicted so many times as often as the text has it

OPERATIONS = 2e11  # of the forward passes: less than three seconds of one core
POSITIONS = (256, 4096)  # at least and at most, however large or small the model
PAGE = 128  # positions of one page: no few pages decide alone


@dataclass(frozen=True)
class Predicted:
    """A token that is the most likely one at many positions.

    Attributes:
        id: Its id.
        token: Its text.
        share: Share of the positions at which it is the most likely token. Two digits: a near tie, which another processor may decide
            otherwise, does not show.
        frequency: Share of the positions at which it stands.
        suspect: Whether its row was made and not copied, and it is predicted far more often than the text has it.
    """

    id: int
    token: str
    share: float
    frequency: float
    suspect: bool

    def facts(self) -> dict[str, Any]:
        """As it stands in transplant.json."""
        return asdict(self)


def most_predicted(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, corpus: Path, made: Iterable[int]) -> list[Predicted]:
    """The tokens that a causal model predicts most on dev pages, and every suspect one; none for models that do not predict the next token.

    Args:
        model: The adapted model.
        tokenizer: Its tokenizer.
        corpus: A corpus artifact of its language.
        made: Ids whose rows were made and not copied.

    Raises:
        DataError: The corpus has no dev pages.
    """
    from tokgraft.models.kinds import predicts_next

    if not predicts_next(model):
        return []
    path = documents.pages_file(corpus, "dev")
    texts = (page.text for page in documents.pages(path))
    predicted, there = _counted(model, _windows(tokenizer, texts, _positions(model)))
    if not (total := there.total()):
        log.warning("%s has no text: which tokens the model predicts most is not known", path)
        return []
    new = set(made)
    found = [
        _judged(number, tokenizer.decode([number]), predicted[number] / total, there[number] / total, number in new) for number in predicted
    ]
    found.sort(key=lambda one: (-one.share, one.id))
    return [one for place, one in enumerate(found) if one.share > 0 and (place < SHOWN or one.suspect)]


def warn(found: Iterable[Predicted], method: str) -> None:
    """Say of each suspect token what was seen, and what it may mean."""
    for one in found:
        if one.suspect:
            log.warning(
                "%s made the row of %r (id %d), and the model now predicts it at %.0f%% of dev positions, where the text has it at %.2g%%: "
                "look at the row before you use the model untrained, and trust its donor or resource only if you know where it comes from",
                method, one.token, one.id, 100 * one.share, 100 * one.frequency,
            )  # fmt: skip


def _judged(number: int, token: str, share: float, frequency: float, made: bool) -> Predicted:
    suspect = made and share >= SHARE and share >= TIMES * frequency
    return Predicted(number, token, round(share, 2), float(f"{frequency:.3g}"), suspect)


def _positions(model: PreTrainedModel) -> int:
    """How much text a model of its size is run on: two operations for each weight and position."""
    least, most = POSITIONS
    return max(least, min(most, int(OPERATIONS / (2 * model.num_parameters()))))


def _windows(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], positions: int) -> Iterator[tuple[list[int], list[int]]]:
    """The beginning of each text as what is given and what is to be predicted, until there are so many positions."""
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    for text in texts:
        ids = [] if start is None else [int(start)]
        ids += tokenizer.encode(text, add_special_tokens=False)[: min(PAGE, positions)]
        if len(ids) > 1:
            yield ids[:-1], ids[1:]
            positions -= len(ids) - 1
        if positions <= 0:
            return


def _counted(model: PreTrainedModel, windows: Iterable[tuple[list[int], list[int]]]) -> tuple[Counter[int], Counter[int]]:
    """How often each token is the most likely one, and how often it stands there."""
    import torch

    predicted: Counter[int] = Counter()
    there: Counter[int] = Counter()
    with torch.no_grad():
        for given, expected in windows:
            logits = model(input_ids=torch.tensor([given]), use_cache=False).logits[0]
            predicted.update(logits.argmax(dim=-1).tolist())
            there.update(expected)
    return predicted, there
