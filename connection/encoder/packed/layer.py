"""One layer of BERT over packed sentences, with forward and backward passes written by hand, for the CPU.

The mathematics is that of transformers' BertLayer. It is faster because it computes no padding, uses few and large
operations with the products of `products.py`, and saves only what the backward pass needs. In bfloat16 the operands of the
six linear layers are cast, each once; everything else stays in float32. Outputs and gradients are compared with BertModel in
tests/encoder/test_packed_layer.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from connection.encoder.packed.attention_plan import AttentionPlan
from connection.encoder.packed.dropout import Mask
from connection.encoder.packed.products import cast_weight, input_gradient, linear, weight_gradient

_layer_norm_backward = torch.ops.aten.native_layer_norm_backward


@dataclass(frozen=True)
class LayerMasks:
    """The dropout masks of a layer.

    attention: one per group of the plan, (count · heads, length, length). attended, output: of the two dense outputs, (T, H);
    None for no dropout there.
    """

    attention: list[Mask]
    attended: Mask | None
    output: Mask


class PackedLayer(torch.autograd.Function):
    """states (T, H) → states (T, H) of one layer.

    dtype: the type of the operands of products; that of the states, or bfloat16.
    position_bias: (heads, L, L), added to the attention scores; L is at least the longest group's length. None for nothing.
    weights: weight and bias of query, key, value, attention's dense and LayerNorm, the intermediate dense, the output's dense
    and LayerNorm, in this order.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        plan: AttentionPlan,
        masks: LayerMasks | None,
        eps: float,
        dtype: torch.dtype,
        position_bias: Tensor | None,
        *weights: Tensor,
    ) -> Tensor:
        wq, bq, wk, bk, wv, bv, wo, bo, g1, b1, wi, bi, wf, bf, g2, b2 = weights
        wq, wk, wv, wo, wi, wf = (cast_weight(w, dtype) for w in (wq, wk, wv, wo, wi, wf))
        size, entered = (states.shape[1],), states.to(dtype)
        query, key, value = (plan.gather(linear(entered, w, b)) for w, b in ((wq, bq), (wk, bk), (wv, bv)))  # (P · heads, d)
        if plan.is_trained or masks:
            attended, probabilities = _attend(plan, query, key, value, masks, position_bias)
        else:
            attended, probabilities = _attend_only(plan, query, key, value, position_bias)
        attended = plan.scatter(attended).to(dtype)  # (T, H)
        first = _add(states, linear(attended, wo, bo), masks.attended if masks else None)
        middle, mean1, scale1 = torch.native_layer_norm(first, size, g1, b1, eps)
        halfway = middle.to(dtype)
        inner = linear(halfway, wi, bi)  # (T, I)
        active = F.gelu(inner).to(dtype)
        second = _add(middle, linear(active, wf, bf), masks.output if masks else None)
        result, mean2, scale2 = torch.native_layer_norm(second, size, g2, b2, eps)
        ctx.plan, ctx.masks = plan, masks
        ctx.bias_shape = None if position_bias is None else position_bias.shape
        ctx.save_for_backward(
            entered, query, key, value, attended, first, mean1, scale1, halfway, inner, active, second, mean2, scale2,
            wq, wk, wv, wo, g1, b1, wi, wf, g2, b2, *probabilities,
        )  # fmt: skip
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast("cpu", enabled=False):
            return _gradients(ctx, gradient)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of the arguments of a layer. gradient: that of its result, (T, H)."""
    entered, query, key, value, attended, first, mean1, scale1, halfway, inner, active, second, mean2, scale2, *rest = (
        ctx.saved_tensors
    )
    (wq, wk, wv, wo, g1, b1, wi, wf, g2, b2), probabilities = rest[:10], rest[10:]
    plan, masks, size, dtype = ctx.plan, ctx.masks, (entered.shape[1],), entered.dtype

    d_second, d_g2, d_b2 = _layer_norm_backward(gradient, second, size, mean2, scale2, g2, b2, [True] * 3)
    d_dense = d_second if masks is None else d_second * masks.output.factors()
    d_bf, d_dense = d_dense.sum(0), d_dense.to(dtype)
    d_wf = weight_gradient(d_dense, active)
    d_inner = torch.ops.aten.gelu_backward(input_gradient(d_dense, wf), inner)
    d_bi, d_inner = d_inner.sum(0), d_inner.to(dtype)
    d_wi = weight_gradient(d_inner, halfway)
    d_middle = input_gradient(d_inner, wi).add_(d_second)

    d_first, d_g1, d_b1 = _layer_norm_backward(d_middle, first, size, mean1, scale1, g1, b1, [True] * 3)
    d_dense = d_first if masks is None or masks.attended is None else d_first * masks.attended.factors()
    d_bo, d_dense = d_dense.sum(0), d_dense.to(dtype)
    d_wo = weight_gradient(d_dense, attended)
    d_attended = plan.gather(input_gradient(d_dense, wo)).index_fill_(0, plan.padding, 0)
    d_bias = None if ctx.bias_shape is None else query.new_zeros(ctx.bias_shape)
    d_gathered = _attend_backward(plan, query, key, value, probabilities, masks, d_attended, d_bias)
    d_states, d_projections = d_first, []
    for gathered, w in zip(d_gathered, (wq, wk, wv), strict=True):
        d_part = plan.scatter(gathered)
        d_b, d_part = d_part.sum(0), d_part.to(dtype)
        d_projections += [weight_gradient(d_part, entered), d_b]
        d_states = input_gradient(d_part, w).add_(d_states)
    own = (d_wo, d_bo, d_g1, d_b1, d_wi, d_bi, d_wf, d_bf, d_g2, d_b2)
    return d_states, None, None, None, None, d_bias, *d_projections, *own


def _add(states: Tensor, dense: Tensor, mask: Mask | None) -> Tensor:
    return states + dense if mask is None else torch.addcmul(states, dense, mask.factors())


def _attend(
    plan: AttentionPlan,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    masks: LayerMasks | None,
    position_bias: Tensor | None,
) -> tuple[Tensor, list[Tensor]]:
    """Scaled dot-product attention (Vaswani et al., 2017) of each group: the context (P · heads, d) and the probabilities."""
    context, probabilities = plan.new_rows(query), []
    for number, group in enumerate(plan.groups):
        q, k, v = (group.block(x) for x in (query, key, value))  # (count · heads, length, d)
        scores = torch.baddbmm(group.bias, q, k.transpose(1, 2), beta=1 if group.padded else 0, alpha=plan.scale)
        if position_bias is not None:
            group.by_head(scores).add_(position_bias[:, : group.length, : group.length])
        p = torch.softmax(scores, -1)
        probabilities.append(p)
        torch.bmm(p if masks is None else p * masks.attention[number].factors(), v, out=group.block(context))
    return context, probabilities


def _attend_only(
    plan: AttentionPlan, query: Tensor, key: Tensor, value: Tensor, position_bias: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """The same context by torch's own attention, which stores no probabilities and needs less memory for long sentences."""
    context = plan.new_rows(query)
    for group in plan.groups:
        q, k, v = (group.by_head(group.block(x)) for x in (query, key, value))  # (count, heads, length, d)
        bias = group.by_head(group.bias) if group.padded else None
        if position_bias is not None:
            own = position_bias[None, :, : group.length, : group.length]
            bias = own if bias is None else bias + own
        group.block(context).copy_(F.scaled_dot_product_attention(q, k, v, bias, scale=plan.scale).flatten(0, 1))
    return context, []


def _attend_backward(
    plan: AttentionPlan,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    probabilities: list[Tensor],
    masks: LayerMasks | None,
    gradient: Tensor,
    d_bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of query, key and value, (P · heads, d) each. gradient: that of the context, 0 for padding.

    d_bias: (heads, L, L), to which the gradient of the position bias is added, if there is one.
    """
    d_query, d_key, d_value = (plan.new_rows(query) for _ in range(3))
    for number, group in enumerate(plan.groups):
        q, k, v, g = (group.block(x) for x in (query, key, value, gradient))
        p, mask = probabilities[number], None if masks is None else masks.attention[number].factors()
        torch.bmm((p if mask is None else p * mask).transpose(1, 2), g, out=group.block(d_value))
        d_p = torch.bmm(g, v.transpose(1, 2))
        d_scores = torch.ops.aten._softmax_backward_data(d_p if mask is None else d_p.mul_(mask), p, -1, p.dtype)
        if d_bias is not None:
            d_bias[:, : group.length, : group.length] += group.by_head(d_scores).sum(0)
        d_scores.mul_(plan.scale)
        torch.bmm(d_scores, k, out=group.block(d_query))
        torch.bmm(d_scores.transpose(1, 2), q, out=group.block(d_key))
    return d_query, d_key, d_value
