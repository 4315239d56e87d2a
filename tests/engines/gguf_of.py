"""Write a checkpoint of the Qwen3 architecture as a GGUF file, for llama.cpp.

    python tests/engines/gguf_of.py FOLDER FILE.gguf [F32 | F16 | Q8_0 | Q4_0]

Run it in the environment of llama.cpp's package (tests/engines/install.py llamacpp), which has
`gguf`; nothing of collab is there. The tokenizer must be a byte-level BPE. llama.cpp knows no
expression like that of the shipped reasoners, so it cuts texts as it does for Qwen: prompts of
token ids are not touched by that.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np

PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
NORMAL, CONTROL, USER_DEFINED = 1, 3, 4


def main(folder: Path, file: Path, precision: str = "F32") -> None:
    writer = gguf.GGUFWriter(file, "qwen3")
    config = json.loads((folder / "config.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    _shape(writer, config, precision)
    _tokenizer(writer, folder, config, settings)
    for name, values in tensors(folder / "model.safetensors"):
        _tensor(writer, named(name), values, precision)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _shape(writer: Any, config: dict[str, Any], precision: str) -> None:
    writer.add_name("pocket")
    writer.add_file_type(getattr(gguf.LlamaFileType, f"MOSTLY_{precision}", 0))
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def _tokenizer(writer: Any, folder: Path, config: dict[str, Any], settings: dict[str, Any]) -> None:
    whole = json.loads((folder / "tokenizer.json").read_text())
    added = {one["id"]: one for one in whole["added_tokens"]}
    tokens = {index: token for token, index in whole["model"]["vocab"].items()}
    tokens |= {index: one["content"] for index, one in added.items()}
    kinds = {i: CONTROL if one["special"] else USER_DEFINED for i, one in added.items()}
    count = config["vocab_size"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([tokens[index] for index in range(count)])
    writer.add_token_types([kinds.get(index, NORMAL) for index in range(count)])
    writer.add_token_merges([" ".join(pair) for pair in whole["model"]["merges"]])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(settings["chat_template"])


def named(name: str) -> str:
    """Return llama.cpp's name of a tensor."""
    plain = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
    }
    if name in plain:
        return plain[name]
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{PARTS[part]}.weight"


def tensors(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tensors of a safetensors file in single precision."""
    data = file.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    body = memoryview(data)[8 + size :]
    for name, about in json.loads(data[8 : 8 + size]).items():
        if name == "__metadata__":
            continue
        first, last = about["data_offsets"]
        yield name, _single(body[first:last], about["dtype"]).reshape(about["shape"])


def _single(data: memoryview, kind: str) -> np.ndarray:
    if kind == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(data, {"F32": np.float32, "F16": np.float16}[kind]).astype(np.float32)


def _tensor(writer: Any, name: str, values: np.ndarray, precision: str) -> None:
    """Write a tensor; vectors stay in single precision, as in all such files."""
    kind = gguf.GGMLQuantizationType.F32
    if values.ndim > 1:
        kind = gguf.GGMLQuantizationType[precision]
    writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
