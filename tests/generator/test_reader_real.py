"""What `footnote serve-model --reader` serves, beside the model in this process: FOOTNOTE_TEST_READER=http://.../v1."""

import math
import os
from pathlib import Path
from typing import Any

import pytest

from generator.embedded import EmbeddedModel, load_embedded
from generator.reader_files import merged_reader_dir
from generator.reading import Reading

URL = os.environ.get("FOOTNOTE_TEST_READER", "")
pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(not URL, reason="FOOTNOTE_TEST_READER names no server of `serve-model --reader`"),
]
TOWER = "The lighthouse on Skerry Point was first lit in 1874. Its lantern stands 41 metres above high water."
FERRY = "The ferry to the island is called the Meridian. She was built by the brothers Hall in Leith."
# Question, title, passage; the last two passages do not answer.
ASKED = (
    ("When was the lighthouse on Skerry Point first lit?", "Skerry Point", TOWER),
    ("Who built the ferry Meridian?", "The ferry", FERRY),
    ("What is the ferry to the island called?", "The ferry", FERRY),
    ("When was the lighthouse on Skerry Point first lit?", "The ferry", FERRY),
    ("Who built the ferry Meridian?", "Skerry Point", TOWER),
)
ANSWER_TOKENS = 24


@pytest.fixture(scope="module")
def reader(model_dir: Path) -> EmbeddedModel:
    return load_embedded(model_dir)


def readings(reader: EmbeddedModel) -> list[Reading]:
    return [reader._tokenizer.reading(*asked) for asked in ASKED]


def here(reader: EmbeddedModel, ids: tuple[int, ...]) -> list[int]:
    """Greedy tokens of the model in this process, without the end mark."""
    import torch

    prompt, end = torch.tensor([ids]), reader._tokenizer.end
    with torch.inference_mode():
        out = reader._model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=ANSWER_TOKENS,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end,
        )
    return [token for token in out[0, len(ids) :].tolist() if token != end]


def served(body: dict[str, Any], where: str = "completions") -> dict[str, Any]:
    from openai import OpenAI

    client = OpenAI(base_url=URL, api_key="none", max_retries=0, timeout=300)
    model = client.models.list().data[0].id
    answer: Any = client.post(
        f"/{where}", cast_to=object, body={"model": model, "temperature": 0, "max_tokens": ANSWER_TOKENS, **body}
    )
    return dict(answer["choices"][0])


def test_greedy_words_are_those_of_the_model_in_this_process(reader: EmbeddedModel) -> None:
    answered = 0
    for reading in readings(reader):
        expected = here(reader, reading.ids)
        choice = served({"prompt": list(reading.ids), "return_token_ids": True})
        tokens = [token for token in choice["token_ids"] if token != reader._tokenizer.end]
        assert tokens == expected
        answered += bool(tokens)
    assert answered >= 2  # the comparison is worth something


def test_declining_has_the_same_probability(reader: EmbeddedModel) -> None:
    from generator.spans import read_spans

    asked = readings(reader)
    expected = [read_spans(reader._model, [reading], reader._tokenizer.end).log_decline[0] for reading in asked]
    for reading, log_p in zip(asked, expected, strict=True):
        top = served({"prompt": list(reading.ids), "logprobs": 5})["logprobs"]["top_logprobs"][0]
        # Both round in another order, and a logit of 16 to 32 has steps of an eighth in bfloat16.
        assert math.exp(top["<|im_end|>"]) == pytest.approx(math.exp(log_p), abs=0.05)


def test_the_chat_template_writes_the_readers_own_format(reader: EmbeddedModel) -> None:
    question, title, text = ASKED[0]
    content = f"Question: {question}\nPassage: {title}\n{text}\nQuestion: {question}"
    chat = served({"messages": [{"role": "user", "content": content}]}, "chat/completions")["message"]["content"]
    ids = reader._tokenizer.reading(question, title, text).ids
    assert chat == served({"prompt": list(ids)})["text"]


def test_the_template_spells_the_same_tokens(reader: EmbeddedModel, model_dir: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(merged_reader_dir(model_dir, model_dir.parent))
    for (question, title, text), reading in zip(ASKED, readings(reader), strict=True):
        content = f"Question: {question}\nPassage: {title}\n{text}\nQuestion: {question}"
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        assert tuple(ids) == reading.ids
