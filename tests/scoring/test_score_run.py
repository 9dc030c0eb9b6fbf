"""The stage as it runs: numbers against hand computation, determinism, identity, errors before work."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lm_eval.models.huggingface import HFLM

from tokgraft import artifacts
from tokgraft.config.task import Task
from tokgraft.errors import ConfigError, DataError, ModelError, TokgraftError
from tokgraft.models.bits import document_bits
from tokgraft.models.io import load_model, load_tokenizer
from tokgraft.scoring.harness import ScoredLM
from tokgraft.scoring.heldout import read_held
from tokgraft.scoring.run import score
from tokgraft.scoring.statistics import read_samples
from tokgraft.scoring.tasks import TASKS

BPB = Task(builder="bits_per_byte", max_items=40, item_bytes=300)
HEADING = Task(builder="heading", max_items=20)
CONTINUATION = Task(builder="continuation", max_items=20)
TRANSLATION = Task(builder="translation", max_items=20)


def by_hand(folder: Path, text: str) -> float:
    """Bits of a text: one forward pass, prefix once, no harness."""
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    ids = [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]
    with torch.no_grad():
        logprobs = model(torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
    return -float(logprobs.gather(1, torch.tensor(ids[1:])[:, None]).sum()) / math.log(2)


@pytest.mark.parametrize("adds_bos", [False, True])
def test_bits_per_byte_equals_hand_computation_whether_or_not_the_tokenizer_adds_bos(
    adds_bos: bool, german: Path, make_tokenizer: Callable, make_model: Callable, tmp_path: Path
) -> None:
    folder = make_model(make_tokenizer("bpe", adds_bos=adds_bos))
    result = score(folder, german, {"bpb": BPB}, tmp_path / "s")
    documents = TASKS.get("bits_per_byte").build(BPB, read_held(german)).documents
    bits = sum(by_hand(folder, document["text"]) for document in documents)
    size = sum(len(document["text"].encode()) for document in documents)
    assert result["tasks"]["bpb"]["metrics"]["bits_per_byte"] == pytest.approx(bits / size, abs=1e-6)
    assert result["tasks"]["bpb"]["bytes"] == size
    assert result["tasks"]["bpb"]["add_bos_token"] is False
    assert result["model"]["adds_prefix"] is adds_bos
    assert result["model"]["prefix_token"] == "<s>"
    own = document_bits(load_model(folder), load_tokenizer(folder), [document["text"] for document in documents], max_tokens=1024)
    assert sum(one for one, _ in own) / size == pytest.approx(bits / size, abs=1e-6)


@pytest.mark.parametrize("family", ["bytes", "bpe", "sentencepiece", "unigram"])
def test_a_model_of_zeros_scores_the_flat_guess(
    family: str, german: Path, make_tokenizer: Callable, make_model: Callable, tmp_path: Path
) -> None:
    tokenizer = make_tokenizer(family)
    folder = make_model(tokenizer, lambda model: [weight.zero_() for weight in model.parameters()])
    facts = score(folder, german, {"bpb": BPB}, tmp_path / "s")["tasks"]["bpb"]
    documents = TASKS.get("bits_per_byte").build(BPB, read_held(german)).documents
    tokens = sum(len(tokenizer.encode(document["text"], add_special_tokens=False)) for document in documents)
    assert facts["flat_guess"] == pytest.approx(math.log2(len(tokenizer)) * tokens / facts["bytes"], abs=1e-6)
    assert facts["metrics"]["bits_per_byte"] == pytest.approx(facts["flat_guess"], abs=2e-6)


def test_a_uniform_byte_distribution_is_eight_bits(german: Path, make_tokenizer: Callable, make_model: Callable, tmp_path: Path) -> None:
    def flat_over_bytes(model) -> None:
        for weight in model.parameters():
            weight.zero_()
        model.model.embed_tokens.weight.fill_(1)
        model.model.norm.weight.fill_(1)
        model.lm_head.weight[256:] = -100  # BOS and EOS are impossible

    folder = make_model(make_tokenizer("bytes"), flat_over_bytes, tied=False)
    assert score(folder, german, {"bpb": BPB}, tmp_path / "s")["tasks"]["bpb"]["metrics"]["bits_per_byte"] == 8.0


def test_runs_are_identical_and_a_copy_scores_the_same(
    german: Path, make_tokenizer: Callable, make_model: Callable, tmp_path: Path
) -> None:
    folder = make_model(make_tokenizer("bpe"))
    tasks = {"bpb": BPB, "heading": HEADING, "continuation": CONTINUATION, "translation": TRANSLATION}
    score(folder, german, tasks, tmp_path / "one")
    score(folder, german, tasks, tmp_path / "two")
    assert artifacts.fingerprint(tmp_path / "one") == artifacts.fingerprint(tmp_path / "two")
    assert not artifacts.verify(tmp_path / "one")
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("the same weights under another fingerprint\n")
    score(tmp_path / "copy", german, tasks, tmp_path / "three")
    for name in tasks:
        file = f"samples/{name}.jsonl"
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "three" / file).read_bytes()
    assert not (tmp_path / "one" / "speed.json").exists(), "speed is measured alone, by a command of its own"


def test_a_random_model_is_near_chance_and_items_follow_the_rules(
    german: Path, make_tokenizer: Callable, make_model: Callable, tmp_path: Path
) -> None:
    tokenizer = make_tokenizer("bpe")
    tasks = {"heading": HEADING, "continuation": CONTINUATION, "translation": TRANSLATION}
    hits: dict[str, list[float]] = {name: [] for name in tasks}
    for seed in range(4):
        folder = make_model(tokenizer, seed=seed)
        result = score(folder, german, tasks, tmp_path / f"s{seed}")
        for name, facts in result["tasks"].items():
            assert facts["n"] >= 15 and facts["chance"] == 0.25
            assert set(facts["baselines"]) == {"length", "overlap"} and all(0 <= value <= 1 for value in facts["baselines"].values())
            hits[name].append(facts["metrics"]["acc_bytes"])
            samples = read_samples(tmp_path / f"s{seed}" / "samples" / f"{name}.jsonl", "acc_bytes")
            assert samples.score == pytest.approx(facts["metrics"]["acc_bytes"], abs=1e-6) and len(samples) == facts["pages"]
    mean = sum(sum(values) for values in hits.values()) / 12
    assert abs(mean - 0.25) < 3 * math.sqrt(0.25 * 0.75 / 45)


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize("family", ["bpe", "sentencepiece"])
def test_sharing_contexts_and_slicing_the_head_change_nothing(
    family: str, adds_bos: bool, german: Path, make_tokenizer: Callable, make_model: Callable
) -> None:
    tokenizer = make_tokenizer(family, adds_bos=adds_bos)
    folder = make_model(tokenizer)
    documents = TASKS.get("continuation").build(CONTINUATION, read_held(german)).documents
    pairs = [(document["context"], choice) for document in documents for choice in document["choices"]]
    requests = [type("Request", (), {"args": pair})() for pair in pairs]
    shared = ScoredLM(load_model(folder), tokenizer)
    alone = ScoredLM(load_model(folder), tokenizer, share_contexts=False, batch_tokens=700)
    assert shared.share_contexts and shared.head is not None
    theirs = HFLM(pretrained=load_model(folder), tokenizer=tokenizer, batch_size=4, add_bos_token=adds_bos)
    expected = theirs.loglikelihood(requests, disable_tqdm=True)
    for got in (shared.loglikelihood(requests), alone.loglikelihood(requests)):
        assert [value for value, _ in got] == pytest.approx([value for value, _ in expected], abs=2e-3, rel=1e-5)
        assert [greedy for _, greedy in got] == [greedy for _, greedy in expected]
    alone.head = None
    assert [value for value, _ in alone.loglikelihood(requests)] == pytest.approx([value for value, _ in expected], abs=2e-3, rel=1e-5)


def test_a_token_across_the_boundary_is_scored_with_the_choice(make_tokenizer: Callable, make_model: Callable) -> None:
    from tokenizers import pre_tokenizers

    tokenizer = make_tokenizer("bpe", size=600)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    lm = ScoredLM(load_model(make_model(tokenizer)), tokenizer)
    context, choice = "Arbeiten mit Tabe", "lle und Zeile"
    given, predicted = lm._encode_pair(context, choice)
    assert given + predicted == tokenizer.encode(context + choice)
    assert lm.merged_boundaries == 1
    assert tokenizer.decode(given) != context and context.startswith(tokenizer.decode(given))
    given, predicted = lm._encode_pair("Eine Tabelle: ", "Zeile")
    assert tokenizer.decode(given) == "Eine Tabelle:" and tokenizer.decode(predicted) == " Zeile"


def test_long_documents_of_harness_tasks_are_windowed_like_the_harness_does(
    make_tokenizer: Callable, make_model: Callable, texts: list[str]
) -> None:
    tokenizer = make_tokenizer("bpe")
    folder = make_model(tokenizer)
    requests = [type("Request", (), {"args": (text,)})() for text in (" ".join(texts[:12]), texts[3])]
    lm = ScoredLM(load_model(folder), tokenizer, max_length=48)
    theirs = HFLM(pretrained=load_model(folder), tokenizer=tokenizer, batch_size=1, max_length=48, add_bos_token=False)
    assert lm.loglikelihood_rolling(requests) == pytest.approx(theirs.loglikelihood_rolling(requests, disable_tqdm=True), rel=1e-5)
    assert lm.windowed == 1


def test_what_cannot_be_scored_is_skipped_with_its_reason(
    english: Path, make_tokenizer: Callable, make_model: Callable, tmp_path: Path
) -> None:
    tasks = {
        "bpb": BPB,
        "bpb-english": BPB.model_copy(update={"language": "english"}),
        "translation": TRANSLATION,
        "hub": Task(builder="hub", names=["xnli_de"]),
    }
    result = score(make_model(make_tokenizer("bpe")), english, tasks, tmp_path / "s")
    assert result["tasks"]["bpb"]["item_set"] == result["tasks"]["bpb-english"]["item_set"]
    assert "no test pairs" in result["skipped"]["translation"]
    assert "offline" in result["skipped"]["hub"]
    assert result["language"] == "eng_Latn" and set(result["tasks"]) == {"bpb", "bpb-english"}


def test_problems_are_told_before_the_model_is_loaded(german: Path, make_corpus: Callable, tmp_path: Path) -> None:
    nowhere, out = tmp_path / "no-model", tmp_path / "s"
    nowhere.mkdir()
    with pytest.raises(ConfigError, match=r"headin.*\n.*heading"):
        score(nowhere, german, {"x": Task(builder="headin")}, out)
    with pytest.raises(ConfigError, match="English"):
        score(nowhere, german, {"x": BPB.model_copy(update={"language": "english"})}, out)
    with pytest.raises(ConfigError, match=r"template.*choic'.*\n.*choice"):
        score(nowhere, german, {"x": HEADING.model_copy(update={"template": "choic"})}, out)
    with pytest.raises(ConfigError, match="no task"):
        score(nowhere, german, {"x": Task(builder="hub", names=["a"])}, out)
    with pytest.raises(DataError, match="no test page"):
        score(nowhere, make_corpus("xxx_Latn", "Nothing", []), {"x": BPB}, out)
    with pytest.raises(TokgraftError, match="no-model"):
        score(nowhere, german, {"x": BPB}, out)
    assert not out.exists() and not list(tmp_path.glob(".s*"))


def test_models_that_do_not_fit(german: Path, make_tokenizer: Callable, make_model: Callable, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"context has 64\n.*item_bytes"):
        score(make_model(make_tokenizer("bytes"), context=64), german, {"bpb": BPB}, tmp_path / "s")
    folder = make_model(make_tokenizer("bpe", size=300))
    make_tokenizer("bpe", size=500).save_pretrained(folder)
    with pytest.raises(ModelError, match="without a row"):
        score(folder, german, {"bpb": BPB}, tmp_path / "s")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        score(folder, german, {"bpb": BPB}, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_harness_tasks_by_name_are_scored_online_and_broken_ones_skipped(
    german: Path, make_tokenizer: Callable, make_model: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import yaml

    rows = [{"q": f"Frage {number}:", "options": ["ja", "nein"], "gold": number % 2} for number in range(6)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "yes_no", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}}, "test_split": "test",
        "output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_choice": "options", "doc_to_target": "gold",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}], "metadata": {"version": 3.0},
    }  # fmt: skip
    good, broken, away = (tmp_path / f"{name}.yaml" for name in ("yes_no", "broken", "away"))
    away.write_text(yaml.safe_dump({**task, "task": "../../away"}))
    good.write_text(yaml.safe_dump(task))
    broken.write_text(yaml.safe_dump({**task, "task": "broken", "dataset_kwargs": {"data_files": {"test": "/nowhere.jsonl"}}}))
    monkeypatch.setattr("tokgraft.scoring.run.hub_reachable", lambda: True)
    tasks = {"bpb": BPB, "hub": Task(builder="hub", names=[str(good), str(broken), str(away)])}
    result = score(make_model(make_tokenizer("bpe")), german, tasks, tmp_path / "s", online=True)
    facts = result["tasks"]["yes_no"]
    assert facts["builder"] == "hub" and facts["n"] == 6 and facts["version"] == 3.0 and facts["language"] == "target"
    assert "nowhere" in result["skipped"]["broken.yaml"]
    assert str(tmp_path) not in json.dumps(result), "nothing of where the files lie"
    settings = artifacts.read(tmp_path / "s")["settings"]["tasks"]["hub"]
    assert str(tmp_path) not in json.dumps(settings) and settings["names"] == ["yes_no.yaml", "broken.yaml", "away.yaml"]
    assert set(settings["files"]) == set(settings["names"])
    assert "name of a file" in result["skipped"]["away.yaml"] and not list(tmp_path.rglob("away.jsonl"))
    samples = read_samples(tmp_path / "s" / "samples" / "yes_no.jsonl", "acc")
    assert samples.score == pytest.approx(facts["metrics"]["acc"], abs=1e-6) and samples.unit == "item" and len(samples) == 6
    monkeypatch.setattr("tokgraft.scoring.run.hub_reachable", lambda: False)
    result = score(make_model(make_tokenizer("bpe")), german, tasks, tmp_path / "t", online=True)
    assert "cannot be reached" in result["skipped"]["hub"]


def test_a_new_kind_of_task_is_one_builder_one_template_and_one_file(
    german: Path, make_tokenizer: Callable, make_model: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tokgraft.scoring.tasks import Builder, Items

    TASKS.names()
    monkeypatch.setitem(
        TASKS._things,
        "capital",
        Builder(
            lambda task, held: Items([{"id": page.id, "page": page.id, "text": page.paragraphs[0].text} for page in held.pages]), "shout"
        ),
    )
    (tmp_path / "shout.yaml").write_text(
        "dataset_path: json\noutput_type: loglikelihood_rolling\ntest_split: test\ndoc_to_text: ''\ndoc_to_target: !function shout.text\n"
        "metric_list: [{metric: bits_per_byte, aggregation: bits_per_byte, higher_is_better: false}]\nmetadata: {version: 2.0}\n"
    )
    (tmp_path / "shout.py").write_text("def text(doc):\n    return doc['text'].upper()\n")
    folder = make_model(make_tokenizer("bpe"))
    facts = score(folder, german, {"mine": Task(builder="capital")}, tmp_path / "s", templates=tmp_path)["tasks"]["mine"]
    titles = [page.paragraphs[0].text for page in read_held(german).pages]
    bits = sum(by_hand(folder, title.upper()) for title in titles)
    assert facts["bytes"] == sum(len(title.upper().encode()) for title in titles)
    assert facts["version"] == 2.0 and facts["n"] == len(titles)
    assert facts["metrics"]["bits_per_byte"] * facts["bytes"] == pytest.approx(bits, rel=1e-5)
