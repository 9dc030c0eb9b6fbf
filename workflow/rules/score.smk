"""Scoring: bits per byte and harness tasks, before (`init`) and after training.

REQUIRED: an adapted model, the language's corpus and the English one, files in config/tasks/.
OUTPUT: results/scores/<model>/<language>/<tokenizer>/<method>/s<seed>/<stage>~<tasks>/ (scores, samples per document); `~<tasks>` is a key of the tasks.
"""


rule score_model:
    input:
        unpack(EXPERIMENT.inputs("score")),
    output:
        EXPERIMENT.output("score"),
    log:
        "logs/score_model/{model}/{language}/{tokenizer}/{method}/s{seed}/{stage}.log",
    benchmark:
        "benchmarks/score_model/{model}/{language}/{tokenizer}/{method}/s{seed}/{stage}.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 5000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
        gpu=0,
    params:
        **EXPERIMENT.params("score"),
        out=subpath(output[0], parent=True),
    message:
        "Scoring {wildcards.model} {wildcards.language} {wildcards.tokenizer} {wildcards.method} ({wildcards.stage}), seed {wildcards.seed}"
    shell:
        "tokgraft score {params.flags} --settings {params.settings:q} --threads {threads} --gpus {resources.gpu} --or-skip --out {params.out:q} > {log:q} 2>&1"
