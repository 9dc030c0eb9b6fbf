"""The training loop: stage after stage, step after step, with validation and checkpoints in between."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tokgraft.config.recipe import TrainingRecipe
from tokgraft.logs import Heartbeat, log
from tokgraft.training import parts, processes
from tokgraft.training.checkpointer import Checkpointer, Progress
from tokgraft.training.data_source import DataSource
from tokgraft.training.device import DeviceContext
from tokgraft.training.objectives import OBJECTIVES, Objective
from tokgraft.training.step import StageInTraining, forward_backward, optimizer_step, seed_step
from tokgraft.training.usage import Usage

ROWS = 2000  # at most so many rows of the loss curve


@dataclass(frozen=True)
class TrainingPlan:
    """What a run does.

    Attributes:
        recipe: Its recipe.
        sources: Text of each stage.
        selections: Parameters of each stage.
        validate: Returns bits per byte by column ("val_bpb", "val_bpb_english").
        seed: Of dropout, where a model has it.
    """

    recipe: TrainingRecipe
    sources: Sequence[DataSource]
    selections: Sequence[parts.Selection]
    validate: Callable[[], dict[str, float]]
    seed: int = 0

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(source.steps for source in self.sources)

    @property
    def bytes(self) -> int:
        """Bytes of text of all stages."""
        return sum(source.bytes for source in self.sources)

    def locate(self, step: int) -> tuple[int, int]:
        """Stage and step within it of a step of the run."""
        for index, source in enumerate(self.sources):
            if step < source.steps:
                return index, step
            step -= source.steps
        raise IndexError(step)

    def seen(self, step: int) -> tuple[int, int]:
        """Tokens and bytes of text that are read when `step` steps are done."""
        tokens = size = 0
        for source in self.sources:
            part = source.seen(min(step, source.steps))
            tokens, size = tokens + part[0], size + part[1]
            step -= source.steps
            if step <= 0:
                break
        return tokens, size


def run_training(model: Any, plan: TrainingPlan, context: DeviceContext, checkpointer: Checkpointer) -> Progress:
    """Train `model` in place, from the newest checkpoint if there is one.

    Raises:
        ModelError: The loss is not a number.
        ProcessError: One of several processes is gone.
        SystemExit: A process was told to end (SIGTERM); a checkpoint is written first.
    """
    progress = checkpointer.restore()
    names = dict.fromkeys(stage.objective for stage in plan.recipe.stages)
    objectives = {name: OBJECTIVES.get(name)(model, plan.recipe, context) for name in names}
    if plan.recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    validations = _points(plan.steps, plan.recipe.validations)
    saves = set(_points(plan.steps, plan.recipe.checkpoints + 1)) - {plan.steps}
    curves = _Curves(plan, progress, context)
    if progress.step == 0:
        curves.validate()
    now: StageInTraining | None = None
    with _sigterm() as ending:
        while progress.step < plan.steps:
            number, step = plan.locate(progress.step)
            if now is None or now.number != number:
                if now is not None:
                    now.source.close()
                now = _begin_stage(model, plan, number, objectives, context)
                checkpointer.restore_moments(now.optimizer)
            clock = time.monotonic()
            rate = parts.learning_rate(now.stage, step, now.source.steps)
            seed_step(plan.seed, progress.step, context.rank)
            loss = forward_backward(now, step)
            sums = processes.sum_step(loss, bool(ending), now.parameters, context)
            norm = optimizer_step(now, sums, rate, f"step {progress.step + 1} of {plan.steps}")
            progress.step += 1
            curves.add(now, sums.loss, rate, norm, now.source.targets(step), time.monotonic() - clock)
            if progress.step in validations:
                curves.validate()
            curves.sample_usage()
            # All end after the same step, whichever was told and when: one that went on alone would wait for the others.
            leaving = (sums.stop or (bool(ending) and context.world == 1)) and progress.step < plan.steps
            if (progress.step in saves or leaving) and context.main:
                learned = {name for selection in plan.selections[: number + 1] for name in selection.trainable}
                stage_goes_on = plan.locate(progress.step)[0] == number
                checkpointer.save(progress, learned, now.optimizer if stage_goes_on else None)
            if leaving:
                processes.wait(context)  # a launcher that sees one process end may end the one that writes
                log.warning("told to end: stopped after step %d with a checkpoint; the same command goes on from there", progress.step)
                raise SystemExit(143)
    return progress


def _begin_stage(
    model: Any, plan: TrainingPlan, number: int, objectives: Mapping[str, Objective], context: DeviceContext
) -> StageInTraining:  # fmt: skip
    stage, source, selection = plan.recipe.stages[number], plan.sources[number], plan.selections[number]
    parameters = parts.apply(model, selection)
    optimizer = parts.optimizer(model, selection, plan.recipe, context.device.type)
    log.info("stage %s: %d steps, %d bytes, %d parameter tensors learn", stage.name, source.steps, source.bytes, len(parameters))
    objective = objectives[stage.objective]
    return StageInTraining(model, context, number, stage, source, objective, selection, parameters, optimizer, plan.recipe.clip)


def _points(steps: int, count: int) -> list[int]:
    """`count` steps, evenly spread, the last one being the end."""
    return sorted({max(round(steps * number / count), 1) for number in range(1, count + 1)})


class _Curves:
    """Writes the rows of a run into its progress: losses, validations, seconds, use of the machine."""

    def __init__(self, plan: TrainingPlan, progress: Progress, context: DeviceContext) -> None:
        self._plan, self._progress, self._main = plan, progress, context.main
        self._every = max(plan.steps // ROWS, 1)
        self._heart = Heartbeat("training", plan.bytes, "bytes")
        self._heart.resume_at(plan.seen(progress.step)[1])
        self._started = time.monotonic() - progress.seconds
        self._usage = Usage(context) if context.main else None

    def validate(self) -> None:
        """Score the dev pages, in the first process."""
        if not self._main:
            return
        step, values = self._progress.step, self._plan.validate()
        self._progress.metrics.append({"step": step, "bytes": self._plan.seen(step)[1], **values})
        log.info("validation at step %d: %s", step, ", ".join(f"{name} {value:.4f}" for name, value in values.items()))

    def add(self, now: StageInTraining, loss: float, rate: float, norm: float, targets: int, seconds: float) -> None:
        """A step is done: with every `_every`-th one, a row with the mean loss since the last row."""
        progress = self._progress
        progress.losses.append(loss)
        if progress.step % self._every and progress.step != self._plan.steps:
            return
        tokens, size = self._plan.seen(progress.step)
        mean = sum(progress.losses) / len(progress.losses)
        progress.losses = []
        progress.metrics.append({
            "step": progress.step, "stage": now.stage.name, "bytes": size, "tokens": tokens, "loss": mean, "lr": rate, "grad_norm": norm,
        })  # fmt: skip
        speed = targets / max(seconds, 1e-9)
        progress.timing.append({"step": progress.step, "seconds": round(seconds, 4), "tokens_per_second": round(speed, 1)})
        if self._main:
            self._heart.beat(size, step=f"{progress.step}/{self._plan.steps}", tokens_per_s=speed, loss=mean, lr=rate)

    def sample_usage(self) -> None:
        """Count the seconds so far, and look at the machine where it is time for it."""
        progress = self._progress
        progress.seconds = time.monotonic() - self._started
        if self._usage is not None and (self._usage.due() or progress.step == self._plan.steps):
            progress.system.append(self._usage.sample(progress.step))


@contextmanager
def _sigterm() -> Iterator[list[bool]]:
    """A list that becomes non-empty when the process is told to end; only the main thread may listen."""
    ending: list[bool] = []
    try:
        before = signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    except ValueError:
        yield ending
        return
    try:
        yield ending
    finally:
        signal.signal(signal.SIGTERM, before)
