"""Cutting texts to token sequences and masking them, for masked next-token prediction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from indexer.errors import ModelError
from indexer.llm2vec.tokens import well_formed

NO_TARGET = -100
MASKS = ("<mask>", "[MASK]", "<|mask|>", "_")  # the official package masks with "_" where a model has no mask token


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids of one text; the first `lead` are special tokens such as a beginning-of-sequence."""

    ids: tuple[int, ...]
    lead: int


@dataclass(frozen=True, slots=True)
class Masked:
    """Ids as the model sees them, and at the masked positions what stood there, elsewhere NO_TARGET."""

    ids: tuple[int, ...]
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Masking:
    """How tokens are masked: `share` of a text's; of these, some become another token or stay (Devlin et al., 2019)."""

    mask_id: int
    vocabulary: int
    share: float
    random_share: float
    unchanged_share: float


def mask_id(tokenizer: Tokenizer) -> int:
    """Id of the mask token, or of "_" in a model without one.

    Raises:
        ModelError: the tokenizer has neither.
    """
    for token in MASKS:
        if (found := tokenizer.token_to_id(token)) is not None:
            return int(found)
    raise ModelError("The tokenizer has no mask token and no token '_'.", "Train another base model.")


def cut(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[Tokens]:
    """Tokenise, and cut what is longer than `max_tokens` into pieces of nearly equal length; texts never share one.

    A piece has at least two tokens, so that one can be predicted from the one before it; texts of one token give none.
    """
    sequences = []
    for encoding in tokenizer.encode_batch_fast(well_formed(texts), add_special_tokens=True):
        special, ids = encoding.special_tokens_mask, encoding.ids
        lead = next((index for index, flag in enumerate(special) if not flag), len(ids))
        end = len(ids) - next((index for index, flag in enumerate(reversed(special)) if not flag), len(ids))
        own = ids[lead : max(lead, end)]
        pieces = -(-len(own) // max(1, max_tokens - lead))
        for piece in np.array_split(np.array(own), pieces) if pieces else ():
            if lead + len(piece) >= 2:
                sequences.append(Tokens((*ids[:lead], *piece.tolist()), lead))
    return sequences


def mask(sequence: Tokens, masking: Masking, rng: np.random.Generator) -> Masked:
    """Mask a share of the text's tokens, at least one. Position 0 has nothing before it and is never masked."""
    first, length = max(1, sequence.lead), len(sequence.ids)
    count = max(1, round(masking.share * (length - first)))
    ids, targets = list(sequence.ids), [NO_TARGET] * length
    for position in rng.choice(np.arange(first, length), count, replace=False).tolist():
        targets[position] = ids[position]
        draw = rng.random()
        if draw < masking.random_share:
            ids[position] = int(rng.integers(masking.vocabulary))
        elif draw >= masking.random_share + masking.unchanged_share:
            ids[position] = masking.mask_id
    return Masked(tuple(ids), tuple(targets))
