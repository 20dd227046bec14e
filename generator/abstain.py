"""When to say that the documents do not say."""

import re

DECLINE = "The documents do not say."
_DECLINING = re.compile(
    r"^\W*(?:(?:i'm sorry|sorry|unfortunately)\W+)?(?:"
    r"the (?:given |provided )?(?:documents?|passages?) (?:do|does)(?: not|n't) "
    r"(?:say|contain|provide|mention|state|specify|include)\b"
    r"|(?:the )?answer is not (?:in|given|contained)"
    r"|i (?:do not|don't|cannot|can't) (?:know|answer|find))",
    re.IGNORECASE,
)


def declines(text: str) -> bool:
    """Whether a model's answer says that there is no answer: our sentence, or one of the usual ways to say it."""
    return not text.strip() or bool(_DECLINING.match(text.replace("\u2019", "'")))
