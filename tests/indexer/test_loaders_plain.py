"""JSON, XML, captions, LaTeX, mail, and long tables."""

from email.message import EmailMessage

import pytest

from indexer.chunk import ChunkSettings, chunk
from indexer.document import Document
from indexer.errors import DocumentError
from indexer.loaders.captions import read_captions
from indexer.loaders.decode import decode
from indexer.loaders.latex import read_latex
from indexer.loaders.mail import read_mail
from indexer.loaders.markup import pipe_table
from indexer.loaders.records import read_json, read_json_lines
from indexer.loaders.xml import read_xml


class TestJson:
    def test_an_object_is_a_line_and_objects_in_lists_are_lines_of_their_own(self) -> None:
        text = (
            '{"port": "Oslo", "pos": {"lat": 59.9}, "tags": ["a", "b"], '
            '"ships": [{"name": "Gull", "crew": null}, {"name": "Tern"}]}'
        )
        assert read_json(text.encode()).parts == (
            "port: Oslo; pos.lat: 59.9; tags: a, b\nships.name: Gull\nships.name: Tern",
        )
        assert read_json(b'[{"a": true}, "b", [1, 2]]').parts == ("a: true\nb\n1\n2",)

    def test_lines(self) -> None:
        assert read_json_lines(b'{"a": 1}\r\n\n{"a": 2}\n').parts == ("a: 1\na: 2",)

    def test_mistakes_name_their_line(self) -> None:
        with pytest.raises(DocumentError, match="line 2"):
            read_json(b'{"a": 1,\n oops}')
        with pytest.raises(DocumentError, match="line 2 is not JSON"):
            read_json_lines(b'{"a": 1}\n{"a": ')
        with pytest.raises(DocumentError, match="nested too deeply"):
            read_json(b"[" * 100_000)


class TestXml:
    def test_records_name_their_fields(self) -> None:
        text = b'<log><entry id="7"><port>Oslo</port><high>3</high></entry><p>Some <b>bold</b> words</p></log>'
        assert read_xml(text).parts == ("id: 7; port: Oslo; high: 3\n\nSome bold words",)

    def test_utf16_with_a_declaration(self) -> None:
        text = '<?xml version="1.0" encoding="UTF-16"?><a><b>Ålesund</b></a>'
        assert read_xml(text.encode("utf-16")).parts == ("b: Ålesund",)

    def test_an_article(self) -> None:
        article = (
            "<article><front><article-meta><title-group><article-title>On <italic>Tides</italic></article-title>"
            "</title-group><contrib-group><contrib><name><surname>Gull</surname><given-names>Ann</given-names></name>"
            "</contrib></contrib-group><abstract><p>They rise.</p></abstract></article-meta></front><body><sec>"
            "<title>Method</title><p>We looked.</p><sec><title>Site</title><p>At 10<sup>5</sup> places.</p></sec></sec>"
            "<table-wrap><label>Table 1</label><caption><p>Ports</p></caption><table><tr><th>Port</th><th>Rise</th>"
            "</tr><tr><td>Oslo</td><td>3</td></tr></table></table-wrap></body><back><ref-list><title>References</title>"
            "<ref><element-citation><name><surname>Tern</surname></name><year>1901</year></element-citation></ref>"
            "</ref-list></back></article>"
        )
        extract = read_xml(article.encode())
        assert extract.parts[0].strip() == (
            "# On Tides\n\n## Abstract\n\nThey rise.\n\n## Method\n\nWe looked.\n\n### Site\n\nAt 10^5 places.\n\n"
            "Table 1\n\nPorts\n\n| Port | Rise |\n| --- | --- |\n| Oslo | 3 |\n\n## References\n- Tern 1901"
        )
        assert (extract.title, extract.metadata) == ("On Tides", (("author", "Ann Gull"),))

    def test_characters_that_html_names_are_read_and_other_entities_refused(self) -> None:
        assert read_xml(b"<!DOCTYPE a SYSTEM 'a.dtd'><a>x&nbsp;&eacute;<b>&lt;</b>&alpha;</a>").parts == ("x é<\u03b1",)
        with pytest.raises(DocumentError, match="entity &own;"):
            read_xml(b"<!DOCTYPE a [<!ENTITY own 'words'>]><a>&own;</a>")

    def test_what_is_not_well_formed(self) -> None:
        with pytest.raises(DocumentError, match="not well-formed"):
            read_xml(b"<a><b></a>")


def test_captions_of_one_speaker_are_joined() -> None:
    text = (
        "WEBVTT\n\nNOTE hidden\n\n1\n00:01.000 --> 00:02.000 align:left\n<v Ann>Tides\n<i>rise</i>\n\n"
        "00:02.000 --> 00:03.000\n<v Ann>&amp; fall.\n\n01:00:04.000 --> 01:00:05.000\n<v Bo>Yes."
    )
    assert read_captions(text.encode()).parts == ("[00:01] Ann: Tides rise & fall.\n\n[01:00:04] Bo: Yes.",)
    assert read_captions(b"1\r\n00:00:01,000 --> 00:00:02,000\r\nwords\r\n").parts == ("[00:00:01] words",)


def test_latex() -> None:
    source = (
        "\\documentclass{article}\n\\title{On \\emph{Tides}}\n\\begin{document}\n\\maketitle\n"
        "\\section{Intro} % note\n"
        'G\\"odel and Fran\\c{c}ois, 50\\% of $x_1$.\n\\subsection*{More}\n\\begin{itemize}\n'
        "\\item one\n\\end{itemize}\n"
        "\\end{document} left out"
    )
    extract = read_latex(source.encode())
    lines = [line.strip() for line in extract.parts[0].split("\n") if line.strip()]
    assert lines == ["# On Tides", "## Intro", "Go\u0308del and Franc\u0327ois, 50% of $x_1$.", "### More", "- one"]
    assert extract.title == "On Tides"


class TestMail:
    def test_fields_text_and_attachments(self) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "Ann <a@example.org>", "b@example.org", "Tøft"
        mail.set_content("Plain words.")
        mail.add_alternative("<p>Marked words.</p>", subtype="html")
        mail.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="../t.pdf")
        extract = read_mail(mail.as_bytes())
        assert extract.parts[0].strip() == "From: Ann <a@example.org>\nTo: b@example.org\nSubject: Tøft\n\nPlain words."
        assert extract.title == "Tøft"
        assert [(member.name, member.read()) for member in extract.members] == [("t.pdf", b"%PDF-")]

    def test_a_mail_of_html_alone_and_a_mail_in_a_mail(self) -> None:
        inner, outer = EmailMessage(), EmailMessage()
        inner["Subject"] = "Inner"
        inner.set_content("<h1>Tides</h1>", subtype="html")
        outer.set_content("See below.")
        outer.add_attachment(inner)
        assert read_mail(inner.as_bytes()).parts[0].strip() == "Subject: Inner\n\n# Tides"
        (member,) = read_mail(outer.as_bytes()).members
        assert member.name.endswith(".eml")
        assert "# Tides" in read_mail(member.read()).parts[0]

    def test_an_unknown_charset_is_guessed(self) -> None:
        assert "Tøft" in read_mail("Content-Type: text/plain; charset=nonsense\n\nTøft".encode()).parts[0]


@pytest.mark.parametrize("encoding", ["utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["Tides rise.", "Приливы растут. И падают.", "潮汐 上涨。"])
def test_wide_encodings_without_a_mark(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == (text, encoding)


def test_each_chunk_of_a_long_table_names_its_columns() -> None:
    rows = [["Port", "Country", "Rise"], *([f"Port {n}", "Norway", f"{n}.5 m"] for n in range(80))]
    text = pipe_table(rows)
    document = Document("d", "/d", "D", "text/html", "0" * 64, text)
    chunks = chunk(document, lambda texts: [len(text.split()) for text in texts], ChunkSettings(60))
    assert len(chunks) > 5
    for piece in chunks:
        assert document.text[piece.start : piece.end] == piece.text
        assert all(line.startswith("- Port: Port ") and "; Rise: " in line for line in piece.text.split("\n"))


def test_a_short_table_stays_a_table() -> None:
    assert pipe_table([["a", "b"], ["1", "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |"
