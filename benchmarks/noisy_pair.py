"""A harmless real pair: the demo's base against itself with a little noise on its weights.

    python benchmarks/noisy_pair.py WORK [--share 0.02] [--seed 0]
    python -m benchmarks.soundness --only-runs --runs WORK/runs/noisy

The first checks the noisy copy as a tuned model, which learned nothing and forgot nothing; the second draws
random orders of its documents and asks whether `score` decides as `full` does.
"""

from __future__ import annotations

import argparse
import os
from contextlib import chdir
from pathlib import Path

from gate.demo.run import lay_out
from gate.pipeline import CheckOptions, check_config
from gate.scoring.noise import copy_with_noise
from gate.shell import Shell


def main() -> None:
    """Make the copy, check it, say where the run is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=lambda text: Path(text).absolute())
    parser.add_argument("--share", type=float, default=0.02, help="of each matrix's root mean square")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    lay_out(options.work)
    noisy = options.work / "noisy"
    noisy.mkdir(exist_ok=True)
    copy_with_noise(options.work / "base", noisy, options.share, options.seed)
    os.environ.setdefault("FTGATE_CACHE", str(options.work / "cache"))
    with chdir(options.work):
        run = Path("runs", "noisy")
        asked = CheckOptions(Path("configs/full.yaml"), Path("thresholds.yaml"), run_dir=run, tuned=noisy)
        check_config(asked, Shell.of_process())
    print(options.work / run)


if __name__ == "__main__":
    main()
