"""Tables, report, product checks and tracking: views of finished artifacts, made by serial jobs.

REQUIRED: the scores of every cell.
OUTPUT: results/experiments/<experiment>/: tables/ (leaderboard, differences, report.html), cells.json, checked.txt, published.json.
"""


rule report_cells:
    output:
        EXPERIMENT.output("cells"),
    log:
        f"logs/report_cells/{EXPERIMENT.name}.log",
    benchmark:
        f"benchmarks/report_cells/{EXPERIMENT.name}.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        **EXPERIMENT.params("cells"),
    message:
        "Listing the cells of the experiment"
    shell:
        "tokgraft list cells --settings {params.settings:q} > {output:q} 2> {log:q}"


rule report_check:
    input:
        EXPERIMENT.finished,
        cells=EXPERIMENT.output("cells"),
    output:
        EXPERIMENT.output("check"),
    log:
        f"logs/report_check/{EXPERIMENT.name}.log",
    benchmark:
        f"benchmarks/report_check/{EXPERIMENT.name}.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    params:
        **EXPERIMENT.params("check"),
    message:
        "Checking the products: all cells present, no NaN, random near chance, training lowers bits per byte"
    shell:
        "tokgraft report --check --cells {input.cells:q} > {output:q} 2> {log:q}"


rule report_build:
    input:
        EXPERIMENT.finished,
        cells=EXPERIMENT.output("cells"),
    output:
        EXPERIMENT.output("report"),
        report(
            f"{layout.tables(EXPERIMENT.name)}/report.html",
            caption="../report/report.rst",
            category="Results",
        ),
        report(
            f"{layout.tables(EXPERIMENT.name)}/leaderboard.csv",
            caption="../report/leaderboard.rst",
            category="Results",
        ),
        report(
            f"{layout.tables(EXPERIMENT.name)}/differences.csv",
            caption="../report/differences.rst",
            category="Results",
        ),
    log:
        f"logs/report_build/{EXPERIMENT.name}.log",
    benchmark:
        f"benchmarks/report_build/{EXPERIMENT.name}.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        **EXPERIMENT.params("report"),
        out=subpath(output[0], parent=True),
    message:
        "Building tables and report"
    shell:
        "tokgraft report --cells {input.cells:q} --out {params.out:q} > {log:q} 2>&1"


rule publish_mlflow:
    input:
        EXPERIMENT.finished,
        cells=EXPERIMENT.output("cells"),
    output:
        EXPERIMENT.output("publish"),
    log:
        f"logs/publish_mlflow/{EXPERIMENT.name}.log",
    benchmark:
        f"benchmarks/publish_mlflow/{EXPERIMENT.name}.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        **EXPERIMENT.params("publish"),
    message:
        "Publishing every cell to MLflow"
    shell:
        "tokgraft publish --cells {input.cells:q} > {output:q} 2> {log:q}"
