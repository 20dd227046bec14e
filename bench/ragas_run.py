"""Runs inside ragas' environment (ragas_agreement.py builds it); imports nothing of Footnote.

Reads a JSON job from the file named first and writes {"scores": [...]} to the one named second. A job has "arithmetic",
cases of verdicts for ragas' own scoring functions, or "samples" and "vectors" for its metrics: judged by "model" at
"base_url", or without a model by the replies that each sample brings for each metric.
"""

import asyncio
import json
import math
import sys
import urllib.request
from pathlib import Path

import numpy as np
from openai import AsyncOpenAI
from ragas.embeddings.base import BaseRagasEmbedding
from ragas.llms.base import InstructorBaseRagasLLM
from ragas.metrics import AnswerCorrectness as LegacyCorrectness
from ragas.metrics import ContextPrecision as LegacyPrecision
from ragas.metrics import ContextRecall as LegacyRecall
from ragas.metrics import Faithfulness as LegacyFaithfulness
from ragas.metrics import NoiseSensitivity as LegacyNoise
from ragas.metrics import ResponseRelevancy
from ragas.metrics._answer_correctness import ClassificationWithReason, StatementsWithReason
from ragas.metrics._answer_relevance import ResponseRelevanceOutput
from ragas.metrics._context_precision import Verification
from ragas.metrics._context_recall import ContextRecallClassification
from ragas.metrics._faithfulness import NLIStatementOutput, StatementFaithfulnessAnswer
from ragas.metrics.collections import (
    AnswerCorrectness,
    AnswerRelevancy,
    ContextPrecisionWithReference,
    ContextRecall,
    Faithfulness,
    NoiseSensitivity,
)

LONGEST = 300  # characters of a string: our own schemas' limit
MAX_TOKENS = 1500
AT_ONCE = 8
METRICS = (
    "faithfulness",
    "answer_relevancy",
    "answer_correctness",
    "llm_context_precision",
    "llm_context_recall",
    "llm_noise_relevant",
)


class Cosines:
    """Embeddings whose cosines with the question are the given ones."""

    def __init__(self, cosines):
        self.cosines = cosines

    def embed_query(self, text):
        return [1.0, 0.0]

    def embed_documents(self, texts):
        return [[cosine, math.sqrt(1 - cosine**2)] for cosine in self.cosines]


def score(metric, given):
    """What ragas' own scoring function makes of verdicts."""
    if metric == "faithfulness":
        answers = [StatementFaithfulnessAnswer(statement="", reason="", verdict=v) for v in given["verdicts"]]
        return LegacyFaithfulness()._compute_score(NLIStatementOutput(statements=answers))
    if metric == "context_recall":
        found = [ContextRecallClassification(statement="", reason="", attributed=v) for v in given["verdicts"]]
        return LegacyRecall()._compute_score(found)
    if metric == "context_precision":
        return LegacyPrecision()._calculate_average_precision(
            [Verification(reason="", verdict=v) for v in given["verdicts"]]
        )
    if metric == "answer_correctness":
        ours = LegacyCorrectness()
        parts = {
            "TP": sum(given["answer"]),
            "FP": len(given["answer"]) - sum(given["answer"]),
            "FN": len(given["reference"]) - sum(given["reference"]),
        }
        said = {name: [StatementsWithReason(statement="", reason="")] * count for name, count in parts.items()}
        f1 = ours._compute_statement_presence(ClassificationWithReason(**said))
        return float(np.average([f1, given["similarity"]], weights=ours.weights))
    if metric == "answer_relevancy":
        relevancy = ResponseRelevancy(embeddings=Cosines(given["cosines"]))
        made = [ResponseRelevanceOutput(question="q", noncommittal=given["noncommittal"]) for _ in given["cosines"]]
        return float(relevancy._calculate_score(made, {"user_input": "q"}))
    verdicts = {
        "retrieved2ground_truth": np.array(given["reference_by_passage"], dtype=bool).T,
        "retrieved2answer": np.array(given["answer_by_passage"], dtype=bool).T,
        "ground_truth2answer": np.array([given["correct"]], dtype=bool),
    }
    return LegacyNoise(mode=metric.removeprefix("noise_sensitivity_"))._compute_score(verdicts)


class Judge(InstructorBaseRagasLLM):
    """The model server, held to the schema of what ragas wants to read, with 0 and 1 for its verdicts."""

    def __init__(self, base_url, model, most):
        self.most = most  # items of a list
        self.client = AsyncOpenAI(base_url=base_url, api_key="none", timeout=300)
        self.model = model
        self.slots = asyncio.Semaphore(AT_ONCE)

    def generate(self, prompt, response_model):
        return asyncio.run(self.agenerate(prompt, response_model))

    async def agenerate(self, prompt, response_model):
        schema = bounded(response_model.model_json_schema(), self.most)
        async with self.slots:
            answered = await self.client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": prompt}],
                temperature=0,
                seed=0,
                max_tokens=MAX_TOKENS,
                response_format={"type": "json_schema", "json_schema": {"name": "out", "schema": schema}},
            )
        return response_model.model_validate_json(answered.choices[0].message.content)


class Replay(InstructorBaseRagasLLM):
    """Says what was said before, in the order in which ragas asks."""

    def __init__(self, replies):
        self.replies = list(replies)

    def generate(self, prompt, response_model):
        return response_model.model_validate(self.replies.pop(0))

    async def agenerate(self, prompt, response_model):
        return self.generate(prompt, response_model)


class Vectors(BaseRagasEmbedding):
    """Our encoder's unit vectors, fetched from the process that started this one."""

    def __init__(self, url):
        super().__init__()
        self.url = url

    def embed_texts(self, texts, **_):
        body = json.dumps(texts).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url, data=body), timeout=300) as answered:
            return json.loads(answered.read())

    def embed_text(self, text, **_):
        return self.embed_texts([text])[0]

    async def aembed_text(self, text, **_):
        return self.embed_text(text)

    async def aembed_texts(self, texts, **_):
        return self.embed_texts(texts)


class BothNoises(NoiseSensitivity):
    """Keeps the verdicts, so that both modes are scored from one asking."""

    def _compute_score(self, answers):
        self.verdicts = answers
        return super()._compute_score(answers)

    def other_mode(self):
        self.mode = "irrelevant"
        return super()._compute_score(self.verdicts)


def bounded(schema, most):
    if isinstance(schema, list):
        return [bounded(part, most) for part in schema]
    if not isinstance(schema, dict):
        return schema
    limits = {
        "string": {"maxLength": LONGEST},
        "array": {"maxItems": most},
        "integer": {"enum": [0, 1]},
    }.get(schema.get("type") if isinstance(schema.get("type"), str) else "", {})
    return {**{name: bounded(part, most) for name, part in schema.items()}, **limits}


async def measure(judges, vectors, sample):
    question, answer = sample["question"], sample["answer"]
    reference, passages = sample["reference"], sample["passages"]
    said = {"user_input": question, "response": answer}
    found = {"user_input": question, "reference": reference, "retrieved_contexts": passages}
    makers = {
        "faithfulness": lambda llm: Faithfulness(llm=llm).ascore(**said, retrieved_contexts=passages),
        "answer_relevancy": lambda llm: AnswerRelevancy(llm=llm, embeddings=vectors).ascore(**said),
        "answer_correctness": lambda llm: AnswerCorrectness(llm=llm, embeddings=vectors).ascore(
            **said, reference=reference
        ),
        "llm_context_precision": lambda llm: ContextPrecisionWithReference(llm=llm).ascore(**found),
        "llm_context_recall": lambda llm: ContextRecall(llm=llm).ascore(**found),
        "llm_noise_relevant": lambda llm: noise_of(llm).ascore(**found, response=answer),
    }
    noises = {}

    def noise_of(llm):
        noises["both"] = BothNoises(llm=llm)
        return noises["both"]

    asked = {metric: make(judges[metric]) for metric, make in makers.items() if metric in judges}
    results = await asyncio.gather(*asked.values(), return_exceptions=True)
    scores, errors = {}, {}
    for metric, result in zip(asked, results, strict=True):
        if isinstance(result, Exception):
            errors[metric] = f"{type(result).__name__}: {result}"[:300]
        elif math.isnan(result.value):
            errors[metric] = "NaN"
        else:
            scores[metric] = float(result.value)
    if "llm_noise_relevant" in scores:
        scores["llm_noise_irrelevant"] = float(noises["both"].other_mode())
    elif "llm_noise_relevant" in errors:
        errors["llm_noise_irrelevant"] = errors["llm_noise_relevant"]
    return {"scores": scores, "errors": errors}


async def measure_all(job):
    vectors = Vectors(job["vectors"])
    judge = Judge(job["base_url"], job["model"], job["most"]) if "model" in job else None
    done = 0

    async def one(sample):
        nonlocal done
        replies = sample.get("replies", {})
        judges = dict.fromkeys(METRICS, judge) if judge else {name: Replay(said) for name, said in replies.items()}
        measured = await measure(judges, vectors, sample)
        done += 1
        print(f"ragas: {done} of {len(job['samples'])}", file=sys.stderr, flush=True)
        return measured

    return await asyncio.gather(*map(one, job["samples"]))


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if "arithmetic" in given:
        scores = [float(score(case["metric"], case["given"])) for case in given["arithmetic"]]
    else:
        scores = asyncio.run(measure_all(given))
    Path(sys.argv[2]).write_text(json.dumps({"scores": scores}), encoding="utf-8")
