"""`python -m indexer.llm2vec.training contrastive ...`: one run from the shell."""

import argparse
import logging
import shlex
import sys
from pathlib import Path

from indexer.errors import FootnoteError
from indexer.llm2vec.training.contrastive import train_contrastive
from indexer.llm2vec.training.settings import ContrastiveSettings
from indexer.llm2vec.training.teacher import teacher_dir
from indexer.llm2vec.weights import base_model_dir


def main() -> int:
    """Read the arguments, train, and end with 1 on an error that the user can repair."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        command = f"python -m indexer.llm2vec.training {shlex.join(sys.argv[1:])}"
        train_contrastive(_settings(), command)
    except FootnoteError as error:
        sys.stderr.write(f"{error.message}\n{error.remedy}\n")
        return 1
    return 0


def _settings() -> ContrastiveSettings:
    parser = argparse.ArgumentParser(prog="python -m indexer.llm2vec.training")
    parser.add_argument("stage", choices=["contrastive"])
    parser.add_argument("--pairs", type=Path, required=True, help="JSONL or JSONL.gz of {anchor, positive[, source]}")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an unfinished run there goes on")
    parser.add_argument("--models", type=Path, default=Path(".footnote/models"), help="where the base model is kept")
    parser.add_argument("--model", type=Path, default=None, help="another base model's folder")
    parser.add_argument(
        "--teacher", default=None, help="a sentence-transformers folder, or an installed package with one"
    )
    parser.add_argument("--cap", action="append", default=[], metavar="SOURCE=PAIRS", help="most pairs of a source")
    parser.add_argument("--budget-s", type=float, default=None)
    parser.add_argument("--from", dest="start", type=Path, default=None, help="an adapter to go on from")
    parser.add_argument("--grad-cache", action="store_true", help="memory of one micro-batch, a third more time")
    for name, kind in (
        ("seed", int),
        ("max-steps", int),
        ("batch-pairs", int),
        ("neighbourhoods", int),
        ("hard-negatives", int),
        ("dev-every-steps", int),
        ("max-tokens", int),
        ("layers", int),
        ("rank", int),
        ("alpha", int),
    ):
        parser.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS)
    for name in ("learning-rate", "distill-weight", "temperature"):
        parser.add_argument(f"--{name}", type=float, default=argparse.SUPPRESS)
    values = vars(parser.parse_args())
    values.pop("stage")
    caps = tuple((source, int(most)) for source, _, most in (cap.rpartition("=") for cap in values.pop("cap")))
    teacher = values.pop("teacher")
    models, model = values.pop("models"), values.pop("model")
    model_dir = model or base_model_dir(models)
    return ContrastiveSettings(
        model_dir=model_dir,
        base_name=model_dir.name.removesuffix("-fp32"),
        teacher_dir=teacher_dir(teacher) if teacher else None,
        teacher_name=teacher or "",
        caps=caps,
        **values,
    )


if __name__ == "__main__":
    sys.exit(main())
