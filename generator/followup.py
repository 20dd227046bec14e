"""A follow-up question in words that need no conversation, for the search and for the reader."""

import logging
import re
from collections.abc import Sequence

from generator.abstain import declines
from generator.align import coverages
from generator.chat import ChatModel
from generator.citations import without_markers
from generator.prompt import Turn, rewrite_prompt
from generator.words import STOPWORDS
from indexer.errors import ModelError

logger = logging.getLogger(__name__)

_PERSON = re.compile(r"\b(?:he|she|him|his|her|hers)\b", re.IGNORECASE)
_THING = re.compile(
    r"\b(?:it|its|they|them|their|theirs|this|these|those|that(?=\s*(?:[?.!]|$|is\b|was\b|one\b)))\b"
    r"|(?<=\bdoes )that\b|(?<=\babout )that\b|(?<=\bdid )that\b|(?<=\bis )that\b"
    r"|(?<!\bis )(?<!\bare )(?<!\bwas )(?<!\bwere )\bthere\b",
    re.IGNORECASE,
)
_ELLIPSIS = re.compile(r"^\s*(?:and|or|but|so|what about|how about|what of|and what about)\b[\s,]*", re.IGNORECASE)
_BARE = re.compile(
    r"^\s*(?:why|how|when|where|who|since when|how so|how many|how much|which one|for how long)\s*\??\s*$", re.I
)
_ASKING = re.compile(
    r"^(?:who|what|when|where|why|how|which|is|are|was|were|do|does|did|can|could|has|have|had)\b", re.I
)
_NAME = re.compile(r"\b[A-Z][\w'\u2019-]*(?:\s+(?:(?:of|the|de|van|von|and)\s+)*[A-Z0-9][\w'\u2019-]*)*")
_WORD = re.compile(r"[\w'\u2019-]+")
_HOW = re.compile(r"\bhow \w+\b", re.IGNORECASE)
_ASKED = re.compile(r"\b(?:who|what|when|where|why|how|which)\b", re.IGNORECASE)
_RELATIVE = re.compile(r"\b(\w+) (that)(?= (?:is|was|one)\b)", re.IGNORECASE)
_DUMMY_IT = re.compile(
    r"\bhow \w+ (?:is|was|does|did|would) it\b(?= (?:take |be )?(?:from|to|between|in)\b)"
    r"|\b(?:how \w+|what) (?:does|did|would) it (?:take|cost)\b(?= to\b)"
    r"|\bwhat (?:time|day|date|year) (?:is|was) it\b(?= (?:in|at|on)\b)"
    r"|\b(?:is|was) it\b(?= (?:true|possible|legal|allowed|forbidden)\b)",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[,.?!;]|\b(?:and|when|after|before|because|while|if|that|until|since)\b", re.IGNORECASE)
_PREDICATE = re.compile(
    r"\w+ed|built|made|held|found|written|known|born|sold|kept|open|close|start|begin|end|cost|mean"
)
_POSSESSIVE = frozenset(("his", "hers", "its", "their", "theirs"))
_OWNING = re.compile(r"\b(?:his|her|its|their)(?=\s+\w)", re.IGNORECASE)
_PREPOSITIONS = frozenset(("in", "on", "at", "for", "from", "to", "by", "with", "without", "during", "after", "before"))
_TOPIC_TURNS = 3
_OWN_WORDS = 4
_ANSWER_WORDS = 12
_REWRITE_TOKENS = 96
_REWRITE_CHARS = 400


def needs_context(question: str) -> bool:
    """Whether a question leans on what was said before: a pronoun, an ellipsis, or hardly any words."""
    content = [word for word in _WORD.findall(question.lower()) if word not in STOPWORDS]
    return bool(
        _ELLIPSIS.match(question)
        or _PERSON.search(question)
        or _THING.search(question)
        or _BARE.match(question)
        or (len(content) < 2 and not _NAME.search(question[1:]))
    )


def switches_topic(question: str, history: Sequence[Turn]) -> bool:
    """Whether a question after others is about something new, so that what was said has nothing to add to it.

    It shares no content word with the last turns and has a name or enough words of its own ("What does the winner get?"
    has not), and each word that looks like leaning is explained by the question itself: an "And" before a whole
    question, the "it" of "how far is it from Oslo", a pronoun after what it means. Where nothing was found about the
    turn before, a question that only is short does not lean on it either.
    """
    said = " ".join(part for turn in history[-_TOPIC_TURNS:] for part in turn)
    if not history or coverages(_HOW.sub(" ", question), [said])[0] > 0:
        return False
    rest = _ELLIPSIS.sub("", question)
    asking = _ASKING.match(rest) or _ASKED.search(rest)
    own = _own_subject(rest, asking.end() if asking else 0)
    if not needs_context(question):
        return own is not None
    rest = _DUMMY_IT.sub(_blank, _RELATIVE.sub(_without_relative, rest))
    pointing = [found.start() for pattern in (_PERSON, _THING) for found in pattern.finditer(rest)]
    if not pointing and asking and rest == question and not _BARE.match(question):
        return own is not None or declines(history[-1][1])
    return bool(asking) and own is not None and all(_meant_by(rest, own, at) for at in pointing)


def _own_subject(question: str, start: int) -> int | None:
    """Where the name or the first content word ends that a question has of its own; None where it has too few."""
    words = [word for word in _WORD.finditer(_HOW.sub(_blank, question)) if word[0].lower() not in STOPWORDS]
    name = _NAME.search(question, start)
    found = [name] if name else []
    return min((one.end() for one in [*found, *words[: len(words) >= _OWN_WORDS]]), default=None)


def _meant_by(question: str, own: int, at: int) -> bool:
    """Whether the pronoun at `at` may mean what ends at `own`: it stands after it, and in a later clause if it owns
    nothing ("the council changed its mind", but not "Ada thinks of it"; Chomsky 1981, principle B)."""
    if _OWNING.match(question, at):
        return at > own
    clause = _CLAUSE.search(question, own)
    return clause is not None and at > clause.start()


def _without_relative(found: re.Match[str]) -> str:
    """The "that" of "the stack that is 49 metres high" points at the noun before it."""
    return found[0] if found[1].lower() in STOPWORDS else f"{found[1]} {' ' * len(found[2])}"


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])  # so that what follows stays where it is


def self_contained(question: str, history: Sequence[Turn], model: ChatModel | None = None) -> str:
    """Rewrite a follow-up: by the model if it follows instructions, else, or if it fails, by rule.

    A question that needs no conversation, or that turns to another topic, is left as it is.
    """
    if not history or not needs_context(question) or switches_topic(question, history):
        return question
    if model is not None and model.follows_instructions:
        try:
            return _by_model(question, history, model) or by_rule(question, history)
        except ModelError as error:
            logger.warning("The follow-up was rewritten by rule: %s", error.message)
    return by_rule(question, history)


def by_rule(question: str, history: Sequence[Turn]) -> str:
    """Put the earlier topic where the follow-up points at it.

    "And the Louvre?" takes over the question before it with another topic; a pronoun is replaced by the topic; where
    neither works, the key terms of the question before are added in parentheses.
    """
    before, answer = history[-1][0].strip(), without_markers(history[-1][1])
    if declines(answer):
        answer = ""  # "The documents do not say." names nothing
    topic, person = _topic(before), _person(answer, before)
    if person and _PERSON.search(question):
        return _replace(_PERSON, question, person)
    if topic and _THING.search(question):
        return _replace(_THING, question, topic)
    rest = _ELLIPSIS.sub("", question).strip()
    if rest != question.strip() and not _ASKING.match(rest):
        return _with_other(before, topic, rest.rstrip("?!. "))
    if _BARE.match(question):
        return f"{question} {before}"
    return f"{question} ({_terms(before, answer)})"


def _with_other(before: str, topic: str, other: str) -> str:
    """Ask the question before again, about something else, or with another time or place."""
    first, _, _ = other.partition(" ")
    if first.lower() in _PREPOSITIONS:
        same = list(re.finditer(rf"\b{first}\b", before, re.IGNORECASE))
        return (before[: same[-1].start()] if same else before.rstrip("?!. ") + " ") + other + "?"
    if topic and other and topic in before:
        return before.replace(topic, other)
    return f"{before} {other}?"


def _by_model(question: str, history: Sequence[Turn], model: ChatModel) -> str:
    prompt = rewrite_prompt(question, history, model.count_tokens)
    written = "".join(model.stream(prompt, max_tokens=_REWRITE_TOKENS)).strip().strip('"')
    # Anything but one short line is not a question but an attempt to answer.
    return written if written and "\n" not in written and len(written) <= _REWRITE_CHARS else ""


def _topic(question: str) -> str:
    """What a question is about: its longest name, else its last run of content words."""
    body = question.rstrip("?!. ")
    first = _ASKING.match(body)
    names = [m.group() for m in _NAME.finditer(body) if not (first and m.start() < first.end())]
    if names:
        return _with_article(body, max(names, key=len))
    runs: list[list[str]] = [[]]
    for word in _WORD.findall(body):
        if word.lower() in STOPWORDS or _ASKING.fullmatch(word):
            runs.append([])
        else:
            runs[-1].append(word)
    runs = [run for run in runs if run]
    if runs and len(runs[-1]) > 1 and _PREDICATE.fullmatch(runs[-1][-1]):
        runs[-1].pop()
    return _with_article(body, " ".join(runs[-1])) if runs else ""


def _with_article(text: str, phrase: str) -> str:
    found = re.search(rf"\b(?:the|an|a)\s+{re.escape(phrase)}", text, re.IGNORECASE)
    return found.group() if found else phrase


def _person(answer: str, question: str) -> str:
    """The name that "he" or "she" most likely means: a short answer's, else the question's."""
    if len(answer.split()) <= _ANSWER_WORDS and (names := _NAME.findall(answer)):
        return str(max(names, key=len))
    topic = _topic(question)
    return topic if topic[:1].isupper() else ""


def _replace(pronoun: re.Pattern[str], question: str, by: str) -> str:
    """Replace every pronoun; possessives get an 's."""

    def put(found: re.Match[str]) -> str:
        word = found.group().lower()
        # "her" is both: before a word it is possessive ("her book"), at the end it is not ("met her?").
        owns = word in _POSSESSIVE or (word == "her" and re.match(r"\s+\w", question[found.end() :]) is not None)
        return f"{by}'s" if owns else by

    return pronoun.sub(put, question)


def _terms(question: str, answer: str) -> str:
    words = [w for w in _WORD.findall(question) if w.lower() not in STOPWORDS]
    names = _NAME.findall(answer) if len(answer.split()) <= _ANSWER_WORDS else []
    return " ".join(dict.fromkeys([*words, *names]))
