"""The state of a run on disk, replaced atomically, so that a kill loses minutes and not the run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from indexer.llm2vec.training.lora import lora_parameters

FILE = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run has come."""

    step: int = 0
    elapsed_s: float = 0.0


def save_checkpoint(folder: Path, model: Any, optimizer: torch.optim.Optimizer, position: Position) -> None:
    """Write parameters, optimizer state, RNG and position."""
    state = {
        "step": position.step,
        "elapsed_s": position.elapsed_s,
        "parameters": {name: parameter.detach() for name, parameter in lora_parameters(model)},
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda_rng"] = torch.cuda.get_rng_state()
    scratch = folder / f"{FILE}.part"
    torch.save(state, scratch)
    scratch.replace(folder / FILE)


def load_checkpoint(folder: Path, model: Any, optimizer: torch.optim.Optimizer) -> Position:
    """Restore what save_checkpoint wrote, if it is there, and say where the run stands."""
    path = folder / FILE
    if not path.is_file():
        return Position()
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        for name, parameter in lora_parameters(model):
            parameter.copy_(state["parameters"][name])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    if "cuda_rng" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda_rng"])
    return Position(state["step"], state["elapsed_s"])
