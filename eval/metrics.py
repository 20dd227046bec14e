"""Retrieval metrics, computed by ir_measures. A question that got no result scores 0 and counts."""

from collections.abc import Mapping, Sequence

RETRIEVAL_METRICS = {"ndcg@10": "nDCG@10", "recall@100": "R@100", "mrr@10": "RR@10"}  # our name -> ir_measures' name


def score_rankings(
    relevant: Mapping[str, Mapping[str, int]], rankings: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Score ranked document ids, best first: metric -> question id -> value.

    Every judged question is in the result, whether or not it has a ranking; rankings of others are left out.
    nDCG uses the grades as gains (Järvelin and Kekäläinen 2002, as in trec_eval); recall and reciprocal rank count a
    grade of at least 1. A document that stands twice counts where it stands first.
    """
    import ir_measures

    qrels = [
        ir_measures.Qrel(question, document, grade)
        for question, grades in relevant.items()
        for document, grade in grades.items()
    ]
    # The rank is the score: evaluators break equal scores by document id, the served order does not.
    run = [
        ir_measures.ScoredDoc(question, document, -float(rank))
        for question in relevant
        for rank, document in enumerate(dict.fromkeys(rankings.get(question, ())))
    ]
    measures = {ir_measures.parse_measure(theirs): ours for ours, theirs in RETRIEVAL_METRICS.items()}
    values: dict[str, dict[str, float]] = {ours: dict.fromkeys(relevant, 0.0) for ours in RETRIEVAL_METRICS}
    for metric in ir_measures.iter_calc(list(measures), qrels, run):
        values[measures[metric.measure]][metric.query_id] = float(metric.value)
    return values
