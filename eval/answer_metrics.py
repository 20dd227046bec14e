"""How good an answer is, by rules alone: each metric needs the case and the answer, and no model.

A metric is a function to a number from 0 to 1, or to None where it says nothing about that case: the mean is over the
cases to which it applies, and that number is reported beside it.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from eval.claim_scores import noise_sensitivity
from eval.dataset import Case
from generator.align import Evidence, align, has_content
from generator.answer import Answer
from generator.citations import footnoted_sentences, without_markers

SUPPORTED = 0.6  # a sentence rests on a passage when at least this share of its content is in one sentence there
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

Scorer = Callable[[Case, Answer], float | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """A scorer, and in a few words what it means and how it is computed."""

    score: Scorer
    meaning: str
    method: str = "rules"


def score_answer(case: Case, answer: Answer) -> dict[str, float]:
    """Every metric that applies to this case."""
    scores = {name: metric.score(case, answer) for name, metric in ANSWER_METRICS.items()}
    return {name: score for name, score in scores.items() if score is not None}


def normalised(text: str) -> str:
    """Lower case without punctuation, articles and spare white space, as SQuAD's own evaluation has it."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def holds(text: str, words: str) -> bool:
    """Whether words stand in a text in this order, both normalised."""
    return f" {normalised(words)} " in f" {normalised(text)} "


def exact_match(case: Case, answer: Answer) -> float | None:
    """1 if the answer is one of the known ones (Rajpurkar et al. 2016); where there is none, if it was declined."""
    if not case.answerable:
        return float(answer.abstained)
    said = normalised(_words(answer))
    return _best(case, answer, lambda known: float(normalised(known) == said))


def token_f1(case: Case, answer: Answer) -> float | None:
    """Harmonic mean of the words' precision and recall against the nearest known answer (Rajpurkar et al. 2016)."""
    if not case.answerable:
        return float(answer.abstained)
    said = normalised(_words(answer)).split()
    return _best(case, answer, lambda known: _f1(said, normalised(known).split()))


def contains(case: Case, answer: Answer) -> float | None:
    """1 if a known answer stands in the answer word for word: string EM of ALCE (Gao et al. 2023)."""
    said = _words(answer)
    return _best(case, answer, lambda known: float(holds(said, known))) if case.answerable else None


def rouge_l(case: Case, answer: Answer) -> float | None:
    """F of the longest common subsequence of words with the nearest known answer (Lin 2004)."""
    said = normalised(_words(answer)).split()

    def against(known: str) -> float:
        words = normalised(known).split()
        return _harmonic(_common_subsequence(said, words), len(said), len(words))

    return _best(case, answer, against) if case.answerable else None


def answered(case: Case, answer: Answer) -> float | None:
    """Of the questions that have an answer: 1 if one was given."""
    return float(not answer.abstained) if case.answerable else None


def abstention_recall(case: Case, answer: Answer) -> float | None:
    """Of the questions without an answer: 1 if it was declined."""
    return None if case.answerable else float(answer.abstained)


def abstention_precision(case: Case, answer: Answer) -> float | None:
    """Of the declined questions: 1 if there was no answer."""
    return float(not case.answerable) if answer.abstained else None


def citation_precision(case: Case, answer: Answer) -> float | None:
    """Of an answer's footnotes: the share in passages that are judged relevant."""
    if answer.abstained or not _relevant(case):
        return None
    cited = [citation.source in _relevant(case) for citation in answer.citations]
    return sum(cited) / len(cited) if cited else 0.0


def citation_recall(case: Case, answer: Answer) -> float | None:
    """Of an answer's sentences: the share with a footnote in a relevant passage."""
    if answer.abstained or not _relevant(case):
        return None
    right = {citation.number for citation in answer.citations if citation.source in _relevant(case)}
    marked = [bool(numbers & right) for sentence, numbers in footnoted_sentences(answer.text) if has_content(sentence)]
    return sum(marked) / len(marked) if marked else 0.0


def quote_support(case: Case, answer: Answer) -> float | None:
    """Of an answer's footnoted sentences: the share that the quoted words of their footnotes together bear out."""
    quotes = {citation.number: citation.quote for citation in answer.citations}
    told = [
        (sentence, [quotes[number] for number in sorted(numbers) if number in quotes])
        for sentence, numbers in footnoted_sentences(answer.text)
        if numbers & quotes.keys() and has_content(sentence)
    ]
    if answer.abstained or not told:
        return None
    return sum(_borne_out(sentence, said) for sentence, said in told) / len(told)


def support(case: Case, answer: Answer) -> float | None:
    """Of an answer's sentences: the share that some passage found for it supports, whether it is cited or not."""
    if answer.abstained:
        return None
    claims = [sentence for sentence, _ in footnoted_sentences(answer.text) if has_content(sentence)]
    if not claims:
        return 0.0
    texts = [hit.chunk.text for hit in answer.hits]
    return sum(any(align(claim, text).score >= SUPPORTED for text in texts) for claim in claims) / len(claims)


def context_recall(case: Case, answer: Answer) -> float | None:
    """Of the relevant passages: the share that was found for the answer (ragas: ID-based context recall)."""
    relevant = _relevant(case)
    return len(relevant & {hit.source for hit in answer.hits}) / len(relevant) if relevant else None


def context_precision(case: Case, answer: Answer) -> float | None:
    """Mean precision at the rank of each relevant passage among those found (ragas: context precision)."""
    relevant = _relevant(case)
    if not relevant:
        return None
    found, shares = 0, []
    for rank, hit in enumerate(answer.hits, start=1):
        if hit.source in relevant:
            found += 1
            shares.append(found / rank)
    return sum(shares) / len(shares) if shares else 0.0


def noise_relevant(case: Case, answer: Answer) -> float | None:
    """Of an answer's sentences: the share without a known answer that a relevant passage supports."""
    return _noise(case, answer)[0]


def noise_irrelevant(case: Case, answer: Answer) -> float | None:
    """Of an answer's sentences: the share without a known answer that irrelevant passages alone support."""
    return _noise(case, answer)[1]


ANSWER_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "em": Metric(exact_match, "the answer is a known one, or is rightly declined"),
        "f1": Metric(token_f1, "words in common with a known answer; 1 when rightly declined"),
        "contains": Metric(contains, "a known answer stands in it"),
        "rouge_l": Metric(rouge_l, "longest common subsequence with a known answer"),
        "answered": Metric(answered, "of questions with an answer: not declined"),
        "abstention_precision": Metric(abstention_precision, "of declined questions: had no answer"),
        "abstention_recall": Metric(abstention_recall, "of questions without an answer: declined"),
        "citation_precision": Metric(citation_precision, "of footnotes: in a relevant passage"),
        "citation_recall": Metric(citation_recall, "of sentences: footnoted to a relevant passage"),
        "quote_support": Metric(
            quote_support, "of footnoted sentences: borne out by the quoted words", "lexical alignment"
        ),
        "support": Metric(support, "of sentences: supported by a passage found", "lexical alignment"),
        "context_recall": Metric(context_recall, "of relevant passages: found"),
        "context_precision": Metric(context_precision, "relevant passages stand first"),
        "noise_relevant": Metric(
            noise_relevant, "of sentences: wrong, and from a relevant passage; lower is better", "lexical alignment"
        ),
        "noise_irrelevant": Metric(
            noise_irrelevant, "of sentences: wrong, and from irrelevant passages; lower is better", "lexical alignment"
        ),
    }
)


def confidence(answer: Answer) -> float:
    """How sure an answer is: 1 minus the doubt, where that was weighed, else the mean support of its footnotes.

    0 when the question was declined.
    """
    if answer.doubt is not None and not answer.abstained:
        return 1 - answer.doubt
    supports = [citation.support for citation in answer.citations]
    return sum(supports) / len(supports) if supports else 0.0


def _noise(case: Case, answer: Answer) -> tuple[float | None, float | None]:
    """Noise sensitivity with sentences for claims, alignment for verdicts, and relevance as people judged it."""
    if answer.abstained or not case.answers or not _relevant(case):
        return None, None
    claims = [sentence for sentence, _ in footnoted_sentences(answer.text) if has_content(sentence)]
    correct = [any(_says(claim, known) for known in case.answers) for claim in claims]
    supports = [[align(claim, hit.chunk.text).score >= SUPPORTED for claim in claims] for hit in answer.hits]
    return noise_sensitivity(correct, supports, [hit.source in _relevant(case) for hit in answer.hits])


def _borne_out(sentence: str, quotes: Sequence[str]) -> bool:
    """Whether one quote supports a sentence, or all of them together have its words."""
    together = Evidence(quotes).coverage(sentence, " ".join(quotes))
    return max([together, *(align(sentence, quote).score for quote in quotes)]) >= SUPPORTED


def _says(claim: str, known: str) -> bool:
    words = normalised(known)
    return (bool(words) and f" {words} " in f" {normalised(claim)} ") or align(claim, known).score >= SUPPORTED


def _best(case: Case, answer: Answer, against: Callable[[str], float]) -> float | None:
    if not case.answers:
        return None
    return 0.0 if answer.abstained else max(map(against, case.answers))


def _words(answer: Answer) -> str:
    return without_markers(answer.text)


def _f1(said: Sequence[str], known: Sequence[str]) -> float:
    return _harmonic((Counter(said) & Counter(known)).total(), len(said), len(known))


def _harmonic(common: int, said: int, known: int) -> float:
    return 2 * common / (said + known) if common else 0.0


def _common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = row
        row = [0]
        for place, other in enumerate(b):
            row.append(before[place] + 1 if word == other else max(before[place + 1], row[place]))
    return row[-1]


def _relevant(case: Case) -> frozenset[str]:
    return frozenset(id_ for id_, grade in case.relevant.items() if grade > 0)
