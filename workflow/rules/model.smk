"""Base models.

REQUIRED: a file in config/models/; for a scratch model also its tokenizer and corpus.
OUTPUT: results/models/<model>/base/ (a complete model folder), results/models/<model>/untrained/ (scratch models).
"""


rule model_fetch:
    input:
        unpack(EXPERIMENT.inputs("model")),
    output:
        EXPERIMENT.output("model"),
    log:
        "logs/model_fetch/{model}.log",
    benchmark:
        "benchmarks/model_fetch/{model}.tsv"
    wildcard_constraints:
        model=EXPERIMENT.models(scratch=False),
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        **EXPERIMENT.params("model"),
        out=subpath(output[0], parent=True),
    message:
        "Fetching base model {wildcards.model}"
    shell:
        "tokgraft model --settings {params.settings:q} --out {params.out:q} > {log:q} 2>&1"


rule model_create:
    input:
        unpack(EXPERIMENT.inputs("untrained")),
    output:
        EXPERIMENT.output("untrained"),
    log:
        "logs/model_create/{model}.log",
    benchmark:
        "benchmarks/model_create/{model}.tsv"
    wildcard_constraints:
        model=EXPERIMENT.models(scratch=True),
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        **EXPERIMENT.params("untrained"),
        out=subpath(output[0], parent=True),
    message:
        "Creating base model {wildcards.model} with random weights"
    shell:
        "tokgraft model {params.flags} --settings {params.settings:q} --out {params.out:q} > {log:q} 2>&1"


rule model_pretrain:
    input:
        unpack(EXPERIMENT.inputs("pretrain")),
    output:
        EXPERIMENT.output("pretrain"),
    log:
        "logs/model_pretrain/{model}.log",
    benchmark:
        "benchmarks/model_pretrain/{model}.tsv"
    wildcard_constraints:
        model=EXPERIMENT.models(scratch=True),
    conda:
        "../../envs/tokgraft.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 240 * attempt,
        gpu=0,
        processes=0,
        nodes=1,
    params:
        **EXPERIMENT.params("pretrain"),
        out=subpath(output[0], parent=True),
    message:
        "Pretraining base model {wildcards.model} from random weights"
    shell:
        "tokgraft train {params.flags} --settings {params.settings:q} --threads {threads}"
        " --gpus {resources.gpu} --processes {resources.processes} --nodes {resources.nodes}"
        " --out {params.out:q} > {log:q} 2>&1"
