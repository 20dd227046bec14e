"""python -m generator.training --questions .../qed.jsonl.gz --out RUN --budget-s 3600"""

import argparse
import logging
from pathlib import Path

from generator.training.train import ReaderSettings, train


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m generator.training", description="Fine-tune the embedded reader.")
    parser.add_argument("--model-dir", type=Path, required=True, help="the base model, as base_model_dir() gives it")
    parser.add_argument("--questions", type=Path, required=True, help="reading-train/qed.jsonl.gz")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; goes on where it was stopped")
    parser.add_argument("--start", type=Path, help="a reader's adapter to go on from")
    parser.add_argument("--first-layer", type=int, default=12, help="layers below stay as they are")
    parser.add_argument("--budget-s", type=float, help="seconds of training")
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--learning-rate", type=float, default=6e-4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    options = parser.parse_args()
    if options.budget_s is None and options.max_steps is None:
        parser.error("give --budget-s or --max-steps")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    _set_threads(options.threads)
    folder = train(
        ReaderSettings(
            model_dir=options.model_dir,
            questions=options.questions,
            out=options.out,
            start=options.start,
            first_layer=options.first_layer,
            seed=options.seed,
            max_steps=options.max_steps,
            budget_s=options.budget_s,
            batch=options.batch,
            learning_rate=options.learning_rate,
        )
    )
    logging.getLogger(__name__).info("Adapter in %s", folder)


def _set_threads(threads: int | None) -> None:
    import torch

    if threads:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    main()
