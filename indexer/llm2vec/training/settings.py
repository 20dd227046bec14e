"""What decides a run."""

from dataclasses import dataclass
from pathlib import Path

from indexer.llm2vec.pooling import Pooling


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What every stage needs. A run ends after `max_steps` or after `budget_s` of training, whichever is given."""

    model_dir: Path
    out: Path
    base_name: str = "SmolLM2-135M-Instruct"
    start: Path | None = None  # an earlier stage's adapter, whose parameters go on learning
    seed: int = 0
    max_steps: int | None = None
    budget_s: float | None = None
    pooling: Pooling = "mean"
    query_instruction: str = ""  # before anchors, as the encoder will put it before questions; pooling leaves it out
    max_tokens: int = 112
    micro_tokens: int = 2048  # padded tokens a forward pass takes at once; no effect on the loss
    layers: int | None = None  # keep this many layers of the base, from the bottom; None keeps all
    rank: int = 16
    alpha: int = 32
    learning_rate: float = 5e-4
    warmup_share: float = 0.06
    max_grad_norm: float = 1.0
    attention_dropout: float = 0.0
    dev_every_steps: int = 50
    checkpoint_every_s: float = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MntpSettings(RunSettings):
    """Masked next-token prediction, with the paper's values where a small machine can keep them."""

    max_tokens: int = 512
    learning_rate: float = 5e-5
    batch_texts: int = 32
    mask_share: float = 0.2  # of a text's tokens
    random_share: float = 0.1  # of the masked ones: another token in place of the mask (Devlin et al., 2019)
    unchanged_share: float = 0.1  # of the masked ones: left as they are
    dev_texts: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SimcseSettings(RunSettings):
    """Unsupervised SimCSE, with the paper's values."""

    max_tokens: int = 128
    learning_rate: float = 3e-5
    attention_dropout: float = 0.3
    batch_texts: int = 128
    temperature: float = 1 / 20
    grad_cache: bool = False
    dev_pairs: int = 128
    dev_file: Path | None = None  # pairs to find; None takes the two halves of held-out texts


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastiveSettings(RunSettings):
    """Pairs against in-batch and given negatives."""

    pairs: Path
    teacher_dir: Path | None = None  # a sentence-transformers folder; None trains on the pairs alone
    teacher_name: str = ""  # how the model card calls the teacher
    batch_pairs: int = 48
    neighbourhoods: int = 4  # a batch is this many groups of similar anchors: harder negatives than chance
    hard_negatives: int = 1  # of those a pair brings along, this many are drawn for a step
    temperature: float = 1 / 30
    false_negative_share: float = 0.95  # a negative the teacher scores above this share of the positive is left out
    distill_weight: float = 1.0
    distill_temperature: float = 1 / 20
    grad_cache: bool = False
    dev_pairs: int = 256
    caps: tuple[tuple[str, int], ...] = ()  # the most pairs to take of a source, by name
