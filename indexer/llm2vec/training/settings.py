"""What decides a contrastive run."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ContrastiveSettings:
    """One contrastive run. It ends after `max_steps` or after `budget_s` of training, whichever is given."""

    model_dir: Path
    pairs: Path
    out: Path
    teacher_dir: Path | None = None  # a sentence-transformers folder; None trains on the pairs alone
    teacher_name: str = ""  # how the model card calls the teacher
    base_name: str = "SmolLM2-135M-Instruct"
    seed: int = 0
    max_steps: int | None = None
    budget_s: float | None = None
    batch_pairs: int = 48
    neighbourhoods: int = 4  # a batch is this many groups of similar anchors: harder negatives than chance
    max_tokens: int = 112
    micro_tokens: int = 2048  # padded tokens a forward pass takes at once; no effect on the loss
    layers: int | None = None  # keep this many layers of the base, from the bottom; None keeps all
    rank: int = 16
    alpha: int = 32
    learning_rate: float = 5e-4
    warmup_share: float = 0.06
    max_grad_norm: float = 1.0
    temperature: float = 1 / 30
    false_negative_share: float = 0.95  # a negative the teacher scores above this share of the positive is left out
    distill_weight: float = 1.0
    distill_temperature: float = 1 / 20
    dev_pairs: int = 256
    checkpoint_every_s: float = 180.0
    caps: tuple[tuple[str, int], ...] = ()  # the most pairs to take of a source, by name
