"""Write tiny DeepSeek-V3 and Qwen2 models with random weights, shaped so that vLLM takes them.

Usage: make_tiny_models.py FOLDER, which gets tiny-deepseek-v3 and tiny-qwen2. Nothing is downloaded: the tokenizer is
trained here on a few sentences, the weights come from a fixed seed.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

SENTENCES = ["hello world", "deepseek operator", "the quick brown fox jumps over the lazy dog"]
TOOL_TOKENS = [f"<｜tool▁{word}｜>" for word in ("calls▁begin", "calls▁end", "call▁begin", "call▁end", "sep")]
"""As in DeepSeek's tokenizers: the engines' tool parsers do not start without them."""
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}<|User|>{% elif m['role'] == 'assistant' %}<|Assistant|>{% endif %}{{ m['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<|Assistant|>{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Train a byte-level BPE: it can encode and decode any text, so random tokens become visible characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|begin|>", "<|end|>", "<|User|>", "<|Assistant|>", "<think>", "</think>", *TOOL_TOKENS]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(SENTENCES * 10, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|begin|>", eos_token="<|end|>", model_max_length=4096
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def deepseek_v3(vocabulary: int, **tokens: Any) -> PretrainedConfig:
    """Multi-head latent attention with vLLM's only latent shape (512 + 64), one dense layer, two of experts."""
    return DeepseekV3Config(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=512,
        moe_intermediate_size=128,
        num_hidden_layers=3,
        first_k_dense_replace=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        n_routed_experts=8,
        num_experts_per_tok=2,
        n_shared_experts=1,
        n_group=2,
        topk_group=1,
        q_lora_rank=64,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        max_position_embeddings=4096,
        # As the published configurations have them; vLLM reads these two, transformers does not.
        topk_method="noaux_tc",
        scoring_func="sigmoid",
        num_nextn_predict_layers=0,
        **tokens,
    )


def qwen2(vocabulary: int, **tokens: Any) -> PretrainedConfig:
    """Plain attention with heads of 64: vLLM's CPU kernels know 32, 64, 80, 96, 112, 128 and no smaller ones."""
    return Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        **tokens,
    )


def main(folder: Path) -> None:
    """Write both models, tokenizer and all."""
    tokenizer = make_tokenizer()
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    for name, shape in (("tiny-deepseek-v3", deepseek_v3), ("tiny-qwen2", qwen2)):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(shape(len(tokenizer), **tokens), dtype=torch.bfloat16)
        target = folder / name
        model.save_pretrained(target, safe_serialization=True)
        tokenizer.save_pretrained(target)
        print(f"{target}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
