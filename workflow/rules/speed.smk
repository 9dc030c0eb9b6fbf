"""Speed: how fast a base model reads and generates a language with its own vocabulary and with a new one.

REQUIRED: the base model, the new tokenizer, the language's corpus.
OUTPUT: results/speed/<model>/<language>/<tokenizer>/ (repeats of both, their factor, whether the machine did nothing else meanwhile).
"""


rule speed_measure:
    input:
        unpack(EXPERIMENT.inputs("speed")),
    output:
        EXPERIMENT.output("speed"),
    log:
        "logs/speed_measure/{model}/{language}/{tokenizer}.log",
    benchmark:
        "benchmarks/speed_measure/{model}/{language}/{tokenizer}.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    # Every core of the run, so that no other job of it runs beside; on a cluster the profile says how many.
    threads: lambda wildcards: workflow.cores if workflow.local_exec else 1
    resources:
        mem_mb=lambda wildcards, attempt: 5000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
        gpu=0,
    params:
        **EXPERIMENT.params("speed"),
        out=subpath(output[0], parent=True),
    message:
        "Measuring the speed of {wildcards.model} on {wildcards.language} with {wildcards.tokenizer}"
    shell:
        "tokgraft speed {params.flags} --threads {threads} --gpus {resources.gpu} --or-skip --out {params.out:q} > {log:q} 2>&1"
