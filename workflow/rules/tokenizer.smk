"""Tokenizers.

REQUIRED: the language's corpus, the English corpus, the base model (not for the tokenizer a scratch model is built on).
OUTPUT: results/tokenizers/<model>/<language>/<tokenizer>/ (tokenizer files, audit of the hard gates, metrics).
"""


rule tokenizer_train:
    input:
        unpack(W.inputs("tokenizer")),
        src=W.sources("tokenizer"),
    output:
        "results/tokenizers/{model}/{language}/{tokenizer}/manifest.json",
    log:
        "logs/tokenizer_train/{model}/{language}/{tokenizer}.log",
    benchmark:
        "benchmarks/tokenizer_train/{model}/{language}/{tokenizer}.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        flags=W.flags("tokenizer"),
        settings=W.tokenizer_settings,
        out=subpath(output[0], parent=True),
    message:
        "Training tokenizer {wildcards.tokenizer} for {wildcards.model} on {wildcards.language}"
    shell:
        "tokgraft tokenizer {params.flags} --settings {params.settings:q} --out {params.out} > {log} 2>&1"
