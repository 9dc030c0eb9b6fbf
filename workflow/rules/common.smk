"""Wildcards: slugs that exist as files in config/, methods of the experiment, seeds."""


wildcard_constraints:
    language=W.wildcard("languages"),
    tokenizer=W.wildcard("tokenizers"),
    model=W.wildcard("models"),
    method=W.methods(),
    recipe=W.wildcard("recipes"),
    stage=W.stages(),
    resource="[a-z0-9_]+",
    seed="[0-9]+",
    shard="[0-9]+",
