"""Continual training, in parts that can be exchanged one by one. Each is a file here; `run.train` puts them together.

    run.py           `train`: checks, builds the parts, runs the loop, writes the artifact
    loop.py          `run_training`: stage after stage, step after step
    step.py          `forward_backward` and `optimizer_step`: what one step computes
    objectives/      `Objective`: what a stage minimises; one registered class a file
    data_source.py   `DataSource`: batches of a stage; `PackedText` is text packed into sequences
    text.py          `TrainingText`: which text of the corpora a run trains and validates on
    pages.py         `Pages`, `PageStream`: documents of a corpus, in the order of a run
    token_store.py   `TokenStore`: tokens of documents, encoded once and kept
    sampling.py      `Sampler`: segmentations drawn at random
    parts.py         which parameters a stage trains, optimizer, learning rate
    validation.py    `Validation`: bits per byte of dev pages
    checkpointer.py  `Checkpointer`: what of a run a checkpoint keeps; checkpoints.py: its files
    device.py        `DeviceContext`: device, threads, precision, this process among others
    processes.py     what processes exchange: sums, gradients, a restored state

To add an objective, or to change another part: docs/adding-an-objective.md.
"""
