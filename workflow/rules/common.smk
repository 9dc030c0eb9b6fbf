"""Wildcards: names in paths, which are slugs that exist as files in config/, methods of the experiment, seeds; some with a key behind `~`."""


wildcard_constraints:
    language=EXPERIMENT.languages(),
    tokenizer=EXPERIMENT.tokenizers(),
    model=EXPERIMENT.models(),
    method=EXPERIMENT.methods(),
    recipe=EXPERIMENT.recipes(),
    stage=EXPERIMENT.stages(),
    resource=EXPERIMENT.resources(),
    seed="[0-9]+",
    shard="[0-9]+",
