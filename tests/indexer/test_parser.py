"""Hostile files: each costs one failed row, within its limits, and the files beside it are read."""

import io
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import docx
import pytest
from fpdf import FPDF

from indexer.load import Limits
from indexer.parser import Parsed, Parser

LIMITS = Limits(timeout_s=20, memory_mb=600, max_bytes=2**20, max_chars=200_000, ocr_languages="")


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with Parser(LIMITS) as parser:
        yield parser


def zipped(members: dict[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def pdf(pages: int) -> bytes:
    document = FPDF()
    document.set_font("Helvetica", size=12)
    for number in range(pages):
        document.add_page()
        document.cell(0, 7, "Ebb " * (number % 7 + 1))  # a line that counts with the pages would be a running header
    return bytes(document.output())


def word(text: str = "Tides rise.") -> bytes:
    document, buffer = docx.Document(), io.BytesIO()
    document.add_paragraph(text)
    document.save(buffer)
    return buffer.getvalue()


@cache
def bomb(mebibytes: int) -> bytes:
    """A ZIP file of a few kilobytes that unpacks to much."""
    return zipped({"zeros.txt": bytes(mebibytes * 2**20)})


def nested(levels: int) -> bytes:
    """An archive in an archive, and so on, around one text."""
    return zipped({"in.zip": nested(levels - 1)} if levels > 1 else {"a.txt": "x"})


def lying() -> bytes:
    """A ZIP file whose directory says that its member is small."""
    data = bytearray(bomb(4))
    size = (4 * 2**20).to_bytes(4, "little")
    return bytes(data.replace(size, (100).to_bytes(4, "little")))


def parse(parser: Parser, tmp_path: Path, name: str, content: bytes) -> list[Parsed]:
    path = tmp_path / name
    path.write_bytes(content)
    return list(parser.parse(path))


ENTITIES = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 10))
LAUGHS = f"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY e0 'ha'>{ENTITIES}]>"
OUTSIDE = "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>"
ODF = "application/vnd.oasis.opendocument."
MAIN = "word/document.xml"


def many_objects() -> bytes:
    """A PDF whose one page draws a compressed stream that unpacks to half a gigabyte."""
    stream = zlib.compress(b" " * (512 * 2**20), 9)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /MediaBox [0 0 9 9] >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream),
    ]
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (at, content) for at, content in enumerate(objects, 1))
    return b"%PDF-1.7\n" + body + b"trailer << /Root 1 0 R >>\n%%EOF"


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "bomb.zip": (lambda: bomb(600), "unpacks to more than 512 MiB"),
    "large-member.zip": (lambda: bomb(3), "it has 3.0 MiB, and the limit is 1.0 MiB"),
    "nested.zip": (lambda: zipped({"a.zip": zipped({"b.zip": bomb(600)})}), "unpacks to more than 512 MiB"),
    "deep.zip": (lambda: nested(4), "more than 3"),
    "many.zip": (lambda: zipped({f"{n}.txt": "" for n in range(10_001)}, zipfile.ZIP_STORED), "more than 10,000 files"),
    "lying.zip": (lying, "damaged"),
    "outward.zip": (lambda: zipped({"../../etc/cron.d/x.txt": "words"}), "leads out of the archive"),
    "absolute.zip": (lambda: zipped({"/etc/x.txt": "words"}), "leads out of the archive"),
    "drive.zip": (lambda: zipped({"C:\\x.txt": "words"}), "leads out of the archive"),
    "bomb.docx": (lambda: zipped({MAIN: bytes(600 * 2**20)}), "unpacks to more than 512 MiB"),
    "laughs.xml": (lambda: f"{LAUGHS}<a>&e9;</a>".encode(), "amplification"),
    "laughs-in-attribute.xml": (lambda: f"{LAUGHS}<a b='&e9;'>x</a>".encode(), "not well-formed XML"),
    "outside.xml": (lambda: OUTSIDE.encode(), "uses the entity &x;"),
    "laughs.docx": (lambda: zipped({MAIN: f"{LAUGHS}<a>&e9;</a>", "[Content_Types].xml": LAUGHS + "<a/>"}), ""),
    "deep.xml": (lambda: b"<a>" * 100_000, "not well-formed XML"),
    "deep.html": (lambda: b"<div>" * 100_000 + b"words", "2,048 deep"),
    "deep.json": (lambda: b"[" * 500_000, "nested too deeply"),
    "stream.pdf": (many_objects, ""),
    "long.txt": (lambda: b"words " * 100_000, "more than 200,000 characters"),
    "broken.odt": (lambda: zipped({"mimetype": f"{ODF}text", "content.xml": "<"}), "not well-formed"),
    "broken.ods": (lambda: zipped({"mimetype": f"{ODF}spreadsheet", "content.xml": "<"}), ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_fails_alone(parser: Parser, tmp_path: Path, name: str) -> None:
    make, reason = HOSTILE[name]
    began = time.monotonic()
    *around, last = parse(parser, tmp_path, name, make())
    assert last.error is not None and last.document is None
    assert reason in last.error.message
    assert last.error.remedy
    assert all(parsed.error is None and parsed.document is None for parsed in around)  # archives around the bomb
    assert time.monotonic() - began < LIMITS.timeout_s + 10
    (healthy,) = parse(parser, tmp_path, "a.txt", b"Tides rise.")
    assert healthy.document and healthy.document.text == "Tides rise."


def test_ten_thousand_pages_are_read_or_given_up_in_time(tmp_path: Path) -> None:
    with Parser(Limits(timeout_s=5)) as parser:
        began = time.monotonic()
        (parsed,) = parse(parser, tmp_path, "long.pdf", pdf(10_000))
        assert (parsed.document and len(parsed.document.pages) == 10_000) or "took longer than 5 s" in str(parsed.error)
        assert time.monotonic() - began < 20
        assert parse(parser, tmp_path, "a.txt", b"Tides rise.")[0].document


def test_nothing_outside_of_the_file_is_read(parser: Parser, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret words")
    for name, text in {
        "a.xml": f"<!DOCTYPE a SYSTEM '{secret.as_uri()}'><a>x</a>",
        "b.xml": f"<a xmlns:i='http://www.w3.org/2001/XInclude'>x<i:include href='{secret.as_uri()}'/></a>",
        "c.html": f"<p>x</p><iframe src='{secret.as_uri()}'></iframe>",
        "d.tex": f"x \\input{{{secret}}}",
    }.items():
        (parsed,) = parse(parser, tmp_path, name, text.encode())
        assert "secret words" not in (parsed.document.text if parsed.document else "")


class Stub:
    """Puts code of a test's own into the process that reads files, in place of a loader."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch

    def text_loader(self, code: str) -> None:
        start = (
            "import sys; sys.path.insert(0, sys.argv[1]); import os, time, indexer.loaders.text as text\n"
            f"original = text.read_text\ndef read(data):\n    {code}\n    return original(data)\n"
            "text.read_text = read\n"
            "from indexer.parser_process import main; main(sys.argv[2])"
        )
        self.patch.setattr("indexer.parser._START", start)


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    return Stub(monkeypatch)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("b'bad' in data and os.kill(os.getpid(), 11)", "the parser crashed on it (signal SIGSEGV)"),
        ("b'bad' in data and os._exit(3)", "the parser crashed on it (exit code 3)"),
        ("b'bad' in data and time.sleep(60)", "took longer than 1 s"),
        ("while b'bad' in data: pass", "took longer than 1 s"),
        ("b'bad' in data and bytearray(2**31)", "more than 500 MiB of memory"),
        ("b'bad' in data and __import__('tempfile').TemporaryFile()", "No usable temporary directory"),
        ("b'bad' in data and print('{\"end\": true}')\n    if b'bad' in data: raise KeyError('oops')", "oops"),
    ],
)
def test_a_parser_that_fails_costs_one_file(stub: Stub, tmp_path: Path, code: str, reason: str) -> None:
    stub.text_loader(code)
    with Parser(Limits(timeout_s=1, memory_mb=500)) as parser:
        results = [parse(parser, tmp_path, name, name.encode())[0] for name in ("a.txt", "bad.txt", "c.txt", "d.txt")]
    assert [parsed.document is not None for parsed in results] == [True, False, True, True]
    assert reason in str(results[1].error)


def test_a_member_that_crashes_costs_only_itself(stub: Stub, tmp_path: Path) -> None:
    stub.text_loader("b'bad' in data and os.kill(os.getpid(), 11)")
    inner = zipped({"b.txt": "b", "bad2.txt": "bad"})
    content = zipped({"a.txt": "a", "bad.txt": "bad", "in.zip": inner, "c.txt": "c"})
    with Parser() as parser:
        results = parse(parser, tmp_path, "a.zip", content)
    names = [(parsed.source.rpartition("/")[2], parsed.error is None) for parsed in results]
    assert names == [
        ("a.zip", True),
        ("a.txt", True),
        ("bad.txt", False),
        ("in.zip", True),
        ("b.txt", True),
        ("bad2.txt", False),
        ("c.txt", True),
    ]


def test_one_process_serves_many_files(parser: Parser, tmp_path: Path) -> None:
    parse(parser, tmp_path, "a.txt", b"words")
    process = parser._process
    assert process
    for number in range(50):
        assert parse(parser, tmp_path, f"{number}.txt", b"words")[0].document
    assert parser._process is process


def test_a_killed_process_is_replaced(parser: Parser, tmp_path: Path) -> None:
    parse(parser, tmp_path, "a.txt", b"words")
    assert parser._process
    os.kill(parser._process.pid, signal.SIGKILL)
    parser._process.wait()
    assert parse(parser, tmp_path, "b.txt", b"words")[0].document


def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom indexer.parser import Parser\nparser = Parser()\n"
        "list(parser.parse(Path(sys.argv[1])))\nprint(parser._process.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.txt")], capture_output=True, text=True, cwd=root, timeout=60
    )
    pid = int(ran.stdout)
    for _ in range(100):
        if not is_alive(pid):
            return
        time.sleep(0.1)
    pytest.fail("the process that reads files went on alone")


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


SEEDS: dict[str, Callable[[], bytes]] = {
    "a.pdf": lambda: pdf(3),
    "a.docx": word,
    "a.zip": lambda: zipped({"a.txt": "Tides", "b.html": "<p>rise", "c.docx": word()}),
    "a.html": lambda: b"<html><body><table><tr><td rowspan=2>a<td>b<ul><li>c</table><pre>d</body>" * 3,
    "a.xml": lambda: b"<?xml version='1.0' encoding='utf-8'?><a><b c='d'>Tides</b><b>rise</b></a>",
    "a.json": lambda: b'{"a": [1, {"b": "c"}], "d": null, "e": "\\u00e9"}',
    "a.csv": lambda: b'port;rise\n"Oslo";3\n"Bergen";4\n',
    "a.eml": lambda: (
        b"From: a@b\nSubject: =?utf-8?b?VMO4ZnQ=?=\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nT\n--x--"
    ),
    "a.vtt": lambda: b"WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Tides\n",
    "a.tex": lambda: b"\\title{T}\\begin{document}\\section{A}\\begin{itemize}\\item x\\end{itemize}\\end{document}",
}


def mutated(seed: bytes, random_: random.Random) -> bytes:
    """Bytes changed, cut out, repeated, cut off."""
    data = bytearray(seed)
    for _ in range(random_.randint(1, 8)):
        at, size = random_.randrange(len(data)), random_.randint(1, 40)
        piece = random_.choice(
            [random_.randbytes(size), bytes(data[at : at + size]) * random_.randint(2, 50), b"", b"\0"]
        )
        data[at : at + random_.choice([0, 1, size])] = piece
        data = data or bytearray(b"x")
    return bytes(data[: random_.randrange(1, len(data) + 1)] if random_.random() < 0.2 else data)


def test_mutated_files_give_documents_or_errors(tmp_path: Path) -> None:
    """FOOTNOTE_TEST_MUTATIONS files, or 300, the same ones each time."""
    random_ = random.Random(6)
    count = int(os.environ.get("FOOTNOTE_TEST_MUTATIONS", "300"))
    outcomes: dict[str, int] = {"document": 0, "error": 0, "files": 0}
    with Parser(LIMITS) as parser:
        for number in range(count):
            name = random_.choice(sorted(SEEDS))
            results = parse(parser, tmp_path, f"{number}{name[1:]}", mutated(SEEDS[name](), random_))
            assert results[0].source.endswith(f"/{number}{name[1:]}")
            for parsed in results:
                check(parsed)
                outcomes["error" if parsed.error else "document" if parsed.document else "files"] += 1
    assert min(outcomes.values()) > 0, outcomes


def check(parsed: Any) -> None:
    if parsed.error:
        assert parsed.error.remedy and "unexpectedly" not in parsed.error.message
    if parsed.document:
        assert any(map(str.isalnum, parsed.document.text))
        parsed.document.text.encode()
