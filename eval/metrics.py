"""Retrieval metrics, computed by ir_measures. A question that got no result scores 0 and counts."""

from collections.abc import Mapping, Sequence

from indexer.errors import ConfigError

RETRIEVAL_METRICS = {"ndcg@10": "nDCG@10", "recall@100": "R@100", "mrr@10": "RR@10"}  # our name -> ir_measures' name


def check_measures(names: Sequence[str], depth: int) -> None:
    """Refuse measures that cannot be computed from the first `depth` documents.

    Raises:
        ConfigError: ir_measures does not know a name, or its cut is deeper.
    """
    import ir_measures

    for name in names:
        try:
            measure = ir_measures.parse_measure(name)
        except (NameError, ValueError, SyntaxError, TypeError) as error:
            raise ConfigError(
                f"{name} is no measure: {error}.", "Write it as ir_measures does: AP, P@5, Judged@10."
            ) from error
        cut = measure.params.get("cutoff", 0)
        if cut > depth:
            raise ConfigError(
                f"{name} looks deeper than the {depth} documents that are ranked.", "Choose a smaller cut."
            )


def score_rankings(
    relevant: Mapping[str, Mapping[str, int]], rankings: Mapping[str, Sequence[str]], measures: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """Score ranked document ids, best first: metric -> question id -> value.

    `measures` are computed beside ours, named as ir_measures has them (MacAvaney et al. 2022): AP, P@5, Success@1.

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
    named = {**RETRIEVAL_METRICS, **{name: name for name in measures}}
    wanted = {ours: ir_measures.parse_measure(theirs) for ours, theirs in named.items()}
    values: dict[str, dict[str, float]] = {ours: dict.fromkeys(relevant, 0.0) for ours in named}
    for metric in ir_measures.iter_calc(list(dict.fromkeys(wanted.values())), qrels, run):
        for ours, measure in wanted.items():
            if measure == metric.measure:
                values[ours][metric.query_id] = float(metric.value)
    return values
