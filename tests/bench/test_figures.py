"""`make figures`: which commands it runs, and the page it makes of what they print."""

from pathlib import Path

import pytest

from bench import figures
from bench.figures import Line, plan, render


@pytest.fixture(autouse=True)
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(figures, "BENCH", tmp_path)
    for name, query in (("cranfield", '{"_id": "1", "text": "q"}'), ("qed-dev", '{"_id": "1", "answers": ["a"]}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "queries.jsonl").write_text(query + "\n")
    return tmp_path


def test_every_set_is_searched_and_those_with_answers_are_asked(bench: Path) -> None:
    lines = list(plan(["questions", "cranfield", "qed-dev"], ["retrieval", "answers"], 50))
    assert [(line.part, line.set) for line in lines] == [
        ("retrieval", "questions"),
        ("retrieval", "cranfield"),
        ("retrieval", "qed-dev"),
        ("answers", "questions"),
        ("answers", "qed-dev"),
    ]
    assert lines[4].told == "./footnote eval answers --dataset $FOOTNOTE_BENCH/qed-dev --limit 50 --reuse"
    assert lines[4].command[2:] == ("--dataset", str(bench / "qed-dev"), "--limit", "50", "--reuse")
    assert str(bench) not in "".join(line.told for line in lines)


def test_only_our_own_set_is_cut_in_several_ways() -> None:
    told = [line.told for line in plan(["questions", "cranfield"], ["sweep"], 50)]
    assert len(told) == 3
    assert [("chunk_tokens" in line) for line in told] == [False, True, False]


def test_the_page_has_figures_commands_and_what_is_missing() -> None:
    ends = {"ndcg@10": [0.4, 0.6], "recall@100": [1.0, 1.0], "mrr@10": [0.1, 0.4]}
    modes = {"bm25": {"n": 7, "ndcg@10": 0.5, "recall@100": 1.0, "mrr@10": 0.25, "ci95": ends}}
    done = [
        Line("retrieval", "cranfield", (), "./footnote eval retrieval", {"modes": modes}),
        Line("answers", "qed-dev", (), "./footnote eval answers", None, "The reader is missing."),
    ]
    page = render(done, ["scifact"], 2)
    assert "| cranfield | 7 | bm25 | 0.500 [0.400, 0.600] | 1.000 [1.000, 1.000] | 0.250 [0.100, 0.400] |" in page
    assert "```sh\n./footnote eval retrieval\n```" in page
    assert "## Answers" not in page
    assert "- `./footnote eval answers`: The reader is missing." in page
    assert "- scifact is not in the folder of the shared sets (`FOOTNOTE_BENCH`)." in page
    assert "- 2 more commands were still to run when this was written." in page


def test_sweeps_and_encoders_have_their_rows() -> None:
    standing = {"trial": {}, "mean": 0.5, "ci95": [0.4, 0.6], "behind": 0.01, "p_holm": 0.2}
    other = {**standing, "trial": {"retriever.dense_weight": 0.35}, "behind": 0.0}
    figure = {"spearman": {"mean": 0.9, "ci95": [0.8, 0.95], "n": 36}}
    encoders = {"tasks": {"sts": "sts"}, "encoders": [{"encoder": "minilm", "tasks": {"sts": figure}}]}
    done = [
        Line("sweep", "questions", (), "sweep it", {"n": 135, "standings": [other, standing]}),
        Line("encoder", "encoder-tasks", (), "encode it", encoders),
    ]
    page = render(done, [], 0)
    assert "| questions | 135 | retriever.dense_weight = 0.35 | 0.500 [0.400, 0.600] | 0.0000 | 0.200 |" in page
    assert "| questions | 135 | **as they are** | 0.500 [0.400, 0.600] | 0.0100 | 0.200 |" in page
    assert "| sts | 36 | minilm | spearman | 0.900 [0.800, 0.950] |" in page
    assert "Not measured" not in page
