from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generator.abstain import DECLINE
from generator.choice import ChoiceSettings
from generator.citations import cite
from generator.embedded import EmbeddedModel, load_embedded
from generator.forward import read
from generator.marginal import Array, MarginalSettings, sequence_log_p, token_log_p
from generator.prompt import answer_prompt
from generator.rag import Decoded, decode
from generator.reader_files import DEFAULT_READER
from generator.reading import ReaderTokenizer, Reading
from retriever.hit import Hit

TEXTS = ("The tower opened in 1889. It is 330 metres tall.", "It opens at nine", "Gustave Eiffel built it in Paris.")
LOG_PASSAGES = np.log([0.5, 0.3, 0.2])
MODES = (MarginalSettings("sequence"), MarginalSettings("sequence", "fast"), MarginalSettings("token"))


def readings(tokenizer: ReaderTokenizer, *texts: str) -> list[Reading]:
    return [tokenizer.reading("When does the library open?", "", text) for text in texts]


def decoded(
    model: Any, tokenizer: ReaderTokenizer, settings: MarginalSettings, texts: tuple[str, ...], log_passages: Array
) -> Decoded:
    prefix = read(model, readings(tokenizer, *texts), tokenizer.end)
    return decode(model, prefix, log_passages, settings, tokenizer.end, 6)


def log_tokens(model: Any, read_: list[Reading], answers: list[tuple[int, ...]], end: int) -> list[Array]:
    """For each answer (Z, 1, N): every token's log-probability, by a forward pass of its own, given that one comes."""
    found = []
    for answer in answers:
        rows = []
        for reading in read_:
            with torch.inference_mode():
                logs = model(input_ids=torch.tensor([[*reading.ids, *answer, end]])).logits[0].double().log_softmax(-1)
            at = len(reading.ids) - 1
            own = [float(logs[at + k, token]) for k, token in enumerate((*answer, end))]
            own[0] -= float(np.log1p(-np.exp(float(logs[at, end]))))
            rows.append([own])
        found.append(np.array(rows))
    return found


@pytest.mark.parametrize(("settings", "formula"), [(MODES[0], sequence_log_p), (MODES[2], token_log_p)])
def test_candidates_have_the_paper_s_probability(
    model: Any, tokenizer: ReaderTokenizer, settings: MarginalSettings, formula: Callable[[Array, Array], Array]
) -> None:
    read_ = readings(tokenizer, *TEXTS)
    out = decoded(model, tokenizer, settings, TEXTS, LOG_PASSAGES)
    holds = np.log1p(-np.exp(np.array(out.log_decline)))
    log_z = LOG_PASSAGES + holds - np.logaddexp.reduce(LOG_PASSAGES + holds)
    each = log_tokens(model, read_, [c.tokens for c in out.candidates], tokenizer.end)
    assert len(out.candidates) >= 4
    for candidate, logs in zip(out.candidates, each, strict=True):
        assert candidate.log_p == pytest.approx(float(formula(log_z, logs)[0]), abs=1e-3)
        own = logs[:, 0].sum(-1)
        assert candidate.row == int((log_z + own).argmax())
        assert candidate.log_own == pytest.approx(own[candidate.row] + holds[candidate.row], abs=1e-3)


def test_fast_decoding_leaves_out_what_the_other_beams_did_not_give(model: Any, tokenizer: ReaderTokenizer) -> None:
    thorough = {c.tokens: c for c in decoded(model, tokenizer, MODES[0], TEXTS, LOG_PASSAGES).candidates}
    fast = {c.tokens: c for c in decoded(model, tokenizer, MODES[1], TEXTS, LOG_PASSAGES).candidates}
    assert set(fast) == set(thorough)
    assert all(fast[tokens].log_p <= thorough[tokens].log_p + 1e-4 for tokens in fast)
    assert any(fast[tokens].log_p < thorough[tokens].log_p - 0.01 for tokens in fast)


def test_with_one_passage_all_modes_are_beam_search(model: Any, tokenizer: ReaderTokenizer) -> None:
    found = [decoded(model, tokenizer, settings, TEXTS[:1], np.zeros(1)).candidates for settings in MODES]
    assert [[c.tokens for c in own] for own in found[1:]] == [[c.tokens for c in found[0]]] * 2
    for own in found[1:]:
        assert [c.log_p for c in own] == pytest.approx([c.log_p for c in found[0]], abs=1e-4)


def test_an_answer_of_one_token_ends_there(model: Any, tokenizer: ReaderTokenizer) -> None:
    prefix = read(model, readings(tokenizer, *TEXTS), tokenizer.end)
    for settings in MODES:
        candidates = decode(model, prefix, LOG_PASSAGES, settings, tokenizer.end, 1).candidates
        assert {len(c.tokens) for c in candidates} == {1}


@pytest.mark.parametrize("settings", MODES)
def test_the_model_answers_in_every_mode_and_declines(
    model: Any, tokenizer: ReaderTokenizer, hit: Callable[..., Hit], settings: MarginalSettings
) -> None:
    never = EmbeddedModel(model, tokenizer, "tiny", ChoiceSettings(decline_above=1.0), settings)
    hits = [hit(text, 100 * n) for n, text in enumerate(TEXTS)]
    prompt = answer_prompt("When does the library open?", hits, 10_000, never.count_tokens)
    words, marker = never.stream(prompt)
    assert any(c.isalnum() for c in words)
    assert marker in (" [1]", " [2]", " [3]")
    always = EmbeddedModel(model, tokenizer, "tiny", ChoiceSettings(decline_above=0.0), settings)
    assert list(always.stream(prompt)) == [DECLINE]


@pytest.mark.model
def test_real_reader_in_every_mode(model_dir: Path, hit: Callable[..., Hit]) -> None:
    if DEFAULT_READER is None:
        pytest.skip("the reader's adapter is not in this copy")
    model = load_embedded(model_dir)
    hits = [
        hit("Green tea is made from leaves that have not been oxidised.", 200, "tea"),
        hit("The Eiffel Tower is a lattice tower in Paris. It was built by Gustave Eiffel and is 330 metres tall."),
    ]
    prompt = answer_prompt("How tall is the Eiffel Tower?", hits, 10_000, model.count_tokens)
    for settings in MODES:
        model.marginal = settings
        answer = "".join(model.stream(prompt))
        assert "330" in answer
        (citation,) = cite(answer, hits, prompt.question).citations
        assert citation.document_id == "d"
        assert "330" in citation.quote
