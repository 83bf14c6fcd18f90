// The tokenizer of bytes as Hugging Face's libraries read it.
#pragma once

#include "store/checkpoint.h"

namespace peri {

// tokenizer.json and tokenizer_config.json: byte b is token b, and 0, which no text holds, is
// <|endoftext|>. seq: the longest text that the model takes.
TextFiles hf_byte_tokenizer(int seq);

}  // namespace peri
