"""load() gives a Document or a DocumentError that says what and where, and what to do: never anything else."""

import hashlib
import io
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import docx
import pypdfium2
import pytest
from fpdf import FPDF
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.document import Document
from indexer.errors import DocumentError
from indexer.formats import BY_SUFFIX, IMAGE, SUFFIXES
from indexer.load import Limits, load, title_from_name
from indexer.loaders import ocr


def write(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def pdf_bytes(*pages: str, password: str = "") -> bytes:
    pdf = FPDF()
    pdf.set_font("Helvetica", size=12)
    for page in pages:
        pdf.add_page()
        pdf.multi_cell(0, 7, page)
    if password:
        pdf.set_encryption(owner_password="owner", user_password=password)
    return bytes(pdf.output())


def docx_bytes(text: str = "Tides rise.") -> bytes:
    document = docx.Document()
    document.add_paragraph(text)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def zip_bytes(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def refusal(path: Path, limits: Limits | None = None) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        load(path, limits)
    assert str(path.name) in caught.value.message
    assert caught.value.remedy
    return caught.value


def test_every_field_of_a_text(tmp_path: Path) -> None:
    path = write(tmp_path, "harbour_log-1901.txt", "Tides\r\nrise.  \n")
    document = load(path)
    assert document == Document(
        id=hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12],
        source=str(path.resolve()),
        title="Harbour log 1901",
        media_type="text/plain",
        sha256=hashlib.sha256(b"Tides\r\nrise.  \n").hexdigest(),
        text="Tides\nrise.",
        metadata=(("encoding", "utf-8"),),
    )


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if BY_SUFFIX[suffix] is not IMAGE])
def test_every_ending_loads_in_either_case(tmp_path: Path, suffix: str) -> None:
    contents = {
        ".json": b'{"a": "Tides rise."}',
        ".geojson": b'["Tides rise."]',
        ".jsonl": b'"Tides rise."',
        ".ndjson": b'"Tides rise."',
        ".xml": b"<a>Tides rise.</a>",
        ".nxml": b"<a>Tides rise.</a>",
        ".vtt": b"00:01.000 --> 00:02.000\nTides rise.",
        ".srt": b"00:01.000 --> 00:02.000\nTides rise.",
        ".eml": b"Subject: x\n\nTides rise.",
        ".pdf": pdf_bytes("Tides rise."),
        ".docx": docx_bytes(),
    }
    path = write(tmp_path, f"a{suffix.upper()}", contents.get(suffix, b"Tides rise."))
    assert "Tides rise." in load(path).text


def test_a_relative_path_and_a_link_name_the_same_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "a.md", "# Tides\n\nrise")
    (tmp_path / "link.md").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    assert load(Path("a.md")) == load(path) == load(tmp_path / "link.md")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", [b"", b"  \n\t\r\n ", b"\xef\xbb\xbf"])
def test_nothing_to_read(tmp_path: Path, suffix: str, content: bytes) -> None:
    error = refusal(write(tmp_path, f"a{suffix}", content))
    assert content or "0 bytes" in error.message


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.md").message
    (tmp_path / "folder.md").mkdir()
    assert "folder" in refusal(tmp_path / "folder.md").message


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "dangling.md").symlink_to(tmp_path / "gone.md")
    with pytest.raises(DocumentError, match=r"gone\.md"):
        load(tmp_path / "dangling.md")
    (tmp_path / "loop.md").symlink_to(tmp_path / "loop.md")
    refusal(tmp_path / "loop.md")


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert "regular file" in refusal(tmp_path / "pipe.txt").message


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "secret.txt", "words")
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser reads everything

        def deny(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", deny)
    assert "permission" in refusal(path).message


def test_names_no_file_system_likes(tmp_path: Path) -> None:
    refusal(Path("a" * 5000 + ".txt"))
    with pytest.raises(DocumentError):
        load(Path("nul\0byte.txt"))
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.txt"))
    path.write_bytes(b"words")
    document = load(path)
    document.source.encode()
    assert document.source.endswith("caf\\xe9.txt")


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.txt"
    with path.open("wb") as file:
        file.truncate(200 * 2**20)
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("the file was opened"))
    error = refusal(path)
    assert "200.0 MiB" in error.message
    assert "64.0 MiB" in error.message
    assert "indexer.max_file_mb" in error.remedy


def test_the_limit_itself_is_allowed(tmp_path: Path) -> None:
    assert load(write(tmp_path, "a.txt", "abcd"), Limits(max_bytes=4)).text == "abcd"
    refusal(write(tmp_path, "a.txt", "abcde"), Limits(max_bytes=4))


WORD = zip_bytes(**{"word/document.xml": "<x/>"})
OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
GIF = b"GIF89a" + bytes(range(256))


@pytest.mark.parametrize(
    ("name", "content", "looks", "remedy"),
    [
        ("a.txt", b"\x7fELF" + bytes(100), "a program", "Leave"),
        ("a.txt", b"{\\rtf1 words}", "RTF", "Export"),
        ("a.doc", OLD + "WordDocument".encode("utf-16-le"), "Word file of before 2007", "DOCX"),
        ("a.ppt", OLD + "PowerPoint Document".encode("utf-16-le"), "PowerPoint file of before 2007", "PPTX"),
        ("a.docx", OLD + "EncryptedPackage".encode("utf-16-le"), "encrypted with a password", "without the password"),
        ("a.docx", OLD, "password-protected Office", "without a password"),
        ("a.docx", docx_bytes()[:2000], "cut off or damaged", "again"),
        ("a.docx", zip_bytes(**{"[Content_Types].xml": "<Types/>", "a.xml": "<x/>"}), "lacks its main part", "Export"),
        ("a.txt", bytes(range(256)) * 40, "binary data", "again"),
        ("a.csv", b"\0" * 100, "binary data", "again"),
        ("a.mp3", b"ID3" + bytes(range(256)), "binary data", "again"),
        ("a.pdf", b"1 0 obj <<>> endobj\n%%EOF", "a PDF whose beginning is missing", "again"),
        ("a.tar.gz", b"\x1f\x8b" + bytes(100), "a gzip archive", "ZIP"),
    ],
)
def test_content_that_is_not_read(tmp_path: Path, name: str, content: bytes, looks: str, remedy: str) -> None:
    error = refusal(write(tmp_path, name, content))
    assert looks in error.message
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("name", "content", "media_type"),
    [
        ("a.txt", pdf_bytes("words"), "application/pdf"),
        ("a.zip", docx_bytes("words"), "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.xyz", docx_bytes("words"), "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("a.pdf", b"<!DOCTYPE html><p>words", "text/html"),
        ("a.txt", b"<!-- saved -->\n<html><p>words", "text/html"),
        ("a.txt", b'<?xml version="1.0"?><a>words</a>', "application/xml"),
        ("a.txt", b"WEBVTT\n\n00:01.000 --> 00:02.000\nwords", "text/vtt"),
        ("a.txt", b"1\n00:00:01,000 --> 00:00:02,000\nwords", "text/vtt"),
        ("a.txt", b"From: a@b\nMIME-Version: 1.0\nMessage-ID: <1@b>\n\nwords", "message/rfc822"),
        ("a.txt", b"From: the keeper\n\nwords", "text/plain"),
        ("a.pdf", b"just words", "text/plain"),
        ("README", b"words", "text/plain"),
        ("a.xyz", b"words", "text/plain"),
        ("a.py", b"x = 'words'", "text/x-source"),
    ],
)
def test_content_says_what_a_file_is(tmp_path: Path, name: str, content: bytes, media_type: str) -> None:
    document = load(write(tmp_path, name, content))
    assert document.media_type == media_type
    assert "words" in document.text


def test_a_stray_control_character_does_not_make_a_text_binary(tmp_path: Path) -> None:
    assert load(write(tmp_path, "a.txt", b"word " * 40 + b"\0end")).text.endswith("end")


def test_html_in_a_text_file_is_text(tmp_path: Path) -> None:
    assert load(write(tmp_path, "a.txt", "<p>words</p>")).text == "<p>words</p>"


def test_an_encrypted_pdf_asks_for_a_copy_without_password(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, "a.pdf", pdf_bytes("words", password="secret")))
    assert "password" in error.message
    assert "without" in error.remedy


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_pdf_that_is_cut_off(tmp_path: Path, share: float) -> None:
    whole = pdf_bytes(*["many words " * 100] * 5)
    refusal(write(tmp_path, "a.pdf", whole[: int(len(whole) * share)]))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_docx_that_is_cut_off(tmp_path: Path, share: float) -> None:
    whole = docx_bytes()
    refusal(write(tmp_path, "a.docx", whole[: int(len(whole) * share)]))


def test_a_damaged_docx_names_what_to_do(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, "a.docx", zip_bytes(**{"word/document.xml": "<broken"})))
    assert "damaged" in error.message


def test_a_pdf_without_text_says_how_it_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "scan.pdf", pdf_bytes("", ""))
    monkeypatch.setattr("indexer.loaders.ocr.is_installed", lambda: False)
    error = refusal(path)
    assert "2 pages" in error.message
    assert "tesseract" in error.remedy


@pytest.mark.skipif(not ocr.is_installed(), reason="tesseract is not installed")
class TestScans:
    def scan(self, text: str) -> bytes:
        """A PDF of one page that shows text and holds none."""
        page = pypdfium2.PdfDocument(pdf_bytes(text))[0]
        drawn = FPDF()
        drawn.add_page()
        drawn.image(page.render(scale=3).to_pil(), x=0, y=0, w=210)
        return bytes(drawn.output())

    def test_a_scanned_page_is_read(self, tmp_path: Path) -> None:
        document = load(write(tmp_path, "scan.pdf", self.scan("Tides rise twice a day.")))
        assert document.text == "Tides rise twice a day."
        assert ("recognised_pages", "1") in document.metadata

    def test_recognition_can_be_switched_off_and_a_language_that_is_missing_is_named(self, tmp_path: Path) -> None:
        path = write(tmp_path, "scan.pdf", self.scan("Tides rise."))
        refusal(path, Limits(ocr_languages=""))
        assert "indexer.ocr_languages" in refusal(path, Limits(ocr_languages="xxx")).remedy

    def test_a_page_that_lies_upside_down_is_turned(self, tmp_path: Path) -> None:
        page = pypdfium2.PdfDocument(pdf_bytes("Tides rise twice a day."))[0]
        drawn = FPDF()
        drawn.add_page()
        drawn.image(page.render(scale=3, rotation=180).to_pil(), x=0, y=0, w=210)
        document = load(write(tmp_path, "scan.pdf", bytes(drawn.output())))
        assert document.text == "Tides rise twice a day."

    def test_noise_is_no_text(self, tmp_path: Path) -> None:
        size, random_ = (600, 400), random.Random(1)
        picture = b"P5 600 400 255\n" + random_.randbytes(size[0] * size[1])
        assert all(not page.text for page in ocr.recognise_image(picture, "eng", 60))

    def test_a_picture_is_read(self, tmp_path: Path) -> None:
        page = pypdfium2.PdfDocument(pdf_bytes("Tides rise twice a day."))[0]
        page.render(scale=3).to_pil().save(tmp_path / "a.png")
        document = load(tmp_path / "a.png")
        assert (document.text, document.pages) == ("Tides rise twice a day.", (0,))


@pytest.mark.parametrize(
    ("stem", "title"),
    [("annual_report-2024", "Annual report 2024"), ("NASA.notes", "NASA notes"), ("___", "___"), ("été", "Été")],
)
def test_title_from_name(stem: str, title: str) -> None:
    assert title_from_name(stem) == title


SEEDS: dict[str, Callable[[], bytes]] = {
    ".pdf": lambda: pdf_bytes("Tides rise.", "Ships sail."),
    ".docx": docx_bytes,
    ".html": lambda: b"<html><body><table><tr><td rowspan=2>a<td>b<ul><li>c</table><pre>d",
    ".md": lambda: b"---\ntitle: x\n---\n# A\n```\ncode",
    ".csv": lambda: b'a,b\n"1,2\n3;4',
    ".txt": lambda: "Tøft \udc80".encode("utf-8", "surrogatepass"),
}


@pytest.mark.parametrize("suffix", SEEDS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere_gives_a_document_or_a_document_error(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    content = bytearray(SEEDS[suffix]())
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(max_size=8))
        content[place : place + data.draw(st.integers(0, 8))] = piece
        content = content or bytearray(b"x")
    path = write(tmp_path, f"a{suffix}", bytes(content))
    try:
        document = load(path)
    except DocumentError as error:
        assert error.remedy
    else:
        assert document.text.strip()
        document.text.encode()
