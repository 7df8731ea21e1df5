"""How a replica is spread over its GPUs, and how much it works on in one step."""

from dataclasses import dataclass

__all__ = ["Batch", "Layout"]


@dataclass(frozen=True)
class Layout:
    """How a replica is spread over its GPUs."""

    nodes: int
    gpus_per_node: int
    tensor_parallel_size: int
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    expert_parallel: bool = False

    @property
    def parallel(self) -> bool:
        """Whether a rank has others to talk to."""
        return self.tensor_parallel_size * self.pipeline_parallel_size > 1 or self.shares_experts

    @property
    def spans_nodes(self) -> bool:
        """Whether the GPUs that share a layer are in several machines."""
        return self.tensor_parallel_size > self.gpus_per_node

    @property
    def shares_experts(self) -> bool:
        """Whether copies of the attention layers share one set of experts."""
        return self.expert_parallel and self.data_parallel_size > 1


@dataclass(frozen=True)
class Batch:
    """Limits of one step: requests, and tokens of all of them."""

    max_num_seqs: int
    max_num_batched_tokens: int
