"""Encoder tasks through the task classes of the mteb package (arXiv:2210.07316), with local data put in place.

mteb is an extra (requirements-mteb.txt) and imported on use. It encodes, fits, clusters and scores; what it predicted
for each case is read from the predictions it writes, so that every figure has an interval and can be tested in pairs.
"""

import importlib.util
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from eval.jackknife import average_precision_values, spearman_values
from eval.metrics import score_rankings
from eval.tasks import Candidates, Labelled, Task
from indexer.encoder import Encoder, Vectors
from indexer.errors import ConfigError, ModelError

SEED = 42  # mteb's own; it draws the training texts and the clusterings
EXPERIMENTS = 10  # classifiers and clusterings of a task, as mteb has them
_INSTALL = "Install it: .venv/bin/python -m pip install --requirement requirements-mteb.txt"
_TYPES = {  # ours -> mteb's type and main score
    "sts": ("STS", "cosine_spearman"),
    "pair_classification": ("PairClassification", "cosine_ap"),
    "reranking": ("Reranking", "map_at_1000"),
    "classification": ("Classification", "accuracy"),
    "clustering": ("Clustering", "v_measure"),
}
Told = Callable[[int, int], None]  # texts done, in all


@dataclass(frozen=True, slots=True)
class Scored:
    """What a task's cases got, in order: values of each metric, and what was predicted; and mteb's main score."""

    values: Mapping[str, Sequence[float]]
    predicted: Sequence[Mapping[str, Any]]
    main_score: float


def check_mteb() -> None:
    """Refuse to begin without mteb.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec("mteb") is None:
        raise ConfigError("Tasks other than retrieval need the package mteb.", _INSTALL)


def score_task(task: Task, encoder: Encoder, on_progress: Told | None = None) -> Scored:
    """Evaluate an encoder on one task that is no retrieval.

    Raises:
        ConfigError: mteb is not installed.
        ModelError: the encoder cannot run, or a figure is undefined because it makes all texts alike.
    """
    check_mteb()
    scores, predicted = _evaluate(task, _MtebEncoder(encoder, on_progress))
    readers: Mapping[str, Callable[[], Scored]] = {
        "sts": partial(_similarity, task, scores, predicted),
        "pair_classification": partial(_similarity, task, scores, predicted),
        "reranking": partial(_reranking, task, scores, predicted),
        "classification": partial(_classification, task, scores, predicted),
        "clustering": partial(_clustering, scores),
    }
    scored = readers[task.type]()
    if not all(np.isfinite(values).all() for values in scored.values.values()):
        raise ModelError(
            f"The encoder gives all pairs of {task.name} the same similarity: no correlation is defined.",
            "Check the encoder: it makes all texts alike.",
        )
    return scored


class _MtebEncoder:
    """An Encoder as mteb's EncoderProtocol; the query instruction goes before queries only."""

    def __init__(self, encoder: Encoder, on_progress: Told | None) -> None:
        from mteb.similarity_functions import cos_sim, pairwise_cos_sim

        self.mteb_model_meta = SimpleNamespace(name=encoder.fingerprint, revision=None)
        self.similarity, self.similarity_pairwise = cos_sim, pairwise_cos_sim
        self._encoder, self._on_progress = encoder, on_progress

    def encode(self, inputs: Any, *, prompt_type: Any = None, **_: Any) -> Vectors:
        """Rows (texts, dim) of mteb's batches of texts."""
        from mteb.types import PromptType

        texts = [text for batch in inputs for text in batch["text"]]
        instruction = self._encoder.query_instruction if prompt_type == PromptType.query else ""
        tell = partial(_tell, self._on_progress, len(texts)) if self._on_progress else None
        return self._encoder.encode(texts, instruction, tell)


def _tell(on_progress: Told, total: int, done: int) -> None:
    on_progress(done, total)


def _evaluate(task: Task, model: _MtebEncoder) -> tuple[Mapping[str, Any], Any]:
    """mteb's scores and predictions."""
    import datasets
    from mteb.abstasks.task_metadata import TaskMetadata

    type_, main_score = _TYPES[task.type]
    metadata = TaskMetadata(
        name=task.name,
        description=f"The task in the folder {task.name}.",
        dataset={"path": f"local/{task.name}", "revision": task.sha256},
        type=type_,
        eval_splits=["test"],
        eval_langs=["eng-Latn"],  # asked for, and without effect on a score
        main_score=main_score,
    )
    base, attributes, data = _local(task)
    local = type("LocalTask", (base,), {"metadata": metadata, **attributes})(seed=SEED)
    local.dataset, local.data_loaded = {"default": data}, True
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"batch_size": 256, "show_progress_bar": False}
        scores = local.evaluate(model, "test", encode_kwargs=quiet, prediction_folder=Path(folder))
        told = json.loads((Path(folder) / local.prediction_file_name).read_text(encoding="utf-8"))
    return scores["default"], told["default"]["test"]


def _local(task: Task) -> tuple[type, dict[str, Any], Any]:
    """mteb's class of a task, what is set on it, and the data as it wants them."""
    from mteb import abstasks

    if task.type == "sts":
        return abstasks.AbsTaskSTS, {}, {"test": _columns(**_sentences(task), score=[p.score for p in task.pairs])}
    if task.type == "pair_classification":
        labels = [int(pair.score) for pair in task.pairs]
        return abstasks.AbsTaskPairClassification, {}, {"test": _columns(**_sentences(task), labels=labels)}
    if task.type == "reranking":
        return abstasks.AbsTaskRetrieval, {}, {"test": _lists(task.candidates)}
    names = sorted({row.label for row in (*task.labelled, *task.train)})
    if task.type == "clustering":
        columns = _columns(sentences=[row.text for row in task.labelled], labels=_numbers(task.labelled, names))
        # All texts: by default mteb takes a sample of 4%, which is meant for its own large sets.
        return abstasks.AbsTaskClustering, {"max_fraction_of_documents_to_embed": None}, {"test": columns}
    splits = {
        split: _columns(text=[row.text for row in rows], label=_numbers(rows, names))
        for split, rows in (("train", task.train), ("test", task.labelled))
    }
    return abstasks.AbsTaskClassification, {}, _splits(splits)


def _sentences(task: Task) -> dict[str, list[str]]:
    return {"sentence1": [pair.first for pair in task.pairs], "sentence2": [pair.second for pair in task.pairs]}


def _columns(**columns: Sequence[Any]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(columns)


def _splits(splits: Mapping[str, Any]) -> Any:
    from datasets import DatasetDict

    return DatasetDict(splits)


def _numbers(rows: Sequence[Labelled], names: Sequence[str]) -> list[int]:
    return [names.index(row.label) for row in rows]


def _lists(candidates: Sequence[Candidates]) -> dict[str, Any]:
    """mteb's retrieval data, each query with the few texts to rank."""
    lists = {each.id: _documents(each) for each in candidates}
    documents = {id_: text for own in lists.values() for id_, text in own.items()}
    return {
        "queries": _columns(id=list(lists), text=[each.query for each in candidates]),
        "corpus": _columns(id=list(documents), title=[""] * len(documents), text=list(documents.values())),
        "relevant_docs": {each.id: _relevant(each) for each in candidates},
        "top_ranked": {id_: list(own) for id_, own in lists.items()},
    }


def _documents(each: Candidates) -> dict[str, str]:
    return {f"{each.id}/{place}": text for place, text in enumerate((*each.positive, *each.negative))}


def _relevant(each: Candidates) -> dict[str, int]:
    return {f"{each.id}/{place}": 1 for place in range(len(each.positive))}


def _similarity(task: Task, scores: Mapping[str, Any], predicted: Mapping[str, Any]) -> Scored:
    found = np.array(predicted["cosine_scores"])
    known = np.array([pair.score for pair in task.pairs])
    if task.type == "sts":
        values = {"spearman": spearman_values(known, found).tolist()}
    else:
        values = {"ap": average_precision_values(known == 1, found).tolist()}
    told = [
        {"cosine": round(float(cosine), 6), "known": float(score)} for cosine, score in zip(found, known, strict=True)
    ]
    return Scored(values, told, float(scores["main_score"]))


def _reranking(task: Task, scores: Mapping[str, Any], predicted: Mapping[str, Any]) -> Scored:
    rankings = {
        id_: [name for name, _ in sorted(own.items(), key=lambda item: (-item[1], item[0]))]
        for id_, own in predicted.items()
    }
    by_metric = score_rankings({each.id: _relevant(each) for each in task.candidates}, rankings, ["AP"])
    ids = [each.id for each in task.candidates]
    values = {ours: [by_metric[name][id_] for id_ in ids] for ours, name in (("map", "AP"), ("mrr@10", "mrr@10"))}
    told = [{"ranking": [[name, round(predicted[id_][name], 6)] for name in rankings[id_]]} for id_ in ids]
    return Scored(values, told, float(scores["main_score"]))


def _classification(task: Task, scores: Mapping[str, Any], predicted: Sequence[Sequence[int]]) -> Scored:
    names = sorted({row.label for row in (*task.labelled, *task.train)})
    given = [[names[int(number)] for number in numbers] for numbers in zip(*predicted, strict=True)]
    right = [sum(label == row.label for label in own) for row, own in zip(task.labelled, given, strict=True)]
    told = [{"label": row.label, "predicted": own} for row, own in zip(task.labelled, given, strict=True)]
    return Scored({"accuracy": [number / len(predicted) for number in right]}, told, float(scores["main_score"]))


def _clustering(scores: Mapping[str, Any]) -> Scored:
    (values,) = scores["v_measures"].values()
    told = [{"experiment": number} for number in range(1, len(values) + 1)]
    return Scored({"v_measure": [float(value) for value in values]}, told, float(scores["main_score"]))
