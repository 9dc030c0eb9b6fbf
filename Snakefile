"""tokgraft: corpus -> tokenizer -> transplant -> continual training -> scores -> tables, for every cell of the experiment.

    snakemake                                                     the default experiment (config/config.yaml)
    snakemake --configfile config/experiments/smoke.yaml          another one
    snakemake --until score_model                                 without tables and tracking

The naming of rules, wildcards, logs and folders is written down in workflow/README.md.
"""

from snakemake.utils import min_version

from tokgraft import console, preflight
from tokgraft.config import layout
from tokgraft.workflow import Workflow, experiment_file

min_version("9.0")


# The experiment is the file that was named, and nothing else: Snakemake's own reading would merge it with a default and with `--config`.
EXPERIMENT = Workflow(experiment_file(workflow.config_settings))


report: "workflow/report/workflow.rst"


onstart:
    EXPERIMENT.begin()
    # Tools, disk, sources: what is missing is said before the first job starts.
    shell("tokgraft doctor --brief --settings {EXPERIMENT.config:q}")
    preflight.check_dates(list(workflow.dag.needrun_jobs()))
    if workflow.local_exec:
        # To limit job starts, Snakemake 9.27 looks through its queue once a second for every job that has ended, which takes
        # a core after some hundred jobs. Here the cores are the limit; on a cluster the limiter spares the queue, and stays.
        workflow.scheduler.job_rate_limiter = None
    console.attach(workflow, EXPERIMENT.cells(), layout.ranking(EXPERIMENT.name))


include: "workflow/rules/common.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/tokenizer.smk"
include: "workflow/rules/model.smk"
include: "workflow/rules/resource.smk"
include: "workflow/rules/transplant.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/speed.smk"
include: "workflow/rules/report.smk"


# On a cluster these run where Snakemake runs: one is done in a second, the other writes the tracking store, which one process must own.
localrules:
    all,
    tokenizer_evaluate_all,
    report_cells,
    publish_mlflow,


rule all:
    default_target: True
    input:
        EXPERIMENT.output("report"),
        EXPERIMENT.output("check"),
        EXPERIMENT.output("publish"),
