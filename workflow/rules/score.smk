"""Scoring: bits per byte, harness tasks and generation speed, before (`init`) and after training.

REQUIRED: an adapted model, the language's corpus and the English one, files in config/tasks/.
OUTPUT: results/scores/<model>/<language>/<tokenizer>/<method>/s<seed>/<stage>/ (scores, samples per document).
"""


rule score_model:
    input:
        unpack(W.inputs("score")),
        src=W.sources("score"),
    output:
        "results/scores/{model}/{language}/{tokenizer}/{method}/s{seed}/{stage}/manifest.json",
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
        flags=W.flags("score"),
        settings=W.task_settings,
        out=subpath(output[0], parent=True),
    message:
        "Scoring {wildcards.model} {wildcards.language} {wildcards.tokenizer} {wildcards.method} ({wildcards.stage}), seed {wildcards.seed}"
    shell:
        "tokgraft score {params.flags} --settings {params.settings:q} --threads {threads} --gpus {resources.gpu} --or-skip --out {params.out} > {log} 2>&1"
