"""What the planner and the reconciler need to know of a serving engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from deepseek_operator.api.spec import EngineName
from deepseek_operator.engines.arguments import Arguments

__all__ = ["Engine", "Metrics", "Rank", "ServeOptions", "Shell", "startup_seconds"]


class Shell(str):
    """A word of a command line that bash must expand, such as ``"$SKYPILOT_NODE_RANK"``; everything else is quoted."""

    __slots__ = ()


@dataclass(frozen=True)
class Rank:
    """Which node of a replica a command line is for.

    The defaults are those of a single node. In a task the values are :class:`Shell` words that bash fills in on each
    node; a test passes plain ones.
    """

    node_rank: str = "0"
    head: str = "127.0.0.1"
    is_head: bool = True


@dataclass(frozen=True)
class ServeOptions:
    """What an engine is asked to do, in the words of the planner.

    ``None`` leaves a setting to the engine. Sizes are in GPUs and nodes, lengths in tokens.
    """

    model: str
    """Hugging Face id, or directory with the weights."""
    served_names: tuple[str, ...]
    port: int
    nodes: int = 1
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    expert_parallel: bool = False
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    gpu_memory_utilization: float | None = None
    """Share of a GPU's memory that vLLM may use; SGLang has a rule of its own."""
    dtype: str | None = None
    reasoning_parser: str | None = None
    tool_parser: str | None = None
    tokenizer_mode: str | None = None
    trust_remote_code: bool = False
    api_key: bool = False
    cpu: bool = False
    model_args: tuple[str, ...] = ()
    """Flags of the catalog's row."""
    user: Arguments = field(default_factory=Arguments)
    """``spec.engine.args``: each flag wins over the planned one."""


@dataclass(frozen=True)
class Metrics:
    """Prometheus series of an engine."""

    running: str
    """Requests being worked on."""
    waiting: str
    """Requests in the queue."""
    kv_cache_usage: str
    """Share of the KV cache in use, 0 to 1."""
    kv_cache: str
    """How many tokens the KV cache holds: its value, or the product of some of its labels."""
    kv_cache_labels: tuple[tuple[str, ...], ...]
    """Groups of labels whose product is that number; the first group counts that is there. Empty: the value does."""
    prompt_tokens: str
    generation_tokens: str
    time_to_first_token: str
    """Histogram, seconds."""
    inter_token_latency: str
    """Histogram, seconds."""
    request_latency: str
    """Histogram, seconds."""


class Engine(Protocol):
    """One serving engine at one pinned release. Pure: builds command lines, runs nothing."""

    @property
    def name(self) -> EngineName:
        """Name in the API."""

    @property
    def version(self) -> str:
        """Release that command lines are made for, such as ``0.33.0``."""

    @property
    def image(self) -> str:
        """Default container image for NVIDIA GPUs, pinned."""

    @property
    def packages(self) -> tuple[str, ...]:
        """Python packages for NVIDIA GPUs that hold the same release, pinned; what they need comes with them."""

    @property
    def cpu_image(self) -> str | None:
        """Default container image without GPUs; None where the engine needs one."""

    @property
    def port(self) -> int:
        """Default port."""

    @property
    def health_path(self) -> str:
        """HTTP path that answers 200 only when the engine can serve."""

    @property
    def metrics(self) -> Metrics:
        """Names of its Prometheus series, served at ``/metrics``."""

    @property
    def graceful_stop_seconds(self) -> int:
        """Time that running requests get after SIGTERM before SIGKILL."""

    @property
    def api_key_variable(self) -> str:
        """Environment variable of a replica that holds the key which requests must bring."""

    @property
    def foreign(self) -> Mapping[str, str]:
        """Flags of other engines that this one does not know, each with this one's spelling."""

    @property
    def aliases(self) -> Mapping[str, str]:
        """Other spellings of flags, each with the one that the planner uses."""

    @property
    def reserved(self) -> Mapping[str, str]:
        """Flags that a user must not pass in ``engine.args``, each with what to set instead."""

    @property
    def choices(self) -> Mapping[str, tuple[str, ...]]:
        """Every value that the pinned release takes for a flag, of flags that planning or loading depends on."""

    def startup_seconds(self, weights_gib: float | None, nodes: int) -> int:
        """Return how long a start may take, from a fresh node to the first answer, the image being there."""

    def environment(self, options: ServeOptions, startup_seconds: int) -> dict[str, str]:
        """Return the variables that the engine needs, none of them secret."""

    def command(self, options: ServeOptions, rank: Rank) -> tuple[str, ...]:
        """Return the command line for one node, word by word, not yet quoted."""

    def planned(self, options: ServeOptions) -> tuple[str, ...]:
        """Return the planned flags that the user's arguments replace, as ``--flag value``."""


def startup_seconds(weights_gib: float | None, nodes: int) -> int:
    """Return how long either engine may take to start.

    40 to 150 s to compile were measured on an H200; SGLang's own figure for R1 on two nodes is 20 to 40 minutes. The
    rest is the download, at 200 MiB/s per replica, and loading.
    """
    return 600 + round(5 * (weights_gib or 16)) + (300 if nodes > 1 else 0)
