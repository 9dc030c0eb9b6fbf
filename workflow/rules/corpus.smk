"""Corpora.

REQUIRED: a file in config/languages/.
OUTPUT: results/corpora/<language>/ (pages, parallel pairs, splits, counts, data card).
"""


rule corpus_build:
    input:
        unpack(W.inputs("corpus")),
        texts=W.local_texts,
        src=W.sources("corpus"),
    output:
        "results/corpora/{language}/manifest.json",
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
        flags=W.flags("corpus"),
        settings=W.corpus_settings,
        out=subpath(output[0], parent=True),
    message:
        "Preparing the {wildcards.language} corpus"
    shell:
        "tokgraft corpus {params.flags} --settings {params.settings:q} --out {params.out} > {log} 2>&1"
