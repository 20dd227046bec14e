"""An answer as it is kept in a run, and read again."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from generator.answer import Answer, Citation, Sentence
from generator.usage import Usage
from indexer.document import Chunk
from retriever.expansion import Expansion
from retriever.hit import Hit, Part


def as_outcome(answer: Answer) -> dict[str, Any]:
    """An answer as JSON, without its times."""
    return {
        "answer": answer.text,
        "abstained": answer.abstained,
        "query": answer.query,
        "model": answer.model,
        **answer.checks(),
        "citations": [asdict(citation) for citation in answer.citations],
        "hits": [_hit(hit) for hit in answer.hits],
    }


def as_answer(outcome: Mapping[str, Any]) -> Answer:
    """The answer that `as_outcome` wrote down; runs of earlier versions lack some of it."""
    hits = [
        Hit(
            chunk=as_chunk(hit["chunk"]),
            parts={name: Part(**part) for name, part in hit["parts"].items()},
            **{name: hit[name] for name in ("source", "title", "score", "rank", "stage")},
        )
        for hit in outcome["hits"]
    ]
    return Answer(
        text=outcome["answer"],
        citations=tuple(Citation(**citation) for citation in outcome["citations"]),
        hits=tuple(hits),
        abstained=outcome["abstained"],
        query=outcome["query"],
        model=outcome["model"],
        dropped_markers=outcome["dropped_markers"],
        prompt_version=outcome.get("prompt_version", ""),
        usage=Usage(**told) if (told := outcome.get("usage")) else None,
        log_p_token=outcome.get("log_p_token"),
        doubt=outcome.get("doubt"),
        moved_markers=outcome.get("moved_markers", 0),
        sentences=tuple(
            Sentence(**{**sentence, "citations": tuple(sentence["citations"])})
            for sentence in outcome.get("sentences", ())
        ),
        checked_by=outcome.get("checked_by", ""),
        expansion=Expansion(**{**told, "texts": tuple(told["texts"])}) if (told := outcome.get("expansion")) else None,
        notes=tuple(outcome.get("notes", ())),
    )


def as_chunk(value: Mapping[str, Any]) -> Chunk:
    """The chunk that was written down field by field."""
    return Chunk(**{**value, "heading_path": tuple(value["heading_path"])})


def _hit(hit: Hit) -> dict[str, Any]:
    return {
        "source": hit.source,
        "title": hit.title,
        "score": hit.score,
        "rank": hit.rank,
        "stage": hit.stage,
        "chunk": asdict(hit.chunk),
        "parts": {name: asdict(part) for name, part in hit.parts.items()},
    }
