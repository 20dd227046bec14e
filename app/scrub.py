"""Personal data taken out of text: mail addresses, IBANs, card numbers, IP addresses and telephone numbers.

Patterns find candidates; where a number carries its own proof (an IBAN's and a card's check digits, the syntax of an
address), it has to hold, so that other numbers stay. Names, postal addresses and dates of birth are not looked for.
"""

import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address

_EMAIL = re.compile(r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)*\.[^\W\d_]{2,}")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")
_CARD = re.compile(r"(?<![\w.,-])[2-6]\d{3}(?:[ -]?\d){8,14}\d(?![\w-])(?![.,]\d)")
_IP = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:.]*[0-9A-Fa-f])(?![\w:])(?!\.\d)")
_NUMBERED = re.compile(r"(?:\bv|\bversion|\bsection|\bchapter|\u00a7)\s*$", re.IGNORECASE)  # 1.2.3.4 is then no address
_DATE = re.compile(r"\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d{2})(?!\d)|\d{1,2} \d{1,2} \d{4}(?!\d)")
_ISBN = re.compile(r"\bISBN(?:-1[03])?:?\s*$", re.IGNORECASE)
_PHONE = re.compile(
    r"(?<![\w.,/+-])(?:"
    r"\+\d(?:[ ./-]?\(?\d\)?){6,14}"  # international, at most 15 digits (ITU-T E.164)
    r"|\(0\d{1,5}\)[ /-]?\d(?:[ /-]?\d){4,8}"  # (030) 1234567
    r"|0\d(?:[ .]\d\d){4}"  # 01 23 45 67 89
    r"|0\d{1,5}[ /-]\d{2,}(?:[ /-]\d{2,}){0,4}"  # 030 1234567, 0171/123 45 67
    r"|(?:\([2-9]\d\d\) ?|[2-9]\d\d[-.])\d{3}[-.]\d{4}"  # (212) 555-0123, 212-555-0123
    r")(?![\w-])(?![.,/]\d)"
)
_DIGITS_OF_PHONE = range(8, 16)
_NATIONAL_DIGITS = 9  # shorter ones that begin with 0 are mostly something else: dates, decimals, times


class Scrubber:
    """Takes personal data out, and counts what it took by kind."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    def __call__(self, text: str) -> str:
        """The text with "<EMAIL>", "<IBAN>", "<CARD>", "<IP>" or "<PHONE>" in place of each."""
        for kind, (pattern, holds) in _KINDS.items():
            text = pattern.sub(partial(self._replaced, kind, holds), text)
        return text

    def _replaced(self, kind: str, holds: Callable[[re.Match[str]], bool], found: re.Match[str]) -> str:
        if not holds(found):
            return found.group()
        self.taken[kind] += 1
        return f"<{kind.upper()}>"


def _is_iban(found: re.Match[str]) -> bool:
    """ISO 13616: the remainder by 97 is 1 when the first four characters go last and letters count from 10."""
    plain = found.group().replace(" ", "")
    return 15 <= len(plain) <= 34 and int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1


def _is_card(found: re.Match[str]) -> bool:
    """ISO/IEC 7812: the sum of Luhn (1960), every second digit from the right doubled, ends with 0."""
    digits = [int(one) for one in found.group() if one.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_ip(found: re.Match[str]) -> bool:
    text = found.group()
    if _NUMBERED.search(found.string[: found.start()]) or (":" in text and len(text) < 6):
        return False
    with suppress(ValueError):
        ip_address(text)
        return True
    return False


def _is_phone(found: re.Match[str]) -> bool:
    text = found.group()
    before = found.string[: found.start()]
    count = sum(map(str.isdigit, text))
    if _ISBN.search(before) or _DATE.match(text) or count not in _DIGITS_OF_PHONE:
        return False
    return count >= _NATIONAL_DIGITS or not text.lstrip("(").startswith("0")


_KINDS: dict[str, tuple[re.Pattern[str], Callable[[re.Match[str]], bool]]] = {
    "email": (_EMAIL, lambda found: True),
    "iban": (_IBAN, _is_iban),
    "card": (_CARD, _is_card),
    "ip": (_IP, _is_ip),
    "phone": (_PHONE, _is_phone),
}
