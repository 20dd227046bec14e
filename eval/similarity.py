"""How near an answer is to its question and to the known answer, by the encoder that searches; no language model."""

from collections.abc import Sequence

from eval.dataset import Case
from eval.outcome import as_answer
from eval.run import Record
from generator.citations import without_markers
from indexer.encoder import Encoder

SIMILARITY_METRICS = {
    "semantic_similarity": "cosine of the answer with the nearest known one",
    "question_similarity": "cosine of the answer with the question",
}


def similarity_scores(
    cases: Sequence[Case], records: Sequence[Record], encoder: Encoder
) -> dict[str, dict[str, float]]:
    """Cosines of what was answered, by metric, then by case.

    Semantic similarity is ragas' (after Risch et al. 2021, arXiv:2108.06130); of the question, the counterpart of
    answer relevancy that needs no generated questions. An encoder hardly notices a wrong number: read them as nearness.
    """
    given = {r.case_id: as_answer(r.outcome) for r in records if r.outcome is not None}
    said = {id_: without_markers(answer.text).strip() for id_, answer in given.items() if not answer.abstained}
    asked = [case for case in cases if said.get(case.id)]
    texts = list(dict.fromkeys(text for c in asked for text in (c.question, said[c.id], *c.answers) if text.strip()))
    if not texts:
        return {}
    vectors = dict(zip(texts, encoder.encode(texts), strict=True))

    def cosine(case: Case, text: str) -> float:
        return round(float(vectors[said[case.id]] @ vectors[text]), 6) if text.strip() else 0.0

    return {
        "semantic_similarity": {c.id: max(cosine(c, known) for known in c.answers) for c in asked if c.answers},
        "question_similarity": {c.id: cosine(c, c.question) for c in asked},
    }
