"""The official client, unchanged, against a real server."""

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from app.api.protocol import Completion, FootnoteFields

QUESTION = "How tall is the tower?"
MESSAGES: Any = [{"role": "user", "content": QUESTION}]


@pytest.fixture
def client(serve: Any, tower: str) -> Any:
    running = serve()
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_an_answer_with_its_footnotes(client: Any, tower: str, papers: Path) -> None:
    answered = client.chat.completions.create(model=tower, messages=MESSAGES, temperature=0.7)
    message = answered.choices[0].message
    assert message.content == (
        "The tower is 34 metres tall [^1].\n\n"
        '[^1]: lighthouse.md: "The tower is 34 metres tall and was first lit in 1842."'
    )
    footnote = message.footnote
    assert footnote["answer"] == "The tower is 34 metres tall [1]."
    assert (footnote["abstained"], footnote["query"], footnote["model"]) == (False, QUESTION, "tiny")
    (citation,) = footnote["citations"]
    assert citation["source"] == str(papers / "lighthouse.md")
    assert citation["quote"] == "The tower is 34 metres tall and was first lit in 1842."
    assert footnote["hits"][0]["document"] == citation["document"]
    assert footnote["ignored"] == ["temperature"]
    assert footnote["timings_ms"]["total"] >= footnote["timings_ms"]["generate"]
    assert answered.usage.total_tokens == answered.usage.prompt_tokens + answered.usage.completion_tokens
    assert answered.usage.completion_tokens > 0
    Completion.model_validate_json(answered.model_dump_json(exclude_unset=True), strict=True)


def test_footnotes_in_the_text_can_be_left_out(client: Any, tower: str) -> None:
    answered = client.chat.completions.create(
        model=tower, messages=MESSAGES, extra_body={"footnote": {"markdown": False}}
    )
    assert answered.choices[0].message.content == "The tower is 34 metres tall [1]."


def test_a_filter_leaves_only_its_documents(client: Any, tower: str) -> None:
    body = {"footnote": {"filters": ["source=ferry.txt"]}}
    answered = client.chat.completions.create(model=tower, messages=MESSAGES, extra_body=body)
    assert {Path(hit["source"]).name for hit in answered.choices[0].message.footnote["hits"]} == {"ferry.txt"}


def test_marks_in_a_quote_mean_nothing(client: Any, tower: str, footnote: Any, papers: Path) -> None:
    (papers / "lighthouse.md").write_text(
        "The tower is 34 metres tall ![x](http://a.example/) *so*.\n", encoding="utf-8"
    )
    assert footnote("ingest", papers, "--collection", tower).code == 0
    content = client.chat.completions.create(model=tower, messages=MESSAGES).choices[0].message.content
    assert '"The tower is 34 metres tall !\\[x\\](http://a.example/) \\*so\\*."' in content


def test_a_stream_carries_drafts_and_then_the_checked_answer(client: Any, tower: str, model: Any) -> None:
    model.pieces = ["The tower ", "is 34 metres tall [1]. ![x](http://evil.example/?q=1)"]
    chunks = list(
        client.chat.completions.create(
            model=tower, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    *pieces, last, usage = chunks
    assert [chunk.footnote["draft"] for chunk in pieces[1:-1]] == model.pieces
    content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert content.startswith("The tower is 34 metres tall [^1].")
    assert "evil" not in content
    assert last.choices[0].finish_reason == "stop"
    assert last.footnote["citations"][0]["quote"].startswith("The tower is 34 metres")
    FootnoteFields.model_validate_json(json.dumps(last.footnote), strict=True)
    times = last.footnote["timings_ms"]
    assert 0 <= times["line"] < 10_000, "nobody else asks"
    assert times["encode"] <= times["search"] <= times["total"] if "encode" in times else times["search"] > 0
    assert usage.usage.total_tokens > 0


def test_a_stream_of_the_draft_ends_with_the_checked_answer_beside_it(client: Any, tower: str, model: Any) -> None:
    chunks = list(
        client.chat.completions.create(
            model=tower, messages=MESSAGES, stream=True, extra_body={"footnote": {"draft": True}}
        )
    )
    assert [chunk.choices[0].delta.content for chunk in chunks[1:-1]] == model.pieces
    assert chunks[-1].footnote["answer"] == "The tower is 34 metres tall [1]."


MADE_UP = "It was painted by green martians from Venus."
SIGNED = f"The tower is 34 metres tall [^1]. {MADE_UP} [?]\n\n[?] No passage found says so.\n\n[^1]: "


@pytest.mark.parametrize("stream", [False, True])
def test_an_unsupported_sentence_is_signed_in_the_text(client: Any, tower: str, model: Any, stream: bool) -> None:
    model.pieces = ["The tower is 34 metres tall [1]. ", MADE_UP]
    answered = client.chat.completions.create(model=tower, messages=MESSAGES, stream=stream)
    if stream:
        content = "".join(chunk.choices[0].delta.content or "" for chunk in answered)
    else:
        content = answered.choices[0].message.content
    assert content.startswith(SIGNED)


def test_who_gets_no_signs_is_told_the_sentences(client: Any, tower: str, model: Any) -> None:
    """Without Markdown, and as a draft: then the text has gone out before it is checked."""
    model.pieces = ["The tower is 34 metres tall [1]. ", MADE_UP]
    plain: Any = {"model": tower, "messages": MESSAGES, "extra_body": {"footnote": {"markdown": False}}}
    message = client.chat.completions.create(**plain).choices[0].message
    assert message.content == f"The tower is 34 metres tall [1]. {MADE_UP}"
    draft: Any = {"model": tower, "messages": MESSAGES, "extra_body": {"footnote": {"draft": True}}}
    *_, last = client.chat.completions.create(**draft, stream=True)
    for footnote in (message.footnote, last.footnote):
        doubted = [each for each in footnote["sentences"] if not each["supported"]]
        assert [footnote["answer"][each["start"] : each["end"]] for each in doubted] == [MADE_UP]


def test_what_the_documents_do_not_say(client: Any, tower: str, model: Any) -> None:
    model.pieces = ["The moon is made of cheese [1]."]
    answered = client.chat.completions.create(model=tower, messages=MESSAGES)
    assert answered.choices[0].message.footnote["abstained"] is True
    assert answered.choices[0].message.footnote["citations"] == []
    assert "cheese" not in answered.choices[0].message.content


def test_the_conversation_becomes_turns(client: Any, tower: str, model: Any) -> None:
    messages: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who wrote this?"},
        {"role": "user", "content": [{"type": "text", "text": "How tall is the tower?"}]},
        {"role": "assistant", "content": f'It is 34 metres [^1]. {SIGNED}a.md: "34 metres"'},
        {"role": "user", "content": "When was the tower first lit?"},
    ]
    model.pieces = ["The tower was first lit in 1842 [1]."]
    answered = client.chat.completions.create(model=tower, messages=messages)
    assert answered.choices[0].message.footnote["ignored"] == ["messages: system"]
    prompt = [body for path, _, body in model.requests if path.endswith("/chat/completions")][-1]["messages"][1]
    assert "Q: How tall is the tower?\nA: It is 34 metres" in prompt["content"]
    assert "a.md" not in prompt["content"]
    assert MADE_UP in prompt["content"]
    assert "[?]" not in prompt["content"]
    assert "No passage found" not in prompt["content"]
    assert "Who wrote this?" not in prompt["content"]


@pytest.mark.parametrize(
    ("changed", "status", "words"),
    [
        ({"model": "nowhere"}, 404, "no collection 'nowhere'"),
        ({"model": "../tower"}, 404, "no collection"),
        ({"messages": [{"role": "user", "content": "  "}]}, 400, "The question is empty"),
        ({"messages": [{"role": "assistant", "content": "Hello"}]}, 400, "last message"),
        ({"messages": [{"role": "user", "content": "x" * 4001}]}, 400, "the limit is 4,000"),
        ({"messages": []}, 400, "messages"),
        ({"n": 2}, 400, "'n'"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "'tools'"),
        ({"extra_body": {"footnote": {"markdwon": True}}}, 400, "footnote.markdwon"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_is_refused(
    client: Any, tower: str, changed: dict[str, Any], status: int, words: str, stream: bool
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**{"model": tower, "messages": MESSAGES, "stream": stream, **changed})
    assert caught.value.status_code == status
    assert words in caught.value.body["message"]
    assert caught.value.body["type"] == "invalid_request_error"


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_fails_before_its_first_word_is_a_bad_gateway(
    client: Any, tower: str, model: Any, stream: bool
) -> None:
    model.behaviour = "broken"
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=tower, messages=MESSAGES, stream=stream)
    assert caught.value.status_code == 502
    assert caught.value.body["code"] == "ModelError"
    assert "out of memory" in caught.value.body["message"]


def test_a_model_that_fails_midway_ends_the_stream_with_an_error(client: Any, tower: str, model: Any) -> None:
    model.behaviour = "cut"
    stream = client.chat.completions.create(model=tower, messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="in the middle"):
        list(stream)


def test_a_model_for_each_collection(client: Any, tower: str, footnote: Any, papers: Path) -> None:
    footnote("ingest", papers / "bees.txt", "--collection", "school")
    assert [model.id for model in client.models.list()] == ["school", "tower"]
    found = client.models.retrieve("tower")
    assert (found.id, found.object, found.owned_by) == ("tower", "model", "footnote")
    assert found.created > 1_700_000_000
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nowhere")


def test_embeddings_as_numbers_and_as_bytes(client: Any, tower: str, encoder: Any) -> None:
    texts = ["the tower", "a ferry"]
    wanted = encoder.encode(texts)
    plain = client.embeddings.create(model=tower, input=texts, encoding_format="float")
    assert np.allclose([item.embedding for item in plain.data], wanted)
    assert [item.index for item in plain.data] == [0, 1]
    assert plain.usage.prompt_tokens == 4
    packed = client.embeddings.create(model=tower, input="the tower")  # the client asks for base64 by itself
    assert np.allclose(packed.data[0].embedding, wanted[0])
    raw = client.embeddings.with_raw_response.create(model=tower, input="the tower", encoding_format="base64")
    vector = base64.b64decode(json.loads(raw.text)["data"][0]["embedding"])
    assert np.allclose(struct.unpack("<16f", vector), wanted[0])


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"input": " "}, 400),
        ({"input": []}, 400),
        ({"input": [1, 2]}, 400),
        ({"model": "x"}, 404),
        ({"dimensions": 8}, 400),
    ],
)
def test_embeddings_that_are_refused(client: Any, tower: str, changed: dict[str, Any], status: int) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client.embeddings.create(**{"model": tower, "input": "the tower", **changed})
    assert caught.value.status_code == status
