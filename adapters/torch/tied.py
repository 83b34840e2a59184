"""An embedding, two linear layers and a head that shares the embedding's Parameter, as PyTorch's models tie it."""

from __future__ import annotations

from torch import Tensor, nn

from touchstone.adapters.tied import roles

ROLES = roles()


class TiedModel(nn.Module):
    def __init__(self, num_embeddings: int, dims: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_embeddings, dims)
        self.proj, self.proj_out = nn.Linear(dims, dims), nn.Linear(dims, dims)
        self.head = nn.Linear(dims, num_embeddings, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.head(self.proj_out(self.proj(self.embed(ids))))
        return logits


class Stack(nn.Sequential):
    def __init__(self, count: int, dims: int) -> None:
        super().__init__(*(nn.Linear(dims, dims, bias=False) for _ in range(count)))
