"""vLLM 0.33.

Flags, endpoints and metrics: read in the 0.32.0 wheel and scraped from it running on CPU; tests/contract checks every
command line against the real parser. Several nodes: the ``mp`` executor, which needs no Ray; ranks above 0 run
``--headless``, which only ``vllm serve`` understands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from deepseek_operator.api.spec import EngineName
from deepseek_operator.engines.arguments import Flag, grouped, merge, optional
from deepseek_operator.engines.base import Metrics, Rank, ServeOptions, startup_seconds

__all__ = ["VLLM"]

_ALIASES = {
    "-tp": "--tensor-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-dp": "--data-parallel-size",
    "-ep": "--enable-expert-parallel",
    "-n": "--nnodes",
    "-r": "--node-rank",
    "-q": "--quantization",
}
_PORT = "endpoint.port"
_RESERVED = {
    "--model": "model.name or model.path",
    "--served-model-name": "model.servedNames",
    "--host": f"{_PORT}; the engine always listens on every address",
    "--port": _PORT,
    "--api-key": "endpoint.apiKeySecretRef",
    "--uds": _PORT,
    "--ssl-keyfile": _PORT,
    "--ssl-certfile": _PORT,
    "--ssl-cert-reqs": _PORT,
    "--root-path": _PORT,
    "--nnodes": "resources.nodes",
    "--node-rank": "resources.nodes",
    "--master-addr": "resources.nodes",
    "--master-port": "resources.nodes",
    "--headless": "resources.nodes",
    "--hf-token": "model.huggingFaceTokenSecretRef",
    "--config": "engine.args, flag by flag",
}
_FOREIGN = {
    "--tp-size": "--tensor-parallel-size",
    "--pp-size": "--pipeline-parallel-size",
    "--dp-size": "--data-parallel-size",
    "--ep-size": "--enable-expert-parallel",
    "--context-length": "--max-model-len",
    "--mem-fraction-static": "--gpu-memory-utilization",
    "--max-running-requests": "--max-num-seqs",
    "--chunked-prefill-size": "--max-num-batched-tokens",
    "--attn-dp-size": "--data-parallel-size",
}
_CHOICES = {
    "--dtype": ("auto", "half", "float16", "bfloat16", "float", "float32"),
    "--kv-cache-dtype": (
        *("auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_ds_mla", "nvfp4_ds_mla"),
        *("turboquant_k8v4", "turboquant_4bit_nc", "turboquant_k3v4_nc", "turboquant_3bit_nc"),
        *("octave_k3v4", "octave_k3v3", "octave_k3v3_compact", "ultraquant_4bit"),
        *("int4_per_token_head", "int8_per_token_head", "fp8_per_token_head", "nvfp4", "nvfp4_4over6"),
    ),
    "--load-format": (
        *("auto", "hf", "dummy", "fastsafetensors", "instanttensor", "ipc_cache", "mistral", "modelexpress", "npcache"),
        *("pt", "runai_streamer", "runai_streamer_sharded", "safetensors", "sharded_state", "tensorizer"),
    ),
    "--quantization": (
        *("awq", "auto_awq", "fp8", "fbgemm_fp8", "fp_quant", "modelopt", "modelopt_fp4", "modelopt_mxfp8"),
        *("modelopt_mixed", "auto_gptq", "gptq", "gptq_marlin", "awq_marlin", "humming", "compressed-tensors"),
        *("experts_int8", "quark", "moe_wna16", "torchao", "inc", "mxfp4", "gpt_oss_mxfp4", "deepseek_v4_fp8"),
        *("online", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "int8_per_channel_weight_only"),
        *("nvfp4_per_token", "mxfp8", "None"),
    ),
}
"""Read in the source of 0.33.0. Its parser takes any word but for ``--dtype``; the engine looks them up and ends."""

_METRICS = Metrics(
    running="vllm:num_requests_running",
    waiting="vllm:num_requests_waiting",
    kv_cache_usage="vllm:kv_cache_usage_perc",
    kv_cache="vllm:cache_config_info",
    kv_cache_labels=(("kv_cache_size_tokens",), ("num_gpu_blocks", "block_size")),
    prompt_tokens="vllm:prompt_tokens_total",
    generation_tokens="vllm:generation_tokens_total",
    time_to_first_token="vllm:time_to_first_token_seconds",
    inter_token_latency="vllm:inter_token_latency_seconds",
    request_latency="vllm:e2e_request_latency_seconds",
)


@dataclass(frozen=True)
class _Vllm:
    name: EngineName = EngineName.VLLM
    version: str = "0.33.0"
    image: str = "vllm/vllm-openai:v0.33.0"
    packages: tuple[str, ...] = ("vllm==0.33.0",)
    cpu_image: str | None = "vllm/vllm-openai-cpu:v0.33.0-x86_64"
    port: int = 8000
    health_path: str = "/health"
    graceful_stop_seconds: int = 60
    api_key_variable: str = "VLLM_API_KEY"
    foreign: Mapping[str, str] = field(default_factory=lambda: _FOREIGN)
    aliases: Mapping[str, str] = field(default_factory=lambda: _ALIASES)
    reserved: Mapping[str, str] = field(default_factory=lambda: _RESERVED)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _CHOICES)
    metrics: Metrics = _METRICS

    def startup_seconds(self, weights_gib: float | None, nodes: int) -> int:
        return startup_seconds(weights_gib, nodes)

    def environment(self, options: ServeOptions, startup_seconds: int) -> dict[str, str]:
        env = {
            # The front end gives the engine processes 600 s by default: too little for hundreds of GiB.
            "VLLM_ENGINE_READY_TIMEOUT_S": str(startup_seconds),
            "VLLM_NO_USAGE_STATS": "1",
        }
        if options.cpu:
            # Pods share cores: binding threads to the first ones would put every replica on the same cores.
            env["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        return env

    def command(self, options: ServeOptions, rank: Rank) -> tuple[str, ...]:
        flags, _ = merge(self._flags(options, rank), options.user)
        return ("vllm", "serve", options.model, *flags)

    def planned(self, options: ServeOptions) -> tuple[str, ...]:
        return merge(self._flags(options, Rank()), options.user)[1]

    def _flags(self, options: ServeOptions, rank: Rank) -> list[Flag]:
        flags: list[Flag] = [("--served-model-name", *options.served_names)]
        flags += [("--host", "0.0.0.0"), ("--port", str(options.port))]
        flags += _parallel(options)
        flags += optional("--max-model-len", options.max_model_len)
        flags += optional("--max-num-seqs", options.max_num_seqs)
        flags += optional("--max-num-batched-tokens", options.max_num_batched_tokens)
        if options.gpu_memory_utilization is not None:
            flags.append(("--gpu-memory-utilization", f"{options.gpu_memory_utilization:g}"))
        if options.cpu:
            flags.append(("--enforce-eager",))
        flags += _model(options)
        if options.nodes > 1:
            flags += [("--nnodes", str(options.nodes)), ("--node-rank", rank.node_rank), ("--master-addr", rank.head)]
            if not rank.is_head:
                flags.append(("--headless",))
        return flags


def _parallel(options: ServeOptions) -> list[Flag]:
    flags: list[Flag] = [("--tensor-parallel-size", str(options.tensor_parallel_size))]
    if options.pipeline_parallel_size > 1:
        flags.append(("--pipeline-parallel-size", str(options.pipeline_parallel_size)))
    if options.data_parallel_size > 1:
        flags.append(("--data-parallel-size", str(options.data_parallel_size)))
    if options.expert_parallel:
        flags.append(("--enable-expert-parallel",))
    return flags


def _model(options: ServeOptions) -> list[Flag]:
    flags: list[Flag] = []
    flags += optional("--dtype", options.dtype)
    flags += optional("--reasoning-parser", options.reasoning_parser)
    # A tokenizer without the parser's tokens keeps vLLM from starting: --no-enable-auto-tool-choice leaves both out.
    if options.tool_parser is not None and options.user.get("--enable-auto-tool-choice") != "no":
        flags += [("--enable-auto-tool-choice",), ("--tool-call-parser", options.tool_parser)]
    flags += optional("--tokenizer-mode", options.tokenizer_mode)
    if options.trust_remote_code:
        flags.append(("--trust-remote-code",))
    return flags + grouped(options.model_args)


VLLM = _Vllm()
