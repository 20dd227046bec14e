"""Preferences as `eval export` writes them, loaded with datasets and trained on by TRL's DPOTrainer.

    footnote ingest data/corpus --collection demo
    python -m bench.preferences_trl --collection demo [--file FILE] [--model DIR] [--steps 4]

TRL runs in its own environment, built in --cache on the first run. Without --file, every sample question with a known
answer gets a thumb down and its answer as correction, on words from the passages that BM25 finds, and `eval export
--feedback preferences` writes the file from a store of its own. The model is a random Llama of two layers with the
tokenizer and chat template of SmolLM2; --model takes a real one. Nothing of the file is renamed or converted. The
exit code is 1 when a row is lost, a prompt or an answer does not arrive whole, or a loss is not finite.
"""

import argparse
import contextlib
import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from app.commands.eval_feedback import Wanted, export_feedback
from app.database import Database
from app.feedback import Thumb, index_state, served, store_thumb
from app.settings import Settings, load_settings
from app.wiring import build_retriever, open_collection
from bench.official import clean_environ, environment
from generator.answer import Answer
from indexer.llm2vec.weights import base_model_dir

PACKAGES = (("torch==2.13.0",), ("torch==2.13.0", "trl==1.16.0", "datasets==5.2.0"))
RUNNER = Path(__file__).parent / "preferences_trl_run.py"
CACHE = Path(tempfile.gettempdir()) / "footnote-trl-1.16.0"
QUESTIONS = Path(__file__).parents[1] / "data" / "questions" / "queries.jsonl"
PASSAGES, WORDS = 3, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where the environment is kept ({CACHE})")
    parser.add_argument("--python", type=Path, default=None, help="of an environment that has trl, instead")
    parser.add_argument("--collection", default="demo", help="of the sample documents")
    parser.add_argument("--file", type=Path, default=None, help="preferences that were exported before")
    parser.add_argument("--model", type=Path, default=None, help="a model's folder instead of a random one")
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    settings = load_settings()
    tokenizer = base_model_dir(settings.models_dir)
    python = options.python or environment(options.cache, PACKAGES)
    with tempfile.TemporaryDirectory() as scratch:
        file = options.file or export(settings, options.collection, Path(scratch))
        rows = len(file.read_text(encoding="utf-8").splitlines())
        job = {
            "file": str(file),
            "tokenizer": str(options.model or tokenizer),
            "model": str(options.model) if options.model else None,
            "steps": options.steps,
            "scratch": scratch,
        }
        told = run_trl(python, job, Path(scratch))
    print(json.dumps({"bench": "preferences_trl", "rows_written": rows, **told}))
    sys.exit(0 if told["whole"] == told["rows"] == rows and told["finite"] else 1)


def export(settings: Settings, name: str, scratch: Path) -> Path:
    """Thumbs on the sample questions, in a store of their own beside the collections of the home, as preferences."""
    (scratch / "collections").symlink_to(settings.home.resolve() / "collections")
    own = settings.model_copy(update={"home": scratch})
    collection = open_collection(own, name)
    retriever, database = build_retriever(own, collection, with_encoder=False), Database(scratch)
    for number, line in enumerate(QUESTIONS.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        if not row["answerable"] or row["turns"] or not row["answers"]:
            continue
        hits = retriever.search(row["text"], PASSAGES, "bm25")
        words = " ".join(hits[-1].chunk.text.split()[:WORDS])  # of the weakest passage: seldom the answer
        answer = Answer(
            f"{words} [{len(hits)}].", (), hits, False, row["text"], model="none", prompt_version="answer-1"
        )
        about = served(row["text"], answer, index_state(collection))
        store_thumb(database, f"sample-{number}", Thumb("down", "", row["answers"][0]), name, about)
    out = scratch / "preferences.jsonl"
    with contextlib.redirect_stdout(sys.stderr):
        export_feedback(own, Wanted("preferences", out, name), as_json=True)
    return out


def run_trl(python: Path, job: dict[str, Any], scratch: Path) -> dict[str, Any]:
    given, made = scratch / "job.json", scratch / "told.json"
    given.write_text(json.dumps(job), encoding="utf-8")
    subprocess.run(
        [str(python), str(RUNNER), str(given), str(made)], check=True, env=clean_environ(), stdout=sys.stderr
    )
    told: dict[str, Any] = json.loads(made.read_text(encoding="utf-8"))
    return told


if __name__ == "__main__":
    main()
