"""Command line: `python -m scargate_train <command> [role]`."""

import argparse
import importlib
from pathlib import Path

from . import data, split
from .common import HERE, RUNS

def make_split(_: argparse.Namespace) -> None:
    """Write split.toml from the rule; refuses to change one that exists."""
    made, target = split.make(data.emidec_scar_fractions(data.emidec_folder())), HERE / "split.toml"
    if target.exists():
        same = all(split.read(target)[k] == made[k] for k in made)
        raise SystemExit(None if same else "split.toml differs from the rule: it is fixed, not overwritten")
    split.write(made, target)


def pack(_: argparse.Namespace) -> None:
    """Pack the cases of the folds (never the locked ones) into runs/emidec.npz."""
    target = RUNS / "emidec.npz"
    if not target.exists():
        numbers = {c for fold in split.read(HERE / "split.toml")["folds"] for c in fold}
        print(data.pack_emidec(data.emidec_folder(), numbers, target), "slices packed")


def train(args: argparse.Namespace) -> None:
    """Train one role, resuming where it stopped."""
    importlib.import_module(f".{args.role}", __package__).train(args.fold)


def embed(args: argparse.Namespace) -> None:
    """Cache the promptable model's embeddings (part of `train sam`, on its own)."""
    importlib.import_module(".sam", __package__).prepare(args.fold)


def export(args: argparse.Namespace) -> None:
    """Export one role's checkpoint to ONNX, manifest and probe below a models folder."""
    getattr(importlib.import_module(".export", __package__), args.role)(args.models, args.accuracy, args.fold)


def evaluate(args: argparse.Namespace) -> None:
    """Run the whole pipeline on held-out folds or on phantom stacks and print the figures."""
    importlib.import_module(".evaluate", __package__).main(args.models, args.data, args.fold, args.why)


def labelled(args: argparse.Namespace) -> None:
    """Score the label PNGs of another model on the folds, for its column of the card."""
    importlib.import_module(".evaluate", __package__).labelled(args.folder, args.name)


def robust(args: argparse.Namespace) -> None:
    """Perturb the held-out cases of a fold and measure each perturbation (dense model)."""
    importlib.import_module(".robust", __package__).main(args.models, args.fold)


def cards(args: argparse.Namespace) -> None:
    """Write the stored figures into the model cards."""
    importlib.import_module(".report", __package__).cards(args.models, RUNS / "evaluate", args.limit)


def smoke(_: argparse.Namespace) -> None:
    """The whole recipe in about a minute on synthetic data."""
    importlib.import_module(".smoke", __package__).main()


def main() -> None:
    """Parse and dispatch."""
    parser = argparse.ArgumentParser(prog="scargate_train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("split", help=make_split.__doc__).set_defaults(run=make_split)
    commands.add_parser("pack", help=pack.__doc__).set_defaults(run=pack)
    p = commands.add_parser("embed", help=embed.__doc__)
    p.add_argument("--fold", default="0")
    p.set_defaults(run=embed)
    p = commands.add_parser("labelled", help=labelled.__doc__)
    p.add_argument("folder", type=Path)
    p.add_argument("--name", default="tiramisu")
    p.set_defaults(run=labelled)
    commands.add_parser("smoke", help=smoke.__doc__).set_defaults(run=smoke)
    p = commands.add_parser("train", help=train.__doc__)
    p.add_argument("role", choices=["myocardium", "detector", "sam"])
    p.add_argument("--fold", default="0", help="cross-validation group, \"all\", or \"phantom\" (the pre-training)")
    p.set_defaults(run=train)
    for name, run in (("export", export), ("evaluate", evaluate), ("robust", robust), ("cards", cards)):
        p = commands.add_parser(name, help=run.__doc__)
        p.set_defaults(run=run)
        p.add_argument("--models", type=Path, default=HERE.parent)
        if run is export:
            p.add_argument("role", choices=["myocardium", "detector", "sam"])
            p.add_argument("--accuracy", default="not yet measured")
            p.add_argument("--fold", nargs="+", default=["0"], help="several: an ensemble (dense model only)")
        elif run in (evaluate, robust):
            p.add_argument("--fold", default="0")
            if run is evaluate:
                p.add_argument("data", choices=["real", "phantom", "locked"])
                p.add_argument("--why", help="needed for locked; goes into openings.md")
        else:
            p.add_argument("--limit", type=float, default=2.5, help="detection limit, %% of the wall")
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
