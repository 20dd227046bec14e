"""The judged metrics beside those of the ragas package: the arithmetic on the same verdicts, and whole metrics with the
same judge.

    python -m bench.ragas_agreement --arithmetic [--keep FILE]
    python -m bench.ragas_agreement --run RUN [--replay] [--limit N]

ragas runs in its own environment, built in --cache on the first run. --arithmetic feeds random verdicts to ragas' own
scoring functions and to ours; --keep writes them down for the tests. --run takes the answers and scores of an `eval
answers --judge-metrics all` run, and lets ragas judge the same answers, passages and references by the same model
(generator.base_url) with its own prompts, and our encoder's vectors. With --replay no model is asked: ragas' whole
metrics are given the claims and verdicts of the run, so that what is left is the definitions. The last line is JSON.
The exit code is 1 when the arithmetic differs by more than 1e-9, or a replayed score by more than 1e-5 (a run keeps six
digits), 5e-3 where a cosine is in it: in bfloat16 a vector depends a little on what is encoded beside it.

Same definition: faithfulness, context precision with reference, noise sensitivity, answer correctness. Nearly: answer
relevancy (ours makes the three questions in one call), context recall (ours extracts the reference's claims first,
ragas lets the model cut and judge at once). Prompts and their examples differ throughout.
"""

import argparse
import json
import logging
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from app.settings import load_settings
from app.wiring import build_encoder
from bench.official import clean_environ, environment
from eval.claim_metrics import CLAIM_METRICS, needs_encoder, subject_of
from eval.claim_scores import average_precision, claim_f1, correctness, noise_sensitivity, relevancy, supported_share
from eval.judgements import JUDGEMENTS
from eval.outcome import as_answer
from eval.run import Run, load_run
from indexer.encoder import Encoder

PACKAGES = (("ragas==0.4.3", "langchain-community<0.4"),)  # the newer one lacks a module that ragas imports
RUNNER = Path(__file__).parent / "ragas_run.py"
CACHE = Path(tempfile.gettempdir()) / "footnote-ragas-0.4.3"
BAR, REPLAY_BAR, COSINE_BAR = 1e-9, 1e-5, 5e-3
SAME = ("faithfulness", "llm_context_precision", "llm_noise_relevant", "llm_noise_irrelevant", "answer_correctness")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=CACHE, help=f"where the environment is kept ({CACHE})")
    parser.add_argument("--arithmetic", action="store_true")
    parser.add_argument("--keep", type=Path, default=None, help="write verdicts and ragas' scores here")
    parser.add_argument("--run", default=None, help="an evaluation run with judged metrics")
    parser.add_argument("--limit", type=int, default=None, help="only the first so many answers of the run")
    parser.add_argument("--most", type=int, default=20, help="items of any list that ragas' judge writes (20)")
    parser.add_argument("--replay", action="store_true", help="let ragas read the run's verdicts instead of judging")
    options = parser.parse_args()
    if options.arithmetic == bool(options.run):
        parser.error("choose --arithmetic or --run RUN")
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    python = environment(options.cache, PACKAGES)
    told = compare_arithmetic(python, options.keep) if options.arithmetic else compare_run(python, options)
    print(json.dumps({"bench": "ragas_agreement", "ragas": "0.4.3", **told}))
    sys.exit(0 if told.get("agrees", True) else 1)


def compare_arithmetic(python: Path, keep: Path | None) -> dict[str, Any]:
    cases = [case for seed in range(40) for case in draw(random.Random(seed))]
    theirs = run_ragas(python, {"arithmetic": cases})
    differences: dict[str, float] = {}
    for case, score in zip(cases, theirs, strict=True):
        ours = our_score(case["metric"], case["given"])
        assert ours is not None
        differences[case["metric"]] = max(differences.get(case["metric"], 0.0), abs(ours - score))
    for metric, difference in differences.items():
        print(f"{metric:28} largest difference {difference:.1e} of {len(cases) // len(differences)} cases")
    if keep:
        kept = [{**case, "ragas": score} for case, score in zip(cases, theirs, strict=True)][: 7 * 8]
        told = {"made_by": "python -m bench.ragas_agreement --arithmetic --keep", "package": "ragas 0.4.3"}
        keep.write_text(json.dumps({**told, "cases": kept}) + "\n", encoding="utf-8")
    agrees = max(differences.values()) <= BAR
    return {"arithmetic": differences, "cases": len(cases), "bar": BAR, "agrees": agrees}


def draw(rng: random.Random) -> list[dict[str, Any]]:
    """Verdicts for each of ragas' scoring functions."""

    def verdicts(count: int) -> list[int]:
        return [rng.randint(0, 1) for _ in range(count)]

    claims, known, passages = rng.randint(1, 6), rng.randint(1, 5), rng.randint(1, 5)
    noise = {
        "correct": verdicts(claims),
        "answer_by_passage": [verdicts(claims) for _ in range(passages)],
        "reference_by_passage": [verdicts(known) for _ in range(passages)],
    }
    answer, reference = verdicts(claims), verdicts(known)
    given = {
        "faithfulness": {"verdicts": verdicts(claims)},
        "context_recall": {"verdicts": verdicts(known)},
        "context_precision": {"verdicts": verdicts(passages)},
        "answer_correctness": {"answer": answer, "reference": reference, "similarity": rng.random()},
        "answer_relevancy": {"cosines": [rng.random() for _ in range(3)], "noncommittal": rng.randint(0, 1)},
        "noise_sensitivity_relevant": noise,
        "noise_sensitivity_irrelevant": noise,
    }
    return [{"metric": metric, "given": values} for metric, values in given.items()]


def our_score(metric: str, given: dict[str, Any]) -> float | None:
    if metric in ("faithfulness", "context_recall"):
        return supported_share(given["verdicts"])
    if metric == "context_precision":
        return average_precision(given["verdicts"])
    if metric == "answer_correctness":
        return correctness(claim_f1(given["answer"], given["reference"]), given["similarity"])
    if metric == "answer_relevancy":
        return relevancy(given["cosines"], given["noncommittal"])
    relevant = [any(verdicts) for verdicts in given["reference_by_passage"]]
    both = noise_sensitivity(given["correct"], given["answer_by_passage"], relevant)
    return both[metric.endswith("irrelevant")]


def compare_run(python: Path, options: argparse.Namespace) -> dict[str, Any]:
    settings = load_settings()
    run = load_run(settings.home, options.run)
    ids, samples = samples_of(run, options.limit)
    vectors = ThreadingHTTPServer(("127.0.0.1", 0), vectors_of(build_encoder(settings)))
    threading.Thread(target=vectors.serve_forever, daemon=True).start()
    model = run.facts["judged_metrics"]["model"]
    judge = {"base_url": settings.generator.base_url, "model": model, "most": options.most}
    job = {
        "samples": samples,
        "vectors": f"http://127.0.0.1:{vectors.server_port}",
        **({} if options.replay else judge),
    }
    theirs = dict(zip(ids, run_ragas(python, job), strict=True))
    metrics = {}
    for metric in CLAIM_METRICS:
        ours = run.scores[""].get(metric, {})
        found = {id_: theirs[id_]["scores"][metric] for id_ in ids if metric in theirs[id_]["scores"]}
        both = [(ours[id_], found[id_]) for id_ in found if id_ in ours]
        errors = [theirs[id_]["errors"][metric] for id_ in ids if metric in theirs[id_]["errors"]]
        failed = {"ragas_failed": len(errors), "first_error": errors[0]} if errors else {"ragas_failed": 0}
        metrics[metric] = {**agreement(both), "same_definition": metric in SAME, **failed}
        print(f"{metric:24} {json.dumps(metrics[metric])}", flush=True)
    told = {"run": run.id, "judge": model, "replayed": options.replay, "answers": len(ids), "metrics": metrics}
    if not options.replay:
        return told | {"most": options.most}
    bars = {name: COSINE_BAR if needs_encoder(name) else REPLAY_BAR for name in metrics}
    return told | {"agrees": all(row.get("largest_difference", 0.0) <= bars[name] for name, row in metrics.items())}


def samples_of(run: Run, limit: int | None) -> tuple[list[str], list[dict[str, Any]]]:
    """Ids and texts of the answers that every metric applies to, with what the judge said as ragas would read it."""
    ids, samples = [], []
    for record in run.records:
        if record.outcome is None:
            continue
        subject = subject_of(run.cases[record.case_id], as_answer(record.outcome))
        if subject.answer and subject.reference and subject.passages:
            ids.append(record.case_id)
            texts = {name: getattr(subject, name) for name in ("answer", "reference", "passages")}
            steps = {name: step["value"] for name, step in record.outcome[JUDGEMENTS]["steps"].items()}
            samples.append({"question": subject.asked, **texts, "replies": replies_of(steps)})
    return ids[:limit], samples[:limit]


def replies_of(steps: dict[str, Any]) -> dict[str, list[Any]]:
    """What a judge has to reply to ragas, metric by metric and call by call, to say what it said to us."""

    def cut(whose: str) -> dict[str, Any]:
        return {"statements": steps[f"{whose}_claims"]}

    def verdicts(given: list[bool]) -> dict[str, Any]:
        return {"statements": [{"statement": "", "reason": "", "verdict": int(one)} for one in given]}

    def classes() -> dict[str, Any]:
        answer, reference = steps["answer_in_reference"], steps["reference_in_answer"]
        counts = {"TP": sum(answer), "FP": len(answer) - sum(answer), "FN": len(reference) - sum(reference)}
        return {name: [{"statement": "", "reason": ""}] * count for name, count in counts.items()}

    def noise() -> list[Any]:
        pairs = zip(steps["reference_in_each_passage"], steps["answer_in_each_passage"], strict=True)
        by_passage = [verdicts(given) for pair in pairs for given in pair]
        return [cut("reference"), cut("answer"), *by_passage, verdicts(steps["answer_in_reference"])]

    makers: dict[str, Callable[[], list[Any]]] = {
        "faithfulness": lambda: [cut("answer"), verdicts(steps["answer_in_passages"])],
        "answer_relevancy": lambda: [
            {"question": question, "noncommittal": int(steps["questions"]["evasive"])}
            for question in steps["questions"]["questions"]
        ],
        "answer_correctness": lambda: [cut("answer"), cut("reference"), classes()],
        "llm_context_precision": lambda: [{"reason": "", "verdict": int(one)} for one in steps["useful_passages"]],
        "llm_context_recall": lambda: [
            {"classifications": [{"statement": "", "reason": "", "attributed": int(one)}
                                 for one in steps["reference_in_passages"]]}
        ],
        "llm_noise_relevant": noise,
    }  # fmt: skip
    return {metric: make() for metric, make in makers.items() if set(CLAIM_METRICS[metric].needs) <= set(steps)}


def agreement(both: list[tuple[float, float]]) -> dict[str, Any]:
    """Means, differences and Pearson's correlation, which needs both to vary; {"n": 0} where nothing is paired."""
    if not both:
        return {"n": 0}
    ours, theirs = np.array(both).T
    varied = len(both) > 2 and ours.std() > 0 and theirs.std() > 0
    return {
        "n": len(both),
        "ours": round(float(ours.mean()), 4),
        "ragas": round(float(theirs.mean()), 4),
        "largest_difference": round(float(np.abs(ours - theirs).max()), 7),
        "mean_absolute_difference": round(float(np.abs(ours - theirs).mean()), 4),
        "pearson": round(float(np.corrcoef(ours, theirs)[0, 1]), 4) if varied else None,
    }


def vectors_of(encoder: Encoder) -> type[BaseHTTPRequestHandler]:
    """Answers a JSON list of texts with their vectors."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(encoder.encode([text or "." for text in texts]).tolist()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def run_ragas(python: Path, job: dict[str, Any]) -> list[Any]:
    with tempfile.TemporaryDirectory() as scratch:
        given, made = Path(scratch) / "job.json", Path(scratch) / "scores.json"
        given.write_text(json.dumps(job), encoding="utf-8")
        silent = {"RAGAS_DO_NOT_TRACK": "true"}
        subprocess.run([str(python), str(RUNNER), str(given), str(made)], check=True, env=clean_environ() | silent)
        scores: list[Any] = json.loads(made.read_text(encoding="utf-8"))["scores"]
        return scores


if __name__ == "__main__":
    main()
