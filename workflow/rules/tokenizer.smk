"""Tokenizers.

REQUIRED: the language's corpus, the English corpus, the base model (not for the tokenizer a scratch model is built on).
OUTPUT: results/tokenizers/<model>/<language>/<tokenizer>/ (tokenizer files, audit of the hard gates, metrics);
results/evaluations/<model>/<language>/<tokenizer>/ (metrics with intervals, audits, card), if the experiment asks for it, or by
`snakemake tokenizer_evaluate_all`.
"""


rule tokenizer_train:
    input:
        unpack(EXPERIMENT.inputs("tokenizer")),
    output:
        EXPERIMENT.output("tokenizer"),
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
        **EXPERIMENT.params("tokenizer"),
        out=subpath(output[0], parent=True),
    message:
        "Training tokenizer {wildcards.tokenizer} for {wildcards.model} on {wildcards.language}"
    shell:
        "tokgraft tokenizer {params.flags} --settings {params.settings:q} --out {params.out:q} > {log:q} 2>&1"


rule tokenizer_evaluate:
    input:
        unpack(EXPERIMENT.inputs("evaluation")),
    output:
        EXPERIMENT.output("evaluation"),
    log:
        "logs/tokenizer_evaluate/{model}/{language}/{tokenizer}.log",
    benchmark:
        "benchmarks/tokenizer_evaluate/{model}/{language}/{tokenizer}.tsv"
    wildcard_constraints:
        tokenizer=EXPERIMENT.evaluated(),
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        **EXPERIMENT.params("evaluation"),
        out=subpath(output[0], parent=True),
    message:
        "Evaluating tokenizer {wildcards.tokenizer} of {wildcards.model} on {wildcards.language}"
    shell:
        "tokgraft tokenizer evaluate {params.flags} --settings {params.settings:q} --out {params.out:q} > {log:q} 2>&1"


rule tokenizer_evaluate_all:
    input:
        EXPERIMENT.evaluations,
    message:
        "Every tokenizer of the experiment is evaluated"
