"""The whole recipe in about a minute on synthetic data: train, resume, export, evaluate; checks that it holds together.

Uses `scargate phantom --export-arrays` when SCARGATE names the binary, else `synthetic`; never EMIDEC.
"""

import os
import subprocess
import tomllib
from pathlib import Path

from . import detector, evaluate, export, myocardium, robust, sam, sets, synthetic
from .common import RUNS, SMOKE


def arrays(folder: Path, count: int, space: str) -> None:
    """Phantom arrays of one space, from the binary or the stand-in."""
    if (folder / "meta.json").exists():
        return
    binary = os.environ.get("SCARGATE")
    if binary:
        wanted = ["--export-arrays", str(folder), "--count", str(count), "--seed", "3", "--space", space]
        subprocess.run([binary, "phantom", *wanted], check=True)
    else:
        synthetic.write(folder, count, 0 if space == "training" else 1000)


def main() -> None:
    """Run; raises when a file of the contract is missing or a model cannot be run."""
    if not SMOKE:
        raise SystemExit("set SMOKE=1")
    arrays(RUNS / "phantom" / "train", 6, "training")
    arrays(RUNS / "phantom" / "test", 3, "evaluation")
    myocardium.train("phantom")
    for role in (myocardium, detector, sam):
        role.train("0")
    models = RUNS / "models"
    for role in (export.myocardium, export.detector, export.sam):
        role(models, "smoke run: not a model", ["0"])
    for role in ("myocardium", "scar-detector", "scar-encoder", "scar-decoder"):
        manifest = tomllib.loads((models / role / "manifest.toml").read_text())
        assert manifest["role"] == role and (models / role / manifest["probe"]["input"]).stat().st_size
    evaluate.show(evaluate.run(models, sets.synthetic("test")[:2], "smoke"))
    robust.run(models, sets.synthetic("test")[:1], "smoke-robust", ["none", "gamma 0.7"])
    print("smoke run complete")
