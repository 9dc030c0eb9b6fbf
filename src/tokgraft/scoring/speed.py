"""What a measurement of speed says: repeats of two models on the same text, their spread, and the factor between them with its interval."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from tokgraft import artifacts
from tokgraft.config.base import Strict
from tokgraft.errors import DataError

KIND = "speed"
FILE = "speed.json"  # volatile: two measurements never agree in every digit
Phase = Literal["reading", "generation"]
Which = Literal["before", "after"]
Unit = Literal["bytes", "tokens"]
PHASES: tuple[Phase, ...] = ("reading", "generation")
SIDES: tuple[Which, ...] = ("before", "after")
UNITS: tuple[Unit, ...] = ("bytes", "tokens")
LEVEL = 0.95


class Timing(Strict):
    """What was read or written in one repeat, and how long it took."""

    bytes: int = Field(gt=0, description="UTF-8 bytes of text.")
    tokens: int = Field(gt=0, description="The same text in tokens of the model's vocabulary.")
    seconds: float = Field(gt=0, description="Wall time.")


class Run(Strict):
    """One model in one repeat."""

    reading: Timing = Field(description="The prompts: tokenised and run through the model (prefill).")
    generation: Timing = Field(description="The text that follows each prompt, token by token.")


class Repeat(Strict):
    """Both models on the same text, one right after the other."""

    before: Run = Field(description="The original model with its own vocabulary.")
    after: Run = Field(description="The model with the new vocabulary.")


class Alone(Strict):
    """Whether the machine did nothing else while the models were timed. What other processes used is given in cores (1.0: one core busy)."""

    alone: bool = Field(description="Whether every figure below stayed within `limit`.")
    reason: str = Field("", description="Why not; empty when it was alone.")
    before: float | None = Field(None, description="Cores that other processes used just before; null: unknown.")
    during: float | None = Field(None, description="The same while the models were timed.")
    after: float | None = Field(None, description="The same just after.")
    limit: float = Field(description="Cores that other processes may use.")
    tries: int = Field(ge=0, description="Measurements made; the last one is kept. 0: the machine never became quiet.")


class Spread(Strict):
    """Median, lowest and highest value over the repeats."""

    median: float
    low: float
    high: float


class Factor(Strict):
    """How many times as fast the model with the new vocabulary is, in bytes of text per second; with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def excludes_one(self) -> bool:
        """Whether the interval shows a difference at all."""
        return self.low > 1 or self.high < 1


class Speed(Strict):
    """The content of speed.json."""

    alone: Alone = Field(description="Whether the machine did nothing else meanwhile.")
    device: str = Field(description="cpu or cuda.")
    cores: int = Field(ge=1, description="Processor cores of the machine.")
    threads: int = Field(ge=1, description="Threads that each model computed with.")
    passages: int = Field(ge=0, description="Passages of text in one repeat.")
    repeats: list[Repeat] = Field(description="The measured repeats; none when the machine never became quiet.")

    @model_validator(mode="after")
    def _repeats_of_a_measurement(self) -> Speed:
        if self.alone.alone and len(self.repeats) < 2:
            raise ValueError("a measurement has at least two repeats")
        return self

    def factor(self, phase: Phase) -> Factor:
        """The factor between the two models in one phase."""
        before, after = (self._rates(side, phase, "bytes") for side in SIDES)
        return factor([new / old for old, new in zip(before, after, strict=True)])

    def spread(self, side: Which, phase: Phase, unit: Unit) -> Spread:
        """`unit` per second of one model over the repeats."""
        rates = self._rates(side, phase, unit)
        return Spread(median=statistics.median(rates), low=min(rates), high=max(rates))

    def _rates(self, side: Which, phase: Phase, unit: Unit) -> list[float]:
        timings: list[Timing] = [getattr(getattr(one, side), phase) for one in self.repeats]
        return [float(getattr(one, unit)) / one.seconds for one in timings]

    def summary(self) -> dict[str, Any]:
        """Every figure that follows from the repeats, for people; `read` computes them anew."""
        return {phase: self._phase(phase) for phase in PHASES} if self.repeats else {}

    def _phase(self, phase: Phase) -> dict[str, Any]:
        found: dict[str, Any] = {"factor": _rounded(self.factor(phase))}
        for side in SIDES:
            found[side] = {f"{unit}_per_second": _rounded(self.spread(side, phase, unit)) for unit in UNITS}
        return found

    def write(self, folder: Path) -> None:
        """Write speed.json."""
        content = {"summary": self.summary(), **self.model_dump()}
        (folder / FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _rounded(values: Strict) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.model_dump().items()}


def factor(ratios: Sequence[float]) -> Factor:
    """Geometric mean of the ratios of paired repeats, with the interval of Student's t over their logarithms.

    Each ratio compares two models on the same text within seconds of each other, so what slows the machine down for a while slows both. The
    logarithm makes "twice as fast" and "half as fast" equally far from 1. The interval covers the repeats: noise of the machine, and other
    passages of the same text.

    Args:
        ratios: Speed after divided by speed before, one a repeat; at least two.

    Raises:
        ValueError: There are fewer than two, or one is not a positive number.
    """
    from scipy.stats import t

    if len(ratios) < 2 or not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        raise ValueError(f"an interval needs at least two positive ratios, not {list(ratios)}")
    logs = [math.log(ratio) for ratio in ratios]
    middle = statistics.fmean(logs)
    half = float(t.ppf((1 + LEVEL) / 2, len(logs) - 1)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Factor(mean=math.exp(middle), low=math.exp(middle - half), high=math.exp(middle + half), n=len(logs))


def read_speed(folder: Path) -> Speed:
    """Read a speed artifact.

    Raises:
        ArtifactError: It is missing, not whole, or of another kind.
        DataError: speed.json is missing or does not have the form of a measurement.
    """
    artifacts.expect(folder, KIND)
    path = Path(folder) / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Speed.model_validate({name: value for name, value in content.items() if name != "summary"})
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", f"delete {folder} and measure again") from None
    except (ValidationError, ValueError, AttributeError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(f"{path} is damaged: {first}", f"delete {folder} and measure again") from None
