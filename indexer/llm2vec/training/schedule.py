"""How far a run is, and the learning rate that goes with it."""

import math


def progress(step: int, elapsed_s: float, max_steps: int | None, budget_s: float | None) -> float:
    """Share of the run that is done, 0 to 1: of its steps or of its time, whichever is further."""
    shares = [step / max_steps] if max_steps else []
    shares += [elapsed_s / budget_s] if budget_s else []
    return min(1.0, max(shares, default=0.0))


def rate_share(done: float, warmup_share: float) -> float:
    """Share of the peak learning rate: linear warm-up, then half a cosine down to 2%."""
    if done < warmup_share:
        return max(0.02, done / warmup_share)
    falling = (done - warmup_share) / (1 - warmup_share)
    return 0.02 + 0.98 * (1 + math.cos(math.pi * falling)) / 2
