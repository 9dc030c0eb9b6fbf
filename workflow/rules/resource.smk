"""Resources that methods require (token vectors, ...): one rule for all; each resource says what it needs.

REQUIRED: what the resource declares (corpus, English corpus, tokenizer, base model).
OUTPUT: results/resources/<resource>/<model>/<language>/<tokenizer>/, with `any` for a model or tokenizer that it does not depend on.
"""


rule resource_build:
    input:
        unpack(EXPERIMENT.inputs("resource")),
    output:
        EXPERIMENT.output("resource"),
    log:
        "logs/resource_build/{resource}/{model}/{language}/{tokenizer}.log",
    benchmark:
        "benchmarks/resource_build/{resource}/{model}/{language}/{tokenizer}.tsv"
    wildcard_constraints:
        model=f"{EXPERIMENT.names['model']}|any",
        tokenizer=f"{EXPERIMENT.names['tokenizer']}|any",
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        **EXPERIMENT.params("resource"),
        out=subpath(output[0], parent=True),
    message:
        "Building {wildcards.resource} for {wildcards.tokenizer} of {wildcards.model} on {wildcards.language}"
    shell:
        "tokgraft resource --name {params.name:q} {params.flags} --settings {params.settings:q} --or-skip --out {params.out:q} > {log:q} 2>&1"
