"""Runs inside TRL's environment (preferences_trl.py builds it); imports nothing of Footnote.

Reads a JSON job from the file named first, trains some steps on its preferences, and writes what came of it to the one
named second.
"""

import json
import math
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from trl import DPOConfig, DPOTrainer

LONGEST = 4096  # tokens of prompt and answer together: nothing is cut


def main() -> None:
    given, made = map(Path, sys.argv[1:])
    job = json.loads(given.read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(job["tokenizer"])
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    preferences = load_dataset("json", data_files=job["file"], split="train", cache_dir=f"{job['scratch']}/cache")
    trainer = DPOTrainer(
        model=model_of(job, len(tokenizer)),
        ref_model=model_of(job, len(tokenizer)),
        args=DPOConfig(
            output_dir=f"{job['scratch']}/out",
            max_steps=job["steps"],
            per_device_train_batch_size=2,
            learning_rate=1e-3 if job["model"] is None else 5e-6,
            max_length=LONGEST,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            seed=0,
        ),
        processing_class=tokenizer,
        train_dataset=preferences,
    )
    trainer.train()
    losses = [step["loss"] for step in trainer.state.log_history if "loss" in step]
    told = {
        "trl": version("trl"),
        "columns": preferences.column_names,
        "rows": len(preferences),
        "whole": sum(map(arrived, preferences, repeated(trainer.train_dataset), [tokenizer] * len(preferences))),
        "steps": len(losses),
        "losses": [round(loss, 4) for loss in losses],
        "finite": bool(losses) and all(map(math.isfinite, losses)),
    }
    made.write_text(json.dumps(told), encoding="utf-8")


def model_of(job: dict[str, Any], words: int) -> Any:
    if job["model"] is not None:
        return AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32)
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=words, max_position_embeddings=LONGEST, **shape))


def repeated(trained: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in trained]


def arrived(row: dict[str, Any], trained: dict[str, Any], tokenizer: Any) -> bool:
    """Whether the tokens that are trained on are the chat template's own of the row, to the last."""
    asked = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
    if tokenizer.decode(trained["prompt_ids"]) != asked:
        return False
    return all(
        tokenizer.decode(trained[f"{side}_ids"]).strip()
        == tokenizer.apply_chat_template([*row["prompt"], *row[side]], tokenize=False).removeprefix(asked).strip()
        for side in ("chosen", "rejected")
    )


if __name__ == "__main__":
    main()
