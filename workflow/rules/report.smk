"""Tables, report, product checks and tracking: views of finished artifacts, made by serial jobs.

REQUIRED: the scores of every cell.
OUTPUT: results/tables/ (leaderboard, differences, report.html), results/checked.txt, results/published.json.
"""


rule report_cells:
    input:
        src=W.sources("cells"),
    output:
        "results/cells.json",
    log:
        "logs/report_cells.log",
    benchmark:
        "benchmarks/report_cells.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        settings=W.config,
    message:
        "Listing the cells of the experiment"
    shell:
        "tokgraft list cells --settings {params.settings:q} > {output} 2> {log}"


rule report_check:
    input:
        W.finished,
        cells="results/cells.json",
        src=W.sources("report"),
    output:
        "results/checked.txt",
    log:
        "logs/report_check.log",
    benchmark:
        "benchmarks/report_check.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    message:
        "Checking the products: all cells present, no NaN, random near chance, training lowers bits per byte"
    shell:
        "tokgraft report --check --cells {input.cells} > {output} 2> {log}"


rule report_build:
    input:
        W.finished,
        cells="results/cells.json",
        src=W.sources("report"),
    output:
        "results/tables/manifest.json",
        report(
            "results/tables/report.html",
            caption="../report/report.rst",
            category="Results",
        ),
        report(
            "results/tables/leaderboard.csv",
            caption="../report/leaderboard.rst",
            category="Results",
        ),
        report(
            "results/tables/differences.csv",
            caption="../report/differences.rst",
            category="Results",
        ),
    log:
        "logs/report_build.log",
    benchmark:
        "benchmarks/report_build.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        out=subpath(output[0], parent=True),
    message:
        "Building tables and report"
    shell:
        "tokgraft report --cells {input.cells} --out {params.out} > {log} 2>&1"


rule publish_mlflow:
    input:
        W.finished,
        cells="results/cells.json",
        src=W.sources("publish"),
    output:
        "results/published.json",
    log:
        "logs/publish_mlflow.log",
    benchmark:
        "benchmarks/publish_mlflow.tsv"
    conda:
        "../../envs/tokgraft.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    message:
        "Publishing every cell to MLflow"
    shell:
        "tokgraft publish --cells {input.cells} > {output} 2> {log}"
