import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from generator.abstain import DECLINE
from generator.chat import Pieces, Written
from generator.choice import ChoiceSettings, best_span
from generator.embedded import EmbeddedModel, load_embedded, with_unit
from generator.prompt import Message, Prompt, answer_prompt
from generator.reader_files import DEFAULT_READER
from generator.reading import ReaderTokenizer
from generator.usage import Usage
from indexer.errors import ModelError
from indexer.llm2vec.training.lora import add_lora, save_adapter
from retriever.hit import Hit

sys.path.insert(0, str(Path(__file__).parent))
from tiny import make_model, make_tokenizer

NEVER_DECLINE = ChoiceSettings(decline_above=1.0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedModel:
    folder = make_tokenizer(tmp_path_factory.mktemp("tiny"))
    return EmbeddedModel(make_model(folder), ReaderTokenizer(folder), "tiny", NEVER_DECLINE)


def prompt_of(model: EmbeddedModel, *hits: Hit, question: str = "When does the library open?") -> Prompt:
    return answer_prompt(question, hits, 10_000, model.count_tokens)


def test_answer_is_words_of_a_passage_and_its_marker(tiny: EmbeddedModel, hit: Callable[..., Hit]) -> None:
    hits = [hit("The tower opened in 1889."), hit("It opens at nine.", 50)]
    words, marker = tiny.stream(prompt_of(tiny, *hits))
    number = int(marker.strip(" []"))
    assert words in hits[number - 1].chunk.text


def returned(stream: Pieces) -> Written | None:
    while True:
        try:
            next(stream)
        except StopIteration as end:
            return end.value


def test_tells_its_tokens_and_how_sure_it_was(tiny: EmbeddedModel, hit: Callable[..., Hit]) -> None:
    prompt = prompt_of(tiny, hit("The tower opened in 1889."), hit("It opens at nine.", 50))
    look = tiny.look(prompt.question, prompt.hits)
    span = best_span(look, tiny.choice)
    written = returned(tiny.stream(prompt))
    assert look.prompt_tokens > sum(tiny.count_tokens([passage.chunk.text for passage in prompt.hits]))
    assert written == Written(Usage(1, look.prompt_tokens, span.tokens), span.log_p_token)
    strict = EmbeddedModel(tiny._model, tiny._tokenizer, "strict", ChoiceSettings(decline_above=0.0))
    assert returned(strict.stream(prompt)) == Written(Usage(1, look.prompt_tokens, 0))
    free = returned(tiny.stream(Prompt((Message("user", "Tell me."),), (), 10), max_tokens=3))
    assert free == Written(Usage(1, len(tiny._tokenizer.chat([("user", "Tell me.")])), 3))


def test_declines_in_our_words(tiny: EmbeddedModel, hit: Callable[..., Hit]) -> None:
    strict = EmbeddedModel(tiny._model, tiny._tokenizer, "strict", ChoiceSettings(decline_above=0.0))
    assert list(strict.stream(prompt_of(strict, hit("The tower opened in 1889.")))) == [DECLINE]


def test_an_adapter_brings_its_weights_and_settings_go_before_them(tmp_path: Path) -> None:
    make_model(make_tokenizer(tmp_path / "base"))
    adapter = tmp_path / "reader"
    save_adapter(add_lora(make_model(tmp_path / "base"), rank=2, alpha=2, base_name="tiny"), adapter)
    (adapter / "reader.json").write_text('{"choice": {"decline_bias": 9.0, "decline_span": -1.0}}')
    model = load_embedded(tmp_path / "base", adapter, {"decline_bias": 7.0})
    assert model.choice == ChoiceSettings(decline_bias=7.0, decline_span=-1.0)
    before = model.name
    (adapter / "reader.json").write_text('{"choice": {"decline_bias": 8.0}}')
    assert load_embedded(tmp_path / "base", adapter).name != before
    for damaged in ('{"choice": {"bias": 1}}', "[]", "{"):
        (adapter / "reader.json").write_text(damaged)
        with pytest.raises(ModelError, match=r"reader\.json"):
            load_embedded(tmp_path / "base", adapter)


def test_several_questions_at_once_get_the_same_answers(tiny: EmbeddedModel, hit: Callable[..., Hit]) -> None:
    prompts = [prompt_of(tiny, hit("It opens at nine. It is tall."), question=f"When? {n}") for n in range(6)]
    expected = ["".join(tiny.stream(prompt)) for prompt in prompts]
    answers: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda n=n: answers.update({n: "".join(tiny.stream(prompts[n]))})) for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[n] for n in range(6)] == expected


def test_free_writing_is_greedy_decoding(tiny: EmbeddedModel) -> None:
    prompt = Prompt((Message("user", "Tell me."),), (), 10)
    ids = tiny._tokenizer.chat([("user", "Tell me.")])
    with torch.inference_mode():
        out = tiny._model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=tiny._tokenizer.end,
            pad_token_id=0,
        )
    expected = tiny._tokenizer._plain.decode(out[0, len(ids) :].tolist(), skip_special_tokens=True)
    # An unfinished character at the end is not streamed.
    assert "".join(tiny.stream(prompt, max_tokens=12)).rstrip("\ufffd") == expected.rstrip("\ufffd")


def test_prompt_that_does_not_fit_is_refused(tiny: EmbeddedModel) -> None:
    with pytest.raises(ModelError, match="takes 1024"):
        list(tiny.stream(Prompt((Message("user", "tower " * 2000),), (), 10)))


@pytest.mark.parametrize(
    ("text", "words", "question", "expected"),
    [
        ("It is 330 metres tall.", "330", "How tall is it?", "330 metres"),
        ("It made 22.16 gigawatt-hours.", "22.16", "How much did it make?", "22.16 gigawatt-hours"),
        ("It opened in 1889 by law.", "1889", "How old is it?", "1889"),
        ("It opened in 1889. Later", "1889", "how old is it", "1889"),
        ("It has 12 seats.", "12", "Which number is it?", "12"),
        ("It takes some 12 hours.", "some 12", "How long?", "some 12"),
    ],
)
def test_bare_number_takes_its_unit_along(text: str, words: str, question: str, expected: str) -> None:
    start = text.index(words)
    assert with_unit(text, start, start + len(words), question) == expected


def test_missing_folders_are_explained(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        load_embedded(tmp_path)
    make_tokenizer(tmp_path)
    with pytest.raises(ModelError, match="Cannot load the embedded reader"):
        load_embedded(tmp_path)
    make_model(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights[next(name for name in weights if "layers.1" in name)]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"layers\.1"):
        load_embedded(tmp_path, None)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="Cannot load the embedded reader"):
        load_embedded(tmp_path, None)


@pytest.mark.model
def test_real_reader_answers_and_declines(model_dir: Path, hit: Callable[..., Hit]) -> None:
    if DEFAULT_READER is None:
        pytest.skip("the reader's adapter is not in this copy")
    model = load_embedded(model_dir)
    hits = [
        hit("The Eiffel Tower is a lattice tower in Paris. It was built by Gustave Eiffel and is 330 metres tall."),
        hit("Green tea is made from leaves that have not been oxidised.", 200, "tea"),
    ]
    answer = "".join(model.stream(prompt_of(model, *hits, question="How tall is the Eiffel Tower?")))
    assert "330" in answer
    assert answer.endswith("[1]")
    unrelated = "".join(model.stream(prompt_of(model, hits[1], question="Who won the chess championship in 1972?")))
    assert unrelated == DECLINE
