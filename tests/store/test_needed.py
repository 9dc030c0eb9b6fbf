"""What a run needs, worked out from a plan and the records."""

from __future__ import annotations

from tokgraft.store.needed import PullPlan, needed
from tokgraft.store.records import Record

# corpus -> tokenizer -> model -> score -> table, for two methods; the table also reads the tokenizer.
INPUTS = {
    "results/corpus": [],
    "results/tokenizer": ["results/corpus"],
    "results/model/a": ["results/tokenizer"],
    "results/model/b": ["results/tokenizer"],
    "results/score/a": ["results/model/a", "results/corpus"],
    "results/score/b": ["results/model/b", "results/corpus"],
    "results/table": ["results/score/a", "results/score/b", "results/tokenizer"],
}
KNOWN = {name: Record("", {"input_checksums": dict.fromkeys([*paths, "src/stage.py"], "sha256:0")}) for name, paths in INPUTS.items()}


def want(here=(), changes=(), stored=tuple(KNOWN), targets=tuple(INPUTS), known=KNOWN) -> set[str]:
    """What is needed when Snakemake would make everything that is absent, and what hangs on it."""
    plan = PullPlan(frozenset(targets), frozenset(set(targets) - set(here)), tuple(targets))
    return needed(plan, known, set(stored), set(changes))


def test_from_nothing_only_the_target_is_needed():
    assert want() == {"results/table"}


def test_what_is_not_stored_is_made_from_its_inputs():
    assert want(stored=set(KNOWN) - {"results/table"}) == {"results/score/a", "results/score/b", "results/tokenizer"}


def test_what_has_changed_is_made_from_its_inputs_and_what_hangs_on_it_is_not_pulled():
    assert want(changes={"results/score/a"}) == {"results/model/a", "results/corpus", "results/score/b", "results/tokenizer"}


def test_nothing_above_a_thing_that_is_here_is_needed():
    assert want(here=["results/table"]) == set()
    assert want(here=["results/score/a", "results/score/b", "results/tokenizer"], stored=set(KNOWN) - {"results/table"}) == set()


def test_a_change_at_the_root_leaves_nothing_to_pull():
    assert want(changes={"results/corpus"}) == set()


def test_a_rebuilt_input_makes_what_is_here_run_so_its_other_inputs_are_needed():
    stored = set(KNOWN) - {"results/table", "results/score/b"}
    assert want(here=["results/model/b"], stored=stored) == {"results/corpus", "results/score/a", "results/tokenizer"}


def test_a_new_job_that_no_record_knows_gets_what_is_on_top_of_the_absent():
    targets = [*INPUTS, "results/model/new", "results/score/new"]
    here = ["results/table"]
    assert want(here=here, targets=targets) == {"results/score/a", "results/score/b"}  # what is needed shows in the next rounds
    nothing = [name for name in INPUTS if name != "results/corpus"]
    assert want(here=nothing, targets=targets) == {"results/corpus"}


def test_a_job_that_is_never_stored_asks_for_its_own_inputs_only():
    targets = [*INPUTS, "results/published"]
    record = Record("", {"input_checksums": {"results/score/a": "sha256:0", "results/tokenizer": "sha256:0"}})
    known = {**KNOWN, "results/published": record}
    here = ["results/table", "results/model/a"]
    assert want(here=here, targets=targets, known=known) == {"results/score/a", "results/tokenizer"}
