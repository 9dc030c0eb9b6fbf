"""Corpora.

REQUIRED: a file in config/languages/.
OUTPUT: results/corpora/<language>/ (pages, parallel pairs, splits, counts, data card).
A language with `shards` is read and cleaned by that many jobs, into results/shards/<language>/<shard>/; corpus_build merges them.
"""


rule corpus_shard:
    input:
        unpack(EXPERIMENT.inputs("shard")),
    output:
        EXPERIMENT.output("shard"),
    log:
        "logs/corpus_shard/{language}/{shard}.log",
    benchmark:
        "benchmarks/corpus_shard/{language}/{shard}.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        **EXPERIMENT.params("shard"),
        out=subpath(output[0], parent=True),
    message:
        "Preparing shard {wildcards.shard} of the {wildcards.language} corpus"
    shell:
        "tokgraft corpus {params.flags} --settings {params.settings:q} --shard {wildcards.shard}"
        " --out {params.out:q} > {log:q} 2>&1"


rule corpus_build:
    input:
        unpack(EXPERIMENT.inputs("corpus")),
    output:
        EXPERIMENT.output("corpus"),
    log:
        "logs/corpus_build/{language}.log",
    benchmark:
        "benchmarks/corpus_build/{language}.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        **EXPERIMENT.params("corpus"),
        out=subpath(output[0], parent=True),
    message:
        "Preparing the {wildcards.language} corpus"
    shell:
        "tokgraft corpus {params.flags} {params.shards} --settings {params.settings:q} --out {params.out:q} > {log:q} 2>&1"
