"""Continual training.

REQUIRED: the transplanted model, the language's corpus, the English corpus (replay, forgetting), a file in config/recipes/.
OUTPUT: results/models/<model>/<language>/<tokenizer>/<method>/s<seed>/<recipe>/ (a complete model folder with curves).
Checkpoints for resume live in a hidden folder beside it and go when the job is finished.
"""


rule train_continue:
    input:
        unpack(EXPERIMENT.inputs("train")),
    output:
        EXPERIMENT.output("train"),
    log:
        "logs/train_continue/{model}/{language}/{tokenizer}/{method}/s{seed}/{recipe}.log",
    benchmark:
        "benchmarks/train_continue/{model}/{language}/{tokenizer}/{method}/s{seed}/{recipe}.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 6000 * attempt,
        runtime=lambda wildcards, attempt: 480 * attempt,
        gpu=0,
        processes=0,
        nodes=1,
    params:
        **EXPERIMENT.params("train"),
        out=subpath(output[0], parent=True),
    message:
        "Training {wildcards.model} {wildcards.language} {wildcards.tokenizer} {wildcards.method} by {wildcards.recipe}, seed {wildcards.seed}"
    shell:
        "tokgraft train {params.flags} --settings {params.settings:q} --seed {wildcards.seed} --threads {threads}"
        " --gpus {resources.gpu} --processes {resources.processes} --nodes {resources.nodes}"
        " --or-skip --out {params.out:q} > {log:q} 2>&1"
