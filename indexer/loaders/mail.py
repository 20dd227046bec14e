"""Mail as it is sent (RFC 5322, MIME): who wrote what to whom, and the attachments as files of their own."""

import codecs
import mimetypes
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import partial

from indexer.loaders.decode import decode
from indexer.loaders.extract import Extract, Member
from indexer.loaders.html import read_html

_SHOWN = ("From", "To", "Cc", "Date", "Subject")


def read_mail(data: bytes) -> Extract:
    """Read a message: its main fields, its plain text or else its HTML; attachments are members."""
    message = message_from_bytes(data, policy=default)
    fields = {name: _field(message, name) for name in _SHOWN}
    head = "\n".join(f"{name}: {value}" for name, value in fields.items() if value)
    named = tuple((name.lower(), fields[name]) for name in ("From", "Date") if fields[name])
    return Extract((f"{head}\n\n{_body(message)}",), fields["Subject"], named, members=tuple(_attachments(message)))


def _field(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message[name] or "").split())
    except Exception:  # the parser of headers fails in many ways on bad ones; their raw form is still there
        raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
        return " ".join(str(raw).split())


def _body(message: EmailMessage) -> str:
    plain = message.get_body(("plain",))
    text = _text(plain) if isinstance(plain, EmailMessage) else ""
    if text.strip():
        return text
    page = message.get_body(("html",))
    return "\n\n".join(read_html(_text(page).encode()).parts) if isinstance(page, EmailMessage) else ""


def _text(part: EmailMessage) -> str:
    payload = _payload(part)
    try:
        return payload.decode(codecs.lookup(part.get_content_charset() or "").name)
    except (LookupError, UnicodeError):
        return decode(payload)[0]


def _payload(part: EmailMessage) -> bytes:
    if part.get_content_type() == "message/rfc822":
        inner = part.get_payload()
        return inner[0].as_bytes() if isinstance(inner, list) and isinstance(inner[0], EmailMessage) else b""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _attachments(message: EmailMessage) -> list[Member]:
    """Every part with a name, or that is neither the text nor a container; unnamed ones are numbered."""
    bodies = [message.get_body((kind,)) for kind in ("plain", "html")]
    members: list[Member] = []
    names: set[str] = set()
    for number, part in enumerate(_leaves(message), 1):
        if any(part is body for body in bodies) or (not part.get_filename() and part.get_content_maintype() == "text"):
            continue
        name = part.get_filename() or f"part-{number}{mimetypes.guess_extension(part.get_content_type()) or ''}"
        name = name.replace("\\", "/").rpartition("/")[2] or f"part-{number}"
        name = name if name not in names else f"part-{number}-{name}"
        names.add(name)
        inline = part.get_content_maintype() == "image" and part.get_content_disposition() != "attachment"
        members.append(Member(name, partial(_payload, part), "It is a picture in the text" if inline else ""))
    return members


def _leaves(message: EmailMessage) -> list[EmailMessage]:
    """The parts that hold something, in order; a mail within the mail is one part."""
    waiting, found = [message], []
    while waiting:
        part = waiting.pop()
        inner = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(inner, list):
            waiting += [each for each in reversed(inner) if isinstance(each, EmailMessage)]
        else:
            found.append(part)
    return found
