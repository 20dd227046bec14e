"""The model card of a trained reader, for people (README.md) and for programs (reader.json)."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from generator.reading import READER_CARD, READER_FORMAT

_TEXT = """---
base_model: {base_name}
library_name: peft
license: cc-by-sa-3.0
---
# Reader adapter for {base_name}

LoRA (rank {rank}, alpha {alpha}) that makes the model read one passage and copy the answer out of it, or end its
turn at once when the answer is not there. Footnote decodes it under constraint: it answers only in the passage's words.

- Input format {reader_format}: see `generator/reading.py`. It is meant for that input and no other.
- Data: QED training questions (Lamm et al. 2020, CC BY-SA 3.0; passages from Wikipedia), {trained} of them; {held}
  more were held out by title. Half of the samples hold the answer; the others are BM25 distractors, passages from
  which the sentence with the answer was removed, or passages under a question about another number, thing or opposite.
- Run: {steps} steps of {batch} samples, {elapsed_s:.0f} s of training, seed {seed}, peak rate {learning_rate}{before}.
- Held-out loss at the end (nats an answer): {dev_loss_gold:.2f} with the answer, {dev_loss_distractor:.2f} without.
- Limits: English; short factual answers; a 135M model errs often, so look at the footnote. No yes/no answers, no
  arithmetic, no answer from two passages.
"""


def write_card(folder: Path, settings: Any, **facts: float) -> None:
    """Write README.md and reader.json beside the adapter. `settings` is the run's ReaderSettings."""
    told = {k: v.name if isinstance(v, Path) else v for k, v in asdict(settings).items() if k != "out"}
    card = {"reader_format": READER_FORMAT, **facts, "settings": told}
    (folder / READER_CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    text = _TEXT.format(**{**told, **facts}, reader_format=READER_FORMAT, before=_told_before(settings.start))
    (folder / "README.md").write_text(text, encoding="utf-8")


def _told_before(start: Path | None) -> str:
    """The run of the adapter that this one went on from."""
    if start is None:
        return ""
    card = start / READER_CARD
    before = json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {}
    run = f" of {before['steps']} steps of {before['settings']['batch']} samples" if "settings" in before else ""
    return f";\n  it went on from an adapter{run}"
