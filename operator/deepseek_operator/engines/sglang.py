"""SGLang 0.5.23.

Flags and endpoints: read in the wheel; tests/contract checks every command line against the real parser. Tensor
parallelism may span nodes here, as in SGLang's own recipes for DeepSeek. Removed or deprecated flags that older guides
still show (``--enable-dp-attention``, ``--enable-deepep-moe``) are never used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek_operator.api.spec import EngineName
from deepseek_operator.engines.arguments import Flag, grouped, merge, optional
from deepseek_operator.engines.base import Metrics, Rank, ServeOptions, Shell, startup_seconds

__all__ = ["SGLANG"]

_DIST_PORT = 5000
_ALIASES = {
    "--tp": "--tp-size",
    "--tensor-parallel-size": "--tp-size",
    "--pp": "--pp-size",
    "--pipeline-parallel-size": "--pp-size",
    "--dp": "--dp-size",
    "--data-parallel-size": "--dp-size",
    "--ep": "--ep-size",
    "--expert-parallel-size": "--ep-size",
    "--nccl-init-addr": "--dist-init-addr",
    "--model": "--model-path",
}
_PORT = "endpoint.port"
_RESERVED = {
    "--model-path": "model.name or model.path",
    "--served-model-name": "model.servedNames",
    "--host": f"{_PORT}; the engine always listens on every address",
    "--port": _PORT,
    "--api-key": "endpoint.apiKeySecretRef",
    "--ssl-keyfile": _PORT,
    "--ssl-certfile": _PORT,
    "--ssl-keyfile-password": _PORT,
    "--nnodes": "resources.nodes",
    "--node-rank": "resources.nodes",
    "--dist-init-addr": "resources.nodes",
    "--config": "engine.args, flag by flag",
    "--enable-dp-attention": "--attn-dp-size N, which replaces it",
    "--enable-ep-moe": "--ep-size N, which replaces it",
    "--enable-deepep-moe": "--moe-a2a-backend deepep, which replaces it",
    "--cuda-graph-max-bs": "--cuda-graph-max-bs-decode, which replaces it",
}
_FOREIGN = {
    "--max-model-len": "--context-length",
    "--gpu-memory-utilization": "--mem-fraction-static",
    "--max-num-seqs": "--max-running-requests",
    "--max-num-batched-tokens": "--chunked-prefill-size",
    "--enable-expert-parallel": "--ep-size",
    "--enforce-eager": "--cuda-graph-backend-decode disabled",
    "--kv-cache-memory-bytes": "--max-total-tokens",
    "--load-in-8bit": "--quantization",
}
_CHOICES = {
    "--dtype": ("auto", "half", "float16", "bfloat16", "float", "float32"),
    "--kv-cache-dtype": ("auto", "fp8_e5m2", "fp8_e4m3", "mxfp8", "bf16", "bfloat16", "nvfp4", "fp4_mx_block16"),
    "--load-format": (
        *("auto", "pt", "safetensors", "instanttensor", "npcache", "dummy", "sharded_state", "presharded", "gguf"),
        *("expert_pack", "bitsandbytes", "mistral", "layered", "flash_rl", "remote", "remote_instance"),
        *("fastsafetensors", "private", "runai_streamer"),
    ),
    "--quantization": (
        *("awq", "fp8", "mxfp8", "gptq", "gptq_marlin", "awq_marlin", "bitsandbytes", "gguf", "modelopt"),
        *("modelopt_fp8", "modelopt_fp4", "nvfp4_online", "modelopt_mixed", "petit_nvfp4", "w8a8_int8", "w8a8_fp8"),
        *("moe_wna16", "w4afp8", "mxfp4", "auto-round", "auto-round-int8", "compressed-tensors", "modelslim"),
        *("mxfp_w4a8", "quark", "quark_int4fp8_moe", "quark_mxfp4", "mlx_q4", "mlx_q8", "unquant", "humming"),
    ),
}

_METRICS = Metrics(
    running="sglang:num_running_reqs",
    waiting="sglang:num_queue_reqs",
    kv_cache_usage="sglang:token_usage",
    kv_cache="sglang:max_total_num_tokens",
    kv_cache_labels=(),
    prompt_tokens="sglang:prompt_tokens_total",
    generation_tokens="sglang:generation_tokens_total",
    time_to_first_token="sglang:time_to_first_token_seconds",
    inter_token_latency="sglang:inter_token_latency_seconds",
    request_latency="sglang:e2e_request_latency_seconds",
)


@dataclass(frozen=True)
class _SGLang:
    name: EngineName = EngineName.SGLANG
    version: str = "0.5.23"
    image: str = "lmsysorg/sglang:v0.5.23"
    packages: tuple[str, ...] = ("sglang==0.5.23",)
    cpu_image: str | None = None
    port: int = 30000
    health_path: str = "/health"
    # Followers ignore SIGTERM until the head is gone, so this is the head's time.
    graceful_stop_seconds: int = 60
    # The engine reads a key from its command line only; the shell puts the variable there.
    api_key_variable: str = "SGLANG_API_KEY"
    foreign: Mapping[str, str] = field(default_factory=lambda: _FOREIGN)
    aliases: Mapping[str, str] = field(default_factory=lambda: _ALIASES)
    reserved: Mapping[str, str] = field(default_factory=lambda: _RESERVED)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _CHOICES)
    metrics: Metrics = _METRICS

    def startup_seconds(self, weights_gib: float | None, nodes: int) -> int:
        return startup_seconds(weights_gib, nodes)

    def environment(self, options: ServeOptions, startup_seconds: int) -> dict[str, str]:
        return {}

    def command(self, options: ServeOptions, rank: Rank) -> tuple[str, ...]:
        flags, _ = merge(self._flags(options, rank), options.user)
        return ("python3", "-m", "sglang.launch_server", *flags)

    def planned(self, options: ServeOptions) -> tuple[str, ...]:
        return merge(self._flags(options, Rank()), options.user)[1]

    def _flags(self, options: ServeOptions, rank: Rank) -> list[Flag]:
        # One name only; SGLang answers requests under any.
        flags: list[Flag] = [
            ("--model-path", options.model),
            ("--served-model-name", options.served_names[0]),
            ("--host", "0.0.0.0"),
            ("--port", str(options.port)),
            ("--enable-metrics",),
            *_parallel(options),
        ]
        flags += optional("--context-length", options.max_model_len)
        flags += optional("--max-running-requests", options.max_num_seqs)
        flags += optional("--chunked-prefill-size", options.max_num_batched_tokens)
        flags += _model(options)
        if options.api_key:
            # In one word: a key may begin with "-", and would be taken for a flag after a space.
            flags.append((Shell(f'--api-key="${self.api_key_variable}"'),))
        if options.nodes > 1:
            address = f"{rank.head}:{_DIST_PORT}"
            flags += [
                ("--nnodes", str(options.nodes)),
                ("--node-rank", rank.node_rank),
                ("--dist-init-addr", Shell(address) if isinstance(rank.head, Shell) else address),
            ]
        return flags


def _parallel(options: ServeOptions) -> list[Flag]:
    flags: list[Flag] = [("--tp-size", str(options.tensor_parallel_size))]
    if options.pipeline_parallel_size > 1:
        flags.append(("--pp-size", str(options.pipeline_parallel_size)))
    if options.data_parallel_size > 1:
        flags.append(("--dp-size", str(options.data_parallel_size)))
    if options.expert_parallel:
        flags.append(("--ep-size", str(options.tensor_parallel_size)))
    return flags


def _model(options: ServeOptions) -> list[Flag]:
    flags: list[Flag] = []
    flags += optional("--dtype", options.dtype)
    flags += optional("--reasoning-parser", options.reasoning_parser)
    flags += optional("--tool-call-parser", options.tool_parser)
    flags += optional("--tokenizer-mode", options.tokenizer_mode)
    if options.trust_remote_code:
        flags.append(("--trust-remote-code",))
    return flags + grouped(options.model_args)


SGLANG = _SGLang()
