"""Write envs/tokgraft.yaml, the pins of lock.txt for conda users and for Snakemake's `--software-deployment-method conda`.

python envs/conda.py > envs/tokgraft.yaml
"""

from pathlib import Path

HEAD = """# The pins of lock.txt for conda users (made by `make lock`; do not edit). The tokgraft command itself is installed by
# `pip install --no-deps -e .` in the environment that snakemake is started from.
name: tokgraft
channels: [conda-forge, nodefaults]
dependencies:
  - python=3.11
  - pip=25.3
  - pip:
      - torch==2.13.0
"""

if __name__ == "__main__":
    pins = [line for line in (Path(__file__).parent / "lock.txt").read_text().splitlines() if line and not line.startswith("#")]
    print(HEAD + "\n".join(f"      - {pin}" for pin in pins))
