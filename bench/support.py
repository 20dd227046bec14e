"""Does the encoder know better than words alone whether a passage supports a claim, and where?

    python bench/support.py --train ../shared/bench/reading-train/qed.jsonl.gz

A claim is a question with its answer behind it. Its own passage supports it; the passage without the sentences that
hold the answer does not, and neither does the passage support the question with another name or number from it. Weights
and thresholds are fitted on one half of the questions, the figures are of the other. Prints one JSON line last.
"""

import argparse
import gzip
import json
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from app.settings import load_settings
from app.wiring import build_encoder
from eval.statistics import Floats, PairedTest, bootstrap_interval, compare_paired, logistic_regression
from generator.align import Evidence
from generator.citations import CLEAR, SUPPORTED
from generator.sentences import split_sentences
from indexer.encoder import Encoder, Vectors

SHRINKAGE = 0.01
LOWEST, HIGHEST = 0.3, 0.8  # words alone decide outside
_NAME = re.compile(r"\b[A-Z][\w'.-]+(?: (?:(?:of|the|de) )?[A-Z][\w'.-]+)*")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, slots=True)
class Trial:
    """A claim, and the best span by words of a passage that supports it or does not."""

    question: int
    kind: str  # true, removed or other
    claim: str
    span: str
    words: float


def main() -> None:
    """Fit on one half, measure on the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with gzip.open(arguments.train, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    rows = [row for row in rows if len(split_sentences(row["passage"])) >= 3 and row["answers"][0].strip()]
    drawn = random.Random(arguments.seed).sample(rows, arguments.questions)
    trials = [trial for number, row in enumerate(drawn) for trial in trials_of(number, row)]
    encoder = build_encoder(load_settings())
    decided, weights = decisions(trials, encoder, arguments.questions // 2)
    located = locations(drawn, encoder, arguments.questions // 2)
    print(json.dumps({"benchmark": "support", "weights": weights, "decide": decided, "locate": located}))


def trials_of(number: int, row: dict[str, Any]) -> list[Trial]:
    """The true claim and what there is of the two false ones."""
    question, passage, answer = row["question"], row["passage"], row["answers"][0]
    claim = f"{question} {answer}"
    trials = [trial_of(number, "true", claim, passage, question)]
    sentences = [passage[low:high] for low, high in split_sentences(passage)]
    without = " ".join(sentence for sentence in sentences if not holds_any(sentence, row["answers"]))
    if without:
        trials.append(trial_of(number, "removed", claim, without, question))
    if other := other_answer(passage, answer, question):
        trials.append(trial_of(number, "other", f"{question} {other}", passage, question))
    return trials


def trial_of(number: int, kind: str, claim: str, passage: str, question: str) -> Trial:
    found = Evidence([passage]).find(claim, 0, question)
    return Trial(number, kind, claim, passage[found.start : found.end] or passage, found.score)


def other_answer(passage: str, answer: str, question: str) -> str:
    """A number for a number or a name for a name, from a sentence that does not hold the answer."""
    kind = _NUMBER if _NUMBER.search(answer) else _NAME
    for low, high in split_sentences(passage):
        if answer not in passage[low:high]:
            # The first word of a sentence is a capital whatever it is.
            for found in kind.finditer(passage, low + 1, high):
                if found[0] not in answer and found[0].lower() not in question.lower():
                    return found[0]
    return ""


def holds_any(sentence: str, answers: Sequence[str]) -> bool:
    return any(answer in sentence for answer in answers)


def decisions(trials: Sequence[Trial], encoder: Encoder, half: int) -> tuple[dict[str, Any], dict[str, float]]:
    """How often true and false claims are told apart, by words and by words with vectors."""
    of = vectors(encoder, [text for t in trials for text in (t.claim, t.span)])
    labels = np.array([float(t.kind == "true") for t in trials])
    fitting = np.array([t.question < half for t in trials])
    signs = np.array([[1.0, t.words, float(of[t.claim] @ of[t.span])] for t in trials])
    words = signs[:, 1]
    unsure = (words >= LOWEST) & (words < HIGHEST)
    weights = logistic_regression(signs[fitting & unsure], labels[fitting & unsure], SHRINKAGE)
    both = np.where(unsure, 1 / (1 + np.exp(-(signs @ weights))), words)
    figures: dict[str, Any] = {}
    for name, chosen in (("all", ~fitting), ("undecided", ~fitting & unsure)):
        fit = fitting & (unsure if name == "undecided" else True)
        (by_words, low), (by_both, high) = (right(scores, labels, fit, chosen) for scores in (words, both))
        test = shown(compare_paired(by_words, by_both))
        figures[name] = {"n": int(chosen.sum()), "threshold_words": low, "threshold_both": high, **test}
    for kind, threshold in product(("true", "removed", "other"), (SUPPORTED, CLEAR)):
        at = [float(t.words >= threshold) for t in trials if t.kind == kind and t.question >= half]
        told = {"n": len(at), "share": float(np.mean(at)), "ci95": bootstrap_interval(at)}
        figures[f"called_supported_{kind}_at_{threshold}"] = told
    print(json.dumps(figures, indent=1))
    return figures, dict(zip(("bias", "words", "cosine"), map(float, weights), strict=True))


def right(scores: Floats, labels: Floats, fitting: Any, chosen: Any) -> tuple[list[float], float]:
    """1 for each chosen claim that is on its side of the threshold that is best where it is fitted, and that."""
    tried = np.unique(scores[fitting].round(2))

    # Each class counts half, however many it has.
    def balanced(threshold: float) -> float:
        called = scores[fitting] >= threshold
        truth = labels[fitting] == 1
        return float(called[truth].mean() + (~called[~truth]).mean())

    threshold = float(max(tried, key=balanced))
    return [float((s >= threshold) == (y == 1)) for s, y in zip(scores[chosen], labels[chosen], strict=True)], threshold


def locations(rows: Sequence[dict[str, Any]], encoder: Encoder, half: int) -> dict[str, Any]:
    """How often the best sentence for a question without its answer is one that holds the answer."""
    parts = [[row["passage"][low:high] for low, high in split_sentences(row["passage"])] for row in rows]
    began = perf_counter()
    of = vectors(encoder, [text for row, each in zip(rows, parts, strict=True) for text in (row["question"], *each)])
    print(f"encoded in {perf_counter() - began:.0f} s")
    words = [scores_by_words(row["question"], each) for row, each in zip(rows, parts, strict=True)]
    near = [np.array([float(of[row["question"]] @ of[one]) for one in each])
            for row, each in zip(rows, parts, strict=True)]  # fmt: skip
    gold = [np.array([holds_any(one, row["answers"]) for one in each]) for row, each in zip(rows, parts, strict=True)]

    def hit(weight: float, at: int) -> float:
        return float(gold[at][int(np.argmax((1 - weight) * words[at] + weight * near[at]))])

    tried = [step / 20 for step in range(21)]
    best = max(tried, key=lambda weight: sum(hit(weight, at) for at in range(half)))
    held = [at for at in range(half, len(rows)) if gold[at].any()]
    alone = [hit(1.0, at) for at in held]
    test = compare_paired([hit(0.0, at) for at in held], [hit(best, at) for at in held])
    return {"weight": best, "encoder_alone": float(np.mean(alone)), **shown(test)}


def scores_by_words(question: str, sentences: Sequence[str]) -> Floats:
    evidence = Evidence(sentences)
    return np.array([evidence.coverage(question, sentence) for sentence in sentences])


def vectors(encoder: Encoder, texts: Sequence[str]) -> dict[str, Vectors]:
    once = list(dict.fromkeys(texts))
    return dict(zip(once, encoder.encode(once), strict=True))


def shown(test: PairedTest) -> dict[str, Any]:
    return {
        "n": test.n,
        "words": test.mean_a,
        "both": test.mean_b,
        "gain": test.difference,
        "ci95": test.ci95,
        "p": test.p,
    }


if __name__ == "__main__":
    main()
