"""The fused pass computes what transformers' own classes compute, and leaves alone what it does not know."""

from typing import Any

import pytest
import torch
from transformers import AutoModel, LlamaConfig, MistralConfig, PretrainedConfig, Qwen2Config

from indexer.llm2vec.fused import fuse

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 60,
}
IDS = torch.arange(2 * 7).reshape(2, 7) * 5 % 60
PADDED = torch.tensor([[True] * 7, [True] * 4 + [False] * 3])
PLAIN: list[PretrainedConfig] = [
    LlamaConfig(**SHAPE),
    LlamaConfig(**{**SHAPE, "num_key_value_heads": 4}, head_dim=16),
    MistralConfig(**SHAPE, sliding_window=None),
]


def bidirectional(config: PretrainedConfig) -> Any:
    torch.manual_seed(0)
    model = AutoModel.from_config(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:  # all ones at first, which would hide a norm that is forgotten
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    model.config.is_causal = False
    return model


@pytest.mark.parametrize("config", PLAIN, ids=["grouped keys", "own head size", "mistral"])
@pytest.mark.parametrize("seen", [None, PADDED], ids=["whole", "padded"])
@torch.inference_mode()
def test_states_are_those_of_the_stock_classes(config: PretrainedConfig, seen: torch.Tensor | None) -> None:
    model = bidirectional(config)
    fused = fuse(model, torch.float32)
    assert fused is not None
    expected = model(input_ids=IDS, attention_mask=seen).last_hidden_state
    kept = torch.ones_like(IDS, dtype=torch.bool) if seen is None else seen
    assert torch.allclose(fused(IDS, seen)[kept], expected[kept], atol=2e-6)


@torch.inference_mode()
def test_bfloat16_is_nearer_to_float32_than_the_stock_pass_is() -> None:
    model = bidirectional(LlamaConfig(**{**SHAPE, "num_hidden_layers": 12}))
    exact = model(input_ids=IDS).last_hidden_state
    fused = fuse(model, torch.bfloat16)
    assert fused is not None
    ours = (fused(IDS, None) - exact).square().mean()
    stock = (model.to(torch.bfloat16)(input_ids=IDS).last_hidden_state.float() - exact).square().mean()
    assert ours < stock / 2


@pytest.mark.parametrize(
    "config",
    [
        Qwen2Config(**SHAPE),
        MistralConfig(**SHAPE, sliding_window=4),
        LlamaConfig(**SHAPE, attention_bias=True),
        LlamaConfig(**SHAPE, mlp_bias=True),
        LlamaConfig(**SHAPE, hidden_act="gelu"),
        LlamaConfig(**SHAPE, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}),
    ],
    ids=["another kind", "sliding window", "attention bias", "mlp bias", "activation", "rotary"],
)
def test_what_it_would_compute_otherwise_is_left_to_transformers(config: PretrainedConfig) -> None:
    assert fuse(bidirectional(config), torch.float32) is None


def test_a_causal_decoder_is_left_to_transformers() -> None:
    model = bidirectional(LlamaConfig(**SHAPE))
    model.config.is_causal = True
    assert fuse(model, torch.float32) is None
