"""The forward pass of a Llama-shaped decoder in few sweeps over memory, for encoding on a processor.

At the size of a small model's layers, the stock pass spends most of its time between the multiplications. This one
keeps the residual stream in fp32 (which also makes bf16 truer), folds each norm's weight into the projection behind it,
joins the projections of queries, keys and values, and rotates and activates in place. Weights come from the stock
classes; anything but plain Llama or Mistral layers is left to them.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_KINDS = ("llama", "mistral")  # model types whose layers are computed as here


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: "Tensor"  # (heads + 2 * key heads) * head size, D; the norm's weight folded in
    out: "Tensor"
    gate: "Tensor"
    up: "Tensor"
    down: "Tensor"


class FusedDecoder:
    """Hidden states of a frozen decoder without a causal mask; holds its own copies of the projections.

    Use it under `torch.inference_mode`.
    """

    def __init__(self, model: Any, dtype: "torch.dtype") -> None:
        config = model.config
        self._embedding = model.embed_tokens.weight
        self._rotary = model.rotary_emb
        self._epsilon = float(config.rms_norm_eps)
        self._heads, self._key_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
        self._head_size = int(getattr(config, "head_dim", None) or config.hidden_size // self._heads)
        self._dtype = dtype
        self._layers = [_fold(layer, dtype) for layer in model.layers]
        self._norm: Tensor = model.norm.weight.detach().float()

    def __call__(self, ids: "Tensor", seen: "Tensor | None") -> "Tensor":
        """Take ids (B, T) and which of them attention sees (None for all); give states (B, T, D) in fp32."""
        import torch

        batch, length = ids.shape
        stream = torch.nn.functional.embedding(ids, self._embedding).float().view(batch * length, -1)  # (N, D)
        places = torch.arange(length, device=ids.device)[None]
        cos, sin = self._rotary(stream, places)  # (1, T, H), its halves alike
        half = self._head_size // 2
        turn = tuple(part[0, :, None, :half].to(self._dtype) for part in (cos, sin))  # (T, 1, H / 2)
        mask = None if seen is None else seen[:, None, None, :]
        scaled = torch.empty(stream.shape, dtype=self._dtype, device=ids.device)
        for layer in self._layers:
            self._attend(layer, stream, self._scaled(stream, scaled), turn, mask, batch)
            self._transform(layer, stream, self._scaled(stream, scaled))
        return (self._scaled(stream, stream) * self._norm).view(batch, length, -1)

    def _scaled(self, stream: "Tensor", into: "Tensor") -> "Tensor":
        """Each row over its root mean square (Zhang and Sennrich, 2019), without the norm's weight."""
        import torch

        size = torch.linalg.vector_norm(stream, dim=-1, keepdim=True)
        scale = size.square_().div_(stream.shape[-1]).add_(self._epsilon).rsqrt_()
        torch.mul(stream, scale, out=into)
        return into

    def _attend(
        self,
        layer: _Layer,
        stream: "Tensor",
        x: "Tensor",
        turn: tuple["Tensor", ...],
        mask: "Tensor | None",
        batch: int,
    ) -> None:
        import torch
        from torch.nn import functional

        turned = self._heads + self._key_heads
        heads = functional.linear(x, layer.qkv).view(batch, -1, turned + self._key_heads, self._head_size)
        left, right = heads[:, :, :turned].chunk(2, dim=-1)
        cos, sin = turn
        new = torch.empty((*heads.shape[:2], turned, self._head_size), dtype=x.dtype, device=x.device)
        new_left, new_right = new.chunk(2, dim=-1)
        torch.mul(left, cos, out=new_left).addcmul_(right, sin, value=-1)
        torch.mul(right, cos, out=new_right).addcmul_(left, sin)
        mixed = functional.scaled_dot_product_attention(
            new[:, :, : self._heads].transpose(1, 2),
            new[:, :, self._heads :].transpose(1, 2),
            heads[:, :, turned:].transpose(1, 2),
            attn_mask=mask,
            enable_gqa=self._heads != self._key_heads,
        )
        stream.add_(functional.linear(mixed.transpose(1, 2).reshape(len(x), -1), layer.out))

    def _transform(self, layer: _Layer, stream: "Tensor", x: "Tensor") -> None:
        from torch.nn import functional

        gate = functional.silu(functional.linear(x, layer.gate), inplace=True)
        stream.add_(functional.linear(gate.mul_(functional.linear(x, layer.up)), layer.down))


def fuse(model: Any, dtype: "torch.dtype") -> FusedDecoder | None:
    """Give the fused pass of `model`, which is in fp32, in `dtype`, or None where it would not compute the same."""
    config = model.config
    plain = (
        config.model_type in _KINDS
        and config.hidden_act == "silu"
        and not getattr(config, "attention_bias", False)
        and not getattr(config, "mlp_bias", False)
        and getattr(config, "sliding_window", None) is None
        and model.rotary_emb.rope_type == "default"
        and config.is_causal is False
    )
    return FusedDecoder(model, dtype) if plain else None


def _fold(layer: Any, dtype: "torch.dtype") -> _Layer:
    import torch

    attention, mlp = layer.self_attn, layer.mlp
    before, after = layer.input_layernorm.weight.float(), layer.post_attention_layernorm.weight.float()
    qkv = torch.cat([each.weight for each in (attention.q_proj, attention.k_proj, attention.v_proj)])
    return _Layer(
        (qkv.float() * before).to(dtype),
        attention.o_proj.weight.detach().to(dtype),
        (mlp.gate_proj.weight.float() * after).to(dtype),
        (mlp.up_proj.weight.float() * after).to(dtype),
        mlp.down_proj.weight.detach().to(dtype),
    )
