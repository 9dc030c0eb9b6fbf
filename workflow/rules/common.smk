"""Wildcards: names in paths, which are slugs that exist as files in config/, methods of the experiment, seeds; some with a key behind `~`."""


wildcard_constraints:
    language=W.languages(),
    tokenizer=W.tokenizers(),
    model=W.models(),
    method=W.methods(),
    recipe=W.recipes(),
    stage=W.stages(),
    resource=W.resources(),
    seed="[0-9]+",
    shard="[0-9]+",
