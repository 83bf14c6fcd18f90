#!/usr/bin/env python3
"""Adds a tiktoken encoding's tokenizer to a directory that ./train --export-hf has written.

    pip install tiktoken transformers
    python3 data/hf/tokenizer.py DIR [--encoding cl100k_base]

The library's own converter numbers special tokens one after the other behind the ordinary ones;
cl100k_base's have gaps between them, so they are given their numbers here. It is then compared with
tiktoken.
"""
import argparse
import json
from pathlib import Path

import tiktoken
from tokenizers import Tokenizer
from transformers.convert_slow_tokenizer import TikTokenConverter

SAMPLES = [
    "Peri-LN: y = x + Norm(Module(Norm(x))), 2025.",
    "  leading, double  and trailing blanks \n\n\tindented\r\n",
    "Größe, 大きさ, размер, حجم, 크기, 🙂 it's 123456789 o'clock",
]


def converted(encoding):
    """The encoding as a fast tokenizer, special tokens under their own numbers."""
    converter = TikTokenConverter(pattern=encoding._pat_str)
    converter.load_tiktoken_bpe = lambda _: encoding._mergeable_ranks  # without a file of them
    tokenizer = json.loads(converter.converted().to_str())
    specials = sorted(encoding._special_tokens.items(), key=lambda item: item[1])
    tokenizer["model"]["vocab"].update(specials)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    tokenizer["added_tokens"] = [
        {"id": number, "content": text, **flags, "special": True} for text, number in specials
    ]
    return Tokenizer.from_str(json.dumps(tokenizer))


def check(tokenizer, encoding):
    for text in SAMPLES + list(encoding._special_tokens):
        expected = encoding.encode(text, allowed_special="all")
        if tokenizer.encode(text).ids != expected or tokenizer.decode(expected, False) != text:
            raise SystemExit(f"{text!r} is not tokenized as tiktoken does: nothing written")


def write(encoding, directory):
    tokenizer = converted(encoding)
    check(tokenizer, encoding)
    tokenizer.save(str(directory / "tokenizer.json"))
    model = json.loads((directory / "config.json").read_text())
    end = encoding.decode([encoding.eot_token])
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end,
        "eos_token": end,
        "pad_token": end,
        "clean_up_tokenization_spaces": False,
        "model_max_length": model["max_position_embeddings"],
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("directory", type=Path)
    parser.add_argument("--encoding", default="cl100k_base")
    given = parser.parse_args()
    write(tiktoken.get_encoding(given.encoding), given.directory)
    print(f"{given.directory}: tokenizer.json, tokenizer_config.json of {given.encoding}")


if __name__ == "__main__":
    main()
