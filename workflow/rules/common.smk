"""Wildcards: names in paths, which are slugs that exist as files in config/, methods of the experiment, seeds; some with a key behind `~`."""


wildcard_constraints:
    **EXPERIMENT.names,
    seed="[0-9]+",
    shard="[0-9]+",
