"""The day a file says it is of, as ISO 8601 writes it."""

import re
from datetime import date
from email.utils import parsedate_to_datetime

# ISO 8601, or D:YYYYMMDD and a time, as a PDF has it
_DAY = re.compile(r"(?:D:)?(\d{4})-?(\d{2})-?(\d{2})(?!\d)|D:(\d{4})(\d{2})(\d{2})")
_PART = re.compile(r"\d{4}(-\d{2})?")


def iso_day(value: str) -> str:
    """Return YYYY-MM-DD, or the year or month that is all it says; a date in another form is returned as it is."""
    value = value.strip()
    if _PART.fullmatch(value):
        return value
    if found := _DAY.match(value):
        parts = [int(part) for part in found.groups() if part]
        try:
            return date(*parts).isoformat()
        except ValueError:
            return value
    try:
        return parsedate_to_datetime(value).date().isoformat()  # RFC 5322, as mail has it
    except (ValueError, TypeError, IndexError, OverflowError):
        return value
