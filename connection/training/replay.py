"""Steps on a CUDA card as CUDA graphs: a card takes one command for a step instead of several hundred.

Launching the kernels of a step costs the processor several times what computing them costs the card (benchmarks/README.md).
A graph has fixed shapes, so batches are filled up to few of them (`ConnectionDataset.fillers_for`), and each is recorded
when it first occurs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from connection.encoder.device import is_out_of_memory

if TYPE_CHECKING:
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import PackedPairs

    Compute = Callable[[PackedPairs], Tensor]

MOST_GRAPHS = 64  # batches of further shapes are computed without a graph


def replayed(function: Compute, trained: Mapping[str, Tensor], encoder: ConnectionBert) -> Compute:
    """The function, by CUDA graphs where the encoder allows it: on a card, with layers composed of torch's operations.

    trained: the weights in which the function leaves gradients, by name.
    """
    if encoder.device.type != "cuda" or not encoder.is_composed:
        return function
    return Replayed(function, trained.values(), encoder.device)


class Replayed:
    """A function of a batch that leaves gradients in weights and returns a tensor, as CUDA graphs.

    The function must depend on the tensors of the batch only; it may draw random numbers on the card. Results are those of
    the function itself, with the same random numbers. If it cannot be recorded, it is called, and one line says so.
    """

    def __init__(self, function: Compute, weights: Iterable[Tensor], device: torch.device):
        self.function, self.device = function, device
        self.weights = [weight for weight in weights if weight.requires_grad]
        # Graphs share the memory for what they compute, and write their gradients here.
        self.gradients = [torch.zeros_like(weight) for weight in self.weights]
        self.pool = torch.cuda.graph_pool_handle()
        self.graphs: dict[tuple[object, ...], tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor, list[bool]]] = {}
        self.works = True

    def __call__(self, batch: PackedPairs) -> Tensor:
        if batch.shape not in self.graphs and self.works and len(self.graphs) < MOST_GRAPHS:
            self._record(batch)
        if batch.shape not in self.graphs:
            return self.function(batch)
        graph, inputs, result, has_gradient = self.graphs[batch.shape]
        torch._foreach_copy_(inputs, _tensors(batch))
        graph.replay()
        for weight, gradient, given in zip(self.weights, self.gradients, has_gradient, strict=True):
            weight.grad = gradient if given else None
        return result

    def _record(self, batch: PackedPairs) -> None:
        state = torch.cuda.get_rng_state(self.device)
        inputs: list[Tensor] = []

        def own(tensor: Tensor) -> Tensor:
            inputs.append(tensor.clone())
            return inputs[-1]

        fixed = batch.map(own)
        try:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            # Libraries prepare themselves at the first call, which a graph cannot record.
            with torch.cuda.stream(side), _no_wait():
                self.function(fixed)
            torch.cuda.current_stream().wait_stream(side)
            self._forget()
            graph = torch.cuda.CUDAGraph()
            # Another thread prepares the next batch meanwhile.
            with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
                result = self.function(fixed)
                given = [weight.grad is not None for weight in self.weights]
                kept = [gradient for gradient, there in zip(self.gradients, given, strict=True) if there]
                torch._foreach_copy_(kept, [weight.grad for weight in self.weights if weight.grad is not None])
            self.graphs[batch.shape] = graph, inputs, result, given
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            self.works = False
            generator = torch.cuda.default_generators[self.device.index]  # a recording that failed has left it unusable
            generator.graphsafe_set_state(torch.Generator(self.device).graphsafe_get_state())
            print(f"Steps are computed without CUDA graphs, which is slower: {str(error).splitlines()[0]}")
        finally:
            self._forget()
            torch.cuda.set_rng_state(state, self.device)

    def _forget(self) -> None:
        for weight in self.weights:
            weight.grad = None


@contextlib.contextmanager
def _no_wait() -> Iterator[None]:
    """Within a `with` block, an operation for which the processor waits for the card raises RuntimeError."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _tensors(batch: PackedPairs) -> list[Tensor]:
    """The tensors that `batch.map` replaces, in its order."""
    tensors: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    batch.map(note)
    return tensors
