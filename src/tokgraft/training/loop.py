"""The training loop: stage after stage, step after step, with validation and checkpoints in between."""

from __future__ import annotations

import hashlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tokgraft.config.recipe import TrainingRecipe
from tokgraft.errors import ModelError
from tokgraft.logs import Heartbeat, log
from tokgraft.models.head import PlainHead, plain_head
from tokgraft.training import parts, processes
from tokgraft.training.checkpoints import Checkpoints
from tokgraft.training.data import Packed
from tokgraft.training.device import Place
from tokgraft.training.loss import IGNORE, chunked_cross_entropy
from tokgraft.training.usage import Usage

ROWS = 2000  # at most so many rows of the loss curve


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        recipe: Its recipe.
        packed: Tokens of each stage.
        selections: Parameters of each stage.
        validate: Returns bits per byte by column ("val_bpb", "val_bpb_english").
        seed: Of dropout, where a model has it.
    """

    recipe: TrainingRecipe
    packed: list[Packed]
    selections: list[parts.Selection]
    validate: Callable[[], dict[str, float]]
    seed: int = 0

    @property
    def steps(self) -> int:
        """Steps of all stages."""
        return sum(packed.steps for packed in self.packed)

    @property
    def bytes(self) -> int:
        """Bytes of text of all stages."""
        return sum(packed.bytes for packed in self.packed)

    def locate(self, step: int) -> tuple[int, int]:
        """Stage and step within it of a step of the run."""
        for index, packed in enumerate(self.packed):
            if step < packed.steps:
                return index, step
            step -= packed.steps
        raise IndexError(step)

    def seen(self, step: int) -> tuple[int, int]:
        """Tokens and bytes of text that are read when `step` steps are done."""
        tokens = size = 0
        for packed in self.packed:
            part = packed.seen(min(step, packed.steps))
            tokens, size = tokens + part[0], size + part[1]
            step -= packed.steps
            if step <= 0:
                break
        return tokens, size


@dataclass
class Progress:
    """How far a run is: what a checkpoint keeps beside the tensors."""

    step: int = 0
    metrics: list[dict[str, Any]] = field(default_factory=list)
    timing: list[dict[str, Any]] = field(default_factory=list)
    system: list[dict[str, Any]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


def run(model: Any, plan: Plan, where: Place, checkpoints: Checkpoints) -> Progress:
    """Train `model` in place, from the newest checkpoint if there is one.

    Raises:
        ModelError: The loss is not a number.
        ProcessError: One of several processes is gone.
        SystemExit: A process was told to end (SIGTERM); a checkpoint is written first.
    """
    progress, moments = _resume(model, checkpoints, where)
    head = _head(model, plan.recipe, where)
    validations = _points(plan.steps, plan.recipe.validations)
    saves = set(_points(plan.steps, plan.recipe.checkpoints + 1)) - {plan.steps}
    every = max(plan.steps // ROWS, 1)
    heart = Heartbeat("training", plan.bytes, "bytes")
    heart.resume_at(plan.seen(progress.step)[1])
    started = time.monotonic() - progress.seconds
    usage = Usage(where) if where.main else None
    if progress.step == 0:
        _validate(plan, progress, where)
    optimizer: torch.optim.Optimizer | None = None
    begun = -1
    with _sigterm() as ending:
        while progress.step < plan.steps:
            index, inner = plan.locate(progress.step)
            stage, packed, selection = plan.recipe.stages[index], plan.packed[index], plan.selections[index]
            if index != begun or optimizer is None:
                begun, chosen = index, parts.apply(model, selection)
                optimizer = parts.optimizer(model, selection, plan.recipe, where.device.type)
                _load_moments(model, optimizer, moments)
                moments = {}
                log.info("stage %s: %d steps, %d bytes, %d parameter tensors learn", stage.name, packed.steps, packed.bytes, len(chosen))
            clock = time.monotonic()
            rate = parts.learning_rate(stage, inner, packed.steps)
            # Of each step and process by itself: the same after a resume, and processes do not drop the same units.
            torch.manual_seed(_mixed(plan.seed, progress.step, where.rank))
            loss = _gradients(model, head, packed, inner, plan.recipe, where)
            loss, told, *holders = processes.total([loss, len(ending), *(parameter.grad is not None for parameter in chosen)], where)
            processes.sum_gradients(chosen, holders, where)
            parts.mask_gradients(model, selection)
            norm = float(torch.nn.utils.clip_grad_norm_(chosen, plan.recipe.clip))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise ModelError(
                    f"stage {stage.name!r}, step {progress.step + 1} of {plan.steps}: loss {loss}, gradient norm {norm}",
                    f"lower lr (now {stage.lr:g}) or lengthen warmup of this stage; if it is the first step, look at the model's weights",
                )
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()
            progress.step += 1
            progress.losses.append(loss)
            tokens, size = plan.seen(progress.step)
            if progress.step % every == 0 or progress.step == plan.steps:
                mean = sum(progress.losses) / len(progress.losses)
                progress.losses = []
                progress.metrics.append({
                    "step": progress.step, "stage": stage.name, "bytes": size, "tokens": tokens, "loss": mean, "lr": rate, "grad_norm": norm,
                })  # fmt: skip
                seconds = time.monotonic() - clock
                speed = packed.targets(inner) / max(seconds, 1e-9)
                progress.timing.append({"step": progress.step, "seconds": round(seconds, 4), "tokens_per_second": round(speed, 1)})
                if where.main:
                    heart.beat(size, step=f"{progress.step}/{plan.steps}", tokens_per_s=speed, loss=mean, lr=rate)
            if progress.step in validations:
                _validate(plan, progress, where)
            progress.seconds = time.monotonic() - started
            if usage is not None and (usage.due() or progress.step == plan.steps):
                progress.system.append(usage.sample(progress.step))
            # All end after the same step, whichever was told and when: one that went on alone would wait for the others.
            leaving = (told or (ending and where.world == 1)) and progress.step < plan.steps
            if (progress.step in saves or leaving) and where.main:
                _checkpoint(model, optimizer, plan, progress, checkpoints)
            if leaving:
                processes.wait(where)  # a launcher that sees one process end may end the one that writes
                log.warning("told to end: stopped after step %d with a checkpoint; the same command goes on from there", progress.step)
                raise SystemExit(143)
    return progress


def _points(steps: int, count: int) -> list[int]:
    """`count` steps, evenly spread, the last one being the end."""
    return sorted({max(round(steps * number / count), 1) for number in range(1, count + 1)})


def _head(model: Any, recipe: TrainingRecipe, where: Place) -> PlainHead | None:
    with where.autocast():
        head = plain_head(model)
    if head is None:
        log.info("the logits of %s are more than a matrix product (soft cap or scale): its own forward pass is used, logits whole",
                 type(model).__name__)  # fmt: skip
    elif where.compile:
        head = PlainHead(torch.compile(head.body), head.weight, head.bias)
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return head


def _gradients(model: Any, head: PlainHead | None, packed: Packed, step: int, recipe: TrainingRecipe, where: Place) -> float:
    """Accumulate the gradients of one step; this process's share of the mean loss per predicted token of all processes."""
    model.train()
    inputs, labels = (torch.from_numpy(part) for part in packed.rows(step, where.rank, where.world))
    micro = recipe.micro_batch_size or len(inputs)
    total = 0.0
    for start in range(0, len(inputs), micro):
        ids = inputs[start : start + micro].to(where.device)
        goals = labels[start : start + micro].to(where.device).flatten()
        with where.autocast():
            loss = _loss(model, head, ids, goals) / packed.targets(step)
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _mixed(*numbers: int) -> int:
    """One number for a generator from several."""
    return int.from_bytes(hashlib.sha256(repr(numbers).encode()).digest()[:7], "big")


def _loss(model: Any, head: PlainHead | None, ids: Tensor, goals: Tensor) -> Tensor:
    if head is not None:
        return chunked_cross_entropy(head.hidden(ids).flatten(0, 1), head.weight, goals, head.bias)
    logits = model(input_ids=ids, use_cache=False).logits.flatten(0, 1).float()
    return torch.nn.functional.cross_entropy(logits, goals, ignore_index=IGNORE, reduction="sum")


def _validate(plan: Plan, progress: Progress, where: Place) -> None:
    if not where.main:
        return
    values = plan.validate()
    progress.metrics.append({"step": progress.step, "bytes": plan.seen(progress.step)[1], **values})
    log.info("validation at step %d: %s", progress.step, ", ".join(f"{name} {value:.4f}" for name, value in values.items()))


# --- checkpoints -----------------------------------------------------------------------------------------------------


def _checkpoint(model: Any, optimizer: torch.optim.Optimizer, plan: Plan, progress: Progress, checkpoints: Checkpoints) -> None:
    """Keep every parameter that has learned so far and the optimizer's moments."""
    index = plan.locate(progress.step - 1)[0]
    trained = {name for selection in plan.selections[: index + 1] for name in selection.trainable}
    tensors = {f"weight/{name}": parameter for name, parameter in model.named_parameters() if name in trained}
    stage_goes_on = progress.step < plan.steps and plan.locate(progress.step)[0] == index
    if stage_goes_on:
        for name, parameter in model.named_parameters():
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"moment/{key}/{name}"] = value
    state = {key: getattr(progress, key) for key in ("metrics", "timing", "system", "losses", "seconds")}
    checkpoints.write(progress.step, tensors, state)


def _resume(model: Any, checkpoints: Checkpoints, where: Place) -> tuple[Progress, dict[str, Tensor]]:
    """The newest checkpoint as the first process finds it; a run may go on with another number of processes."""
    newest = checkpoints.newest() if where.main else None
    kept_state, kept_tensors = newest or (None, {})
    state, tensors = processes.from_first(kept_state, kept_tensors, where)
    if state is None:
        return Progress(), {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if (kept := tensors.get(f"weight/{name}")) is not None:
                parameter.copy_(kept)
    log.info("going on from the checkpoint of step %d", state["step"])
    progress = Progress(state["step"], state["metrics"], state["timing"], state.get("system", []), state["losses"], state["seconds"])
    return progress, {name: tensor for name, tensor in tensors.items() if name.startswith("moment/")}


def _load_moments(model: Any, optimizer: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    for name, tensor in moments.items():
        _, key, parameter_name = name.split("/", 2)
        parameter = model.get_parameter(parameter_name)
        optimizer.state[parameter][key] = tensor if key == "step" and parameter.device.type == "cpu" else tensor.to(parameter.device)


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
