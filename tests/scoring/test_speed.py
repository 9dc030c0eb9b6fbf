"""Speed: the factor and its interval, whether the machine was quiet, and a real measurement of two toy models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from tokgraft import artifacts
from tokgraft.cli import main
from tokgraft.errors import ConfigError, DataError, ModelError
from tokgraft.scoring import alone
from tokgraft.scoring.alone import Reading, Watch
from tokgraft.scoring.heldout import read_held
from tokgraft.scoring.speed import Alone, Repeat, Run, Speed, Timing, factor, read_speed
from tokgraft.scoring.timing import TimedModel, measure, passages, speed

QUIET = Alone(alone=True, before=0.0, during=0.0, after=0.0, limit=0.1, tries=1)


def run_of(size: int, tokens: int, seconds: float) -> Run:
    one = Timing(bytes=size, tokens=tokens, seconds=seconds)
    return Run(reading=one, generation=one)


def invented(seconds: list[tuple[float, float]]) -> Speed:
    """Repeats that take (before, after) seconds for 100 bytes, which are 50 tokens before and 25 after."""
    repeats = [Repeat(before=run_of(100, 50, old), after=run_of(100, 25, new)) for old, new in seconds]
    return Speed(alone=QUIET, device="cpu", cores=2, threads=2, passages=1, repeats=repeats)


# --- the factor -----------------------------------------------------------------------------------------------------


def test_the_factor_is_the_geometric_mean_with_students_interval():
    found = factor([2.0, 2.0, 4.0, 1.0])
    logs = [math.log(2), math.log(2), math.log(4), 0.0]
    deviation = math.sqrt(sum((one - math.log(2)) ** 2 for one in logs) / 3)
    half = 3.182446 * deviation / 2  # t with 3 degrees of freedom at 0.975
    assert found.mean == pytest.approx(2.0) and found.n == 4
    assert (found.low, found.high) == (pytest.approx(2 * math.exp(-half), rel=1e-5), pytest.approx(2 * math.exp(half), rel=1e-5))
    assert not found.excludes_one, "0.81 to 4.9"
    swapped = factor([1 / ratio for ratio in (2.0, 2.0, 4.0, 1.0)])
    assert swapped.mean == pytest.approx(1 / found.mean) and swapped.low == pytest.approx(1 / found.high)


def test_repeats_that_agree_have_a_narrow_interval_and_no_spread_does_not_break_it():
    assert factor([1.5] * 5).low == pytest.approx(1.5) and factor([1.5] * 5).excludes_one
    close = factor([1.50, 1.51, 1.49, 1.5, 1.5])
    assert 1.48 < close.low < 1.5 < close.high < 1.52
    assert factor([0.5, 0.5]).excludes_one


@pytest.mark.parametrize("ratios", [[], [2.0], [1.0, 0.0], [1.0, math.inf], [1.0, math.nan], [1.0, -1.0]])
def test_no_interval_without_two_positive_ratios(ratios):
    with pytest.raises(ValueError, match="two positive ratios"):
        factor(ratios)


def test_a_slow_minute_slows_both_and_leaves_the_factor():
    steady, disturbed = invented([(2.0, 1.0)] * 5), invented([(2.0, 1.0), (2.0, 1.0), (6.0, 3.0), (2.0, 1.0), (4.0, 2.0)])
    for one in (steady, disturbed):
        assert one.factor("generation").low == pytest.approx(2.0) == pytest.approx(one.factor("generation").high)
    spread = disturbed.spread("before", "generation", "bytes")
    assert (spread.median, spread.low, spread.high) == (50.0, pytest.approx(100 / 6), 50.0)
    assert disturbed.spread("after", "generation", "tokens").median == 25.0, "tokens/s are equal although text is written twice as fast"
    assert disturbed.spread("before", "generation", "tokens").median == 25.0


# --- alone ----------------------------------------------------------------------------------------------------------


class Machine:
    """Counters of an invented machine with 2 cores: `load` says how many cores other processes use at a time."""

    def __init__(self, load: Callable[[float], float], gpu: Callable[[float], float | None] = lambda at: 0.0) -> None:
        self.load, self.gpu = load, gpu
        self.clock = self.busy = self.own = 0.0

    def sleep(self, seconds: float) -> None:
        self._pass(seconds, 0.0)

    def work(self, seconds: float = 10.0) -> str:
        self._pass(seconds, 1.5)
        return "done"

    def _pass(self, seconds: float, own: float) -> None:
        self.busy += seconds * (own + self.load(self.clock))
        self.own += seconds * own
        self.clock += seconds

    def read(self) -> Reading:
        return Reading(self.clock, 1000.0 + self.busy, self.own, self.gpu(self.clock))

    def watch(self, **settings) -> Watch:
        return Watch(2, self.read, self.sleep, **settings)


def test_a_quiet_machine_is_measured_once():
    machine = Machine(lambda at: 0.03)
    result, state = machine.watch().run(machine.work)
    assert result == "done" and state.alone and state.tries == 1 and not state.reason
    assert (state.before, state.during, state.after, state.limit) == (0.03, 0.03, 0.03, 0.1)
    assert machine.clock == 12.0, "a second before, ten of work, a second after"


def test_it_waits_until_a_neighbour_has_finished():
    machine = Machine(lambda at: 1.0 if at < 20 else 0.0)
    result, state = machine.watch(patience=60).run(machine.work)
    assert result == "done" and state.alone and state.before == 0.0
    assert machine.clock == 32.0


def test_what_comes_between_is_measured_again():
    machine = Machine(lambda at: 0.9 if 5 <= at < 15 else 0.0)
    ends = []

    def work() -> float:
        for _ in range(10):
            machine.work(1.0)
        ends.append(machine.clock)
        return machine.clock

    result, state = machine.watch().run(work)
    assert state.alone and state.tries == 2 and result == ends[1]


def test_a_busy_machine_is_not_measured_at_all_and_says_so():
    machine = Machine(lambda at: 1.7)
    result, state = machine.watch(patience=5).run(lambda: pytest.fail("a busy machine makes it take for ever"))
    assert result is None and not state.alone and state.tries == 0
    assert "other processes used 1.70 of 2 cores" in state.reason and machine.clock == 6.0


def test_a_neighbour_that_only_works_while_we_do_is_seen():
    machine = Machine(lambda at: 0.0)
    machine.watch()

    def work() -> str:
        machine.load = lambda at: 0.5
        done = machine.work()
        machine.load = lambda at: 0.0
        return done

    result, state = machine.watch(tries=2).run(work)
    assert result == "done" and not state.alone and state.tries == 2
    assert state.during == 0.5 and "0.50 of 2 cores" in state.reason


@pytest.mark.parametrize(("gpu", "words"), [(0.4, "use the GPU (40%"), (None, "does not say")])
def test_a_gpu_that_others_use_or_that_says_nothing_is_not_alone(gpu, words):
    machine = Machine(lambda at: 0.0, gpu=lambda at: gpu)
    result, state = machine.watch(patience=2).run(machine.work)
    assert result is None and words in state.reason


def test_counters_that_do_not_move_prove_nothing():
    still = Reading(0.0, 0.0, 0.0)
    assert alone.others(still, Reading(1.0, 0.0, 0.0)) is None, "a sandbox without /proc/stat"
    assert alone.others(Reading(0.0, 50.0, 0.0), Reading(10.0, 50.0, 8.0)) is None
    assert alone.others(Reading(0.0, 50.0, 0.0), Reading(10.0, 58.0, 8.0)) == 0.0


def test_the_limit_grows_with_the_machine_up_to_half_a_core():
    assert [alone.limit(cores) for cores in (1, 2, 8, 64, 256)] == [0.05, 0.1, 0.4, 0.5, 0.5]


def test_the_counters_of_this_machine_can_be_read():
    first = alone.counters()
    assert first.busy > 0 and first.own > 0 and alone.counters().clock >= first.clock


# --- the measurement ------------------------------------------------------------------------------------------------


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters of a machine on which nothing else runs, whatever runs beside the tests."""
    clock = iter(range(10_000))
    monkeypatch.setattr(alone, "counters", lambda gpu=None: Reading(float(next(clock)), 1000.0, 5.0))
    monkeypatch.setattr(alone, "SAMPLE", 0.0)


def test_both_models_get_the_same_bytes_and_the_order_alternates(german, make_tokenizer, make_model, quiet):
    small, large = make_tokenizer("bpe", size=300), make_tokenizer("bpe", size=600)
    sides = [TimedModel(_loaded(make_model(one)), one) for one in (small, large)]
    texts = passages(read_held(german), context=256)
    seen: list[tuple[str, tuple[str, ...]]] = []
    for name, side in zip(("before", "after"), sides, strict=True):
        real = side.run
        side.run = lambda given, name=name, real=real: seen.append((name, tuple(one.output for one in given))) or real(given)
    found = measure(*sides, texts, Watch(2, alone.counters, lambda seconds: None), repeats=4, seconds=0.0)
    assert found.alone.alone and found.passages == 1 and len(found.repeats) == 4
    timed = seen[3:]  # after the warm-up of both and the trial
    assert [name for name, _ in timed] == ["before", "after", "after", "before"] * 2
    assert all(timed[at][1] == timed[at + 1][1] for at in range(0, 8, 2)), "a pair has one text"
    assert len({given for _, given in timed}) == 4, "each repeat has its own text"
    for one in found.repeats:
        assert one.before.generation.bytes == one.after.generation.bytes and one.before.reading.bytes == one.after.reading.bytes
        assert one.before.generation.tokens > one.after.generation.tokens, "the larger vocabulary needs fewer tokens"


def _loaded(folder: Path):
    from tokgraft.models.io import load_model

    return load_model(folder)


@pytest.mark.parametrize("family", ["bytes", "bpe", "sentencepiece"])
def test_passages_fit_the_context_of_a_model_of_bytes(family, german, make_tokenizer):
    tokenizer = make_tokenizer(family)
    for context in (100, 512):
        texts = passages(read_held(german), context)
        assert len(texts) > 10
        for one in texts:
            ids = [tokenizer.encode(part, add_special_tokens=False) for part in (one.prompt, one.output)]
            assert sum(map(len, ids)) + 1 <= context
            assert len(one.prompt) > len(one.output) > 10
    with pytest.raises(ModelError, match="too short"):
        passages(read_held(german), 60)


def test_too_little_text_is_said_before_a_measurement(make_corpus):
    tiny = make_corpus("xyz_Latn", "Tiny", [("a", [{"key": "p", "tag": "p", "text": "Nur ein Satz."}])])
    with pytest.raises(DataError, match="less than 448 bytes"):
        passages(read_held(tiny), 2048)


@pytest.mark.parametrize("tied", [True, False])
def test_the_artifact_is_whole_repeatable_and_says_what_was_read(tied, german, make_tokenizer, make_model, tmp_path, quiet):
    old, new = make_tokenizer("bpe", size=300), make_tokenizer("sentencepiece", size=500)
    base = make_model(old, tied=tied)
    new.save_pretrained(tmp_path / "tokenizer")
    for name in ("one", "two"):
        speed(base, german, tmp_path / name, tokenizer=tmp_path / "tokenizer", threads=1, repeats=2, seconds=0.0)
    assert artifacts.fingerprint(tmp_path / "one") == artifacts.fingerprint(tmp_path / "two"), "timings are not part of what it is"
    assert not artifacts.verify(tmp_path / "one")
    found = read_speed(tmp_path / "one")
    assert found.alone.alone and len(found.repeats) == 2 and found.threads == 1
    first = json.loads((tmp_path / "one" / "passages.jsonl").read_text().split("\n")[0])
    assert first["prompt_bytes"] == found.repeats[0].before.reading.bytes
    assert first["after"]["output_tokens"] == found.repeats[0].after.generation.tokens
    assert "Tabelle" not in (tmp_path / "one" / "passages.jsonl").read_text(), "no text of the corpus"
    told = json.loads((tmp_path / "one" / "speed.json").read_text())["summary"]["generation"]
    assert told["factor"]["mean"] == pytest.approx(found.factor("generation").mean, abs=1e-4)


def test_the_command_measures_an_adapted_model_and_says_when_it_could_not(
    german, make_tokenizer, make_model, tmp_path, quiet, monkeypatch, capsys
):
    base, model = make_model(make_tokenizer("bpe", size=300)), make_model(make_tokenizer("bpe", size=600))
    command = ["speed", "--base", str(base), "--model", str(model), "--corpus", str(german), "--repeats", "3", "--seconds", "0"]
    assert main([*command, "--out", str(tmp_path / "alone")]) == 0
    assert "generation: " in (said := capsys.readouterr().out) and "3 paired repeats" in said and "not measured" not in said
    busy = iter(range(0, 100_000, 2))
    monkeypatch.setattr(alone, "counters", lambda gpu=None: Reading((at := float(next(busy))), 1000.0 + 1.5 * at, 5.0))
    monkeypatch.setattr(alone, "SAMPLE", 1.0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert main([*command, "--patience", "3", "--out", str(tmp_path / "busy")]) == 0
    said = capsys.readouterr().out
    assert "not measured alone" in said and "1.50 of" in said and "times as fast" not in said
    found = read_speed(tmp_path / "busy")
    assert not found.alone.alone and not found.repeats


def test_what_cannot_be_measured_is_refused_before_work(german, make_tokenizer, make_model, tmp_path):
    base = make_model(make_tokenizer("bpe"))
    with pytest.raises(ConfigError, match="--repeats 1"):
        speed(base, german, tmp_path / "s", model=base, repeats=1)
    with pytest.raises(ConfigError, match="not clear"):
        speed(base, german, tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"alone": 1}', '{"summary": {}, "alone": null, "repeats": []}'])
def test_a_damaged_file_is_a_clear_error(text, tmp_path):
    with artifacts.create(tmp_path / "s", "speed", {}) as folder:
        (folder / "passages.jsonl").write_text("{}\n")
        (folder / "speed.json").write_text(text)
    with pytest.raises(DataError, match=r"speed\.json is damaged"):
        read_speed(tmp_path / "s")
