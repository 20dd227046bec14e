import gzip
import json
import random
import re
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from generator.reading import ReaderTokenizer
from generator.training.detokenize import detokenize
from generator.training.held_out import write_held_out
from generator.training.samples import Distractors, Question, Sample, alter, draw, load_questions, make, split
from generator.training.train import ReaderSettings, answer_losses, example, train
from indexer.errors import DatasetError, ModelError

sys.path.insert(0, str(Path(__file__).parent))
from tiny import make_model, make_tokenizer


@pytest.mark.parametrize(
    ("treebank", "written"),
    [
        ("Apple 's iPhone , first sold ( in the U.S. ) in 2007 .", "Apple's iPhone, first sold (in the U.S.) in 2007."),
        ("He said `` go home '' twice .", 'He said "go home" twice.'),
        ("a low - budget film , 1990 -- 2000 -- so they say", "a low-budget film, 1990\u20132000 \u2013 so they say"),
        ("at 2 : 30 p.m. and / or it costs $ 5 , i.e. 3 %", "at 2:30 p.m. and/or it costs $5, i.e. 3%"),
        ("do n't and we 've", "don't and we've"),
        ("nothing to change", "nothing to change"),
    ],
)
def test_detokenize(treebank: str, written: str) -> None:
    assert detokenize(treebank).text == written


@given(
    st.lists(
        st.sampled_from(["word", ",", ".", "``", "''", "(", ")", "-", "--", "19", "'s", "/", "\ufeff", "$", "é"])
    ).map(" ".join)
)
def test_words_keep_their_offsets(text: str) -> None:
    readable = detokenize(text)
    assert len(readable.offsets) == len(text) + 1
    assert list(readable.offsets) == sorted(readable.offsets)
    at = 0
    for word in text.split(" "):
        if word.isalnum():
            low, high = readable.span(at, at + len(word))
            assert readable.text[low:high] == word
        at += len(word) + 1


def row(number: int) -> dict[str, Any]:
    """A question about a made-up town; the answer is the name in the second sentence."""
    name = f"Founder{number}"
    passage = (
        f"Town {number} lies by the sea , in the north . It was founded by {name} in 18{number % 90 + 10} . Many "
        "people come here every summer , and they like the long walks along the cliffs and the old harbour with its "
        "boats , its market , and the small museum of the sea ."
    )
    at = passage.index(name)
    starts = [0, passage.index("It was"), passage.index("Many")]
    return {
        "id": str(number),
        "question": f"who founded town {number}",
        "title": f"Town {number}",
        "passage": passage,
        "answers": [name],
        "answer_spans": [[at, at + len(name)]],
        "sentence_starts": starts,
    }


@pytest.fixture(scope="module")
def questions_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "qed.jsonl.gz"
    with gzip.open(path, "wt") as lines:
        lines.writelines(json.dumps(row(n)) + "\n" for n in range(340))
    return path


def test_held_out_titles_never_train(questions_path: Path) -> None:
    trained, held = split(load_questions(questions_path))
    assert len(held) >= 300
    assert not {q.title for q in trained} & {q.title for q in held}


def test_samples_are_what_they_say(questions_path: Path) -> None:
    trained, _ = split(load_questions(questions_path))
    distractors = Distractors(trained)
    by_question = {q.text.lower().rstrip("?"): q for q in trained}
    seen = set()
    for sample in islice(draw(trained, distractors, seed=1), 200):
        seen.add(sample.kind)
        asked = by_question.get(sample.question.lower().rstrip("?"))  # an altered one may be nobody's
        answers = asked.answers if asked else ()
        if sample.span is None:
            assert not any(answer in sample.passage for answer in answers)
        else:
            assert sample.passage[slice(*sample.span)] in answers
    assert seen == {"gold", "distractor", "removed", "altered"}


@pytest.mark.parametrize(
    ("asked", "passage", "other"),
    [
        ("who led season 2 of the race", "Season 2 was led by Ann.", r"who led season ([0134]|7|11|13) of the race"),
        ("who wrote the first book", "Ann wrote the first book.", "who wrote the last book"),
        ("who founded river town", "River Town was founded by Ann.", "who founded hill city"),
        ("who founded it", "River Town was founded by Ann.", ""),
        ("who wrote the first book", "Ann wrote the first and the last book.", ""),
    ],
)
def test_an_altered_question_is_about_something_else(asked: str, passage: str, other: str) -> None:
    question = Question("q", asked, "River Town (Ohio)", passage, ((0, 3),), (0,))
    made = alter(question, ("hill city",), random.Random(1))
    assert re.fullmatch(other, made)
    assert made != asked


def test_held_out_questions_become_a_data_set(questions_path: Path, tmp_path: Path) -> None:
    write_held_out(load_questions(questions_path), tmp_path / "set")
    rows = [json.loads(line) for line in (tmp_path / "set" / "queries.jsonl").read_text().splitlines()]
    corpus = [json.loads(line) for line in (tmp_path / "set" / "corpus.jsonl").read_text().splitlines()]
    texts = {row["_id"]: row["text"] for row in corpus}
    relevant = dict(line.split("\t")[:2] for line in (tmp_path / "set" / "qrels.tsv").read_text().splitlines()[1:])
    kinds = {(row["answerable"], row["_id"].endswith("altered")) for row in rows}
    assert kinds == {(True, False), (False, False), (False, True)}
    _, held = split(load_questions(questions_path))
    golds = {question.id: question.passage for question in held}
    for row in rows:
        if row["answerable"]:
            assert texts[relevant[row["_id"]]] == golds[row["_id"]]
        elif not row["_id"].endswith("altered"):
            assert golds[row["_id"]] not in texts.values()
    with pytest.raises(DatasetError, match="there already"):
        write_held_out(load_questions(questions_path), tmp_path / "set")


def test_samples_repeat_with_their_seed(questions_path: Path) -> None:
    trained, _ = split(load_questions(questions_path))
    distractors = Distractors(trained)
    first, again, other = (list(islice(draw(trained, distractors, seed), 20)) for seed in (1, 1, 2))
    assert first == again != other


def test_missing_questions_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="Cannot read training questions"):
        load_questions(tmp_path / "none.gz")


def test_target_is_the_span_and_then_the_end(questions_path: Path, tmp_path: Path) -> None:
    tokenizer = ReaderTokenizer(make_tokenizer(tmp_path))
    trained, _ = split(load_questions(questions_path))
    sample = make(trained[0], "gold", Distractors(trained), random.Random(0))
    reading = tokenizer.reading(sample.question, sample.title, sample.passage)
    made = example(reading, sample, tokenizer.end, 40)
    assert made is not None
    assert tokenizer._plain.decode(list(made.ids[made.answer_at : -1])).strip(" .,") in trained[0].answers
    assert made.ids[-1] == tokenizer.end
    empty = example(reading, replace(sample, span=None), tokenizer.end, 40)
    assert empty is not None
    assert empty.ids[empty.answer_at :] == (tokenizer.end,)
    assert example(reading, sample, tokenizer.end, 0) is None


def test_losses_are_those_of_each_answer_alone(tmp_path: Path) -> None:
    model, tokenizer = make_model(make_tokenizer(tmp_path)), ReaderTokenizer(tmp_path)
    samples = [
        Sample("When?", "", "It opens at nine.", (9, 16), "gold"),
        Sample("Who wrote the field guide?", "Guide", "The tower opened in 1889. It is tall.", None, "distractor"),
    ]
    made = [
        e for s in samples
        if (e := example(tokenizer.reading(s.question, s.title, s.passage), s, tokenizer.end, 40))
    ]  # fmt: skip
    with torch.inference_mode():
        losses = answer_losses(model, made, tokenizer.end).tolist()
        for e, loss in zip(made, losses, strict=True):
            ids = torch.tensor([e.ids])
            labels = ids.clone()
            labels[0, : e.answer_at] = -100
            mean = model(input_ids=ids, labels=labels).loss
            assert loss == pytest.approx(float(mean) * (len(e.ids) - e.answer_at), rel=1e-4)


def test_a_run_learns_stops_and_goes_on(questions_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    make_model(make_tokenizer(folder))
    settings = ReaderSettings(
        folder, questions_path, tmp_path / "run", max_steps=6, batch=4, micro_batch=2, first_layer=1, rank=4,
        learning_rate=1e-2, dev_questions=4, max_answer_tokens=60,
    )  # fmt: skip
    adapter = train(settings)
    assert (adapter / "adapter_model.safetensors").is_file()
    assert json.loads((adapter / "reader.json").read_text())["steps"] == 6
    assert "6 steps of 4 samples" in (adapter / "README.md").read_text()
    train(replace(settings, max_steps=12))
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [line["dev_loss_gold"] + line["dev_loss_distractor"] for line in log if "dev_loss_gold" in line]
    assert [line["step"] for line in log if "dev_loss_gold" in line] == [6, 12]
    assert losses[1] < losses[0]
    further = replace(settings, out=tmp_path / "further", start=adapter, max_steps=1, learning_rate=0.0)
    went_on, started = (load_file(folder / "adapter_model.safetensors") for folder in (train(further), adapter))
    assert all(torch.equal(went_on[name], started[name]) for name in started)
    assert "it went on from an adapter of 12 steps of 4 samples" in (
        tmp_path / "further" / "adapter" / "README.md"
    ).read_text(encoding="utf-8")
    with pytest.raises(ModelError, match="does not fit"):
        train(replace(further, out=tmp_path / "other", rank=2))
