"""Embedding transplantation.

REQUIRED: base model, tokenizer, and what the method requires.
OUTPUT: results/models/<model>/<language>/<tokenizer>/<method>/s<seed>/init/ (a complete model folder with provenance per token).
"""


rule transplant_apply:
    input:
        unpack(EXPERIMENT.inputs("transplant")),
    output:
        EXPERIMENT.output("transplant"),
    log:
        "logs/transplant_apply/{model}/{language}/{tokenizer}/{method}/s{seed}.log",
    benchmark:
        "benchmarks/transplant_apply/{model}/{language}/{tokenizer}/{method}/s{seed}.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        **EXPERIMENT.params("transplant"),
        out=subpath(output[0], parent=True),
    message:
        "Transplanting {wildcards.tokenizer} ({wildcards.language}) into {wildcards.model} by {wildcards.method}, seed {wildcards.seed}"
    shell:
        "tokgraft transplant {params.flags} --method {params.chain:q} --settings {params.settings:q} {params.overrides}"
        " --seed {wildcards.seed} --or-skip --out {params.out:q} > {log:q} 2>&1"
