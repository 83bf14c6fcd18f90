#include "jobs/hf_tokenizer.h"

#include "json.h"

namespace peri {

using Json = nlohmann::ordered_json;

namespace {

const char* const end_of_text_name = "<|endoftext|>";

std::string utf8(int character) {
    if (character < 0x80) return {static_cast<char>(character)};
    return {static_cast<char>(0xc0 | character >> 6), static_cast<char>(0x80 | (character & 0x3f))};
}

// GPT-2's way of writing bytes as printable characters, which byte-level tokenizers share: those of
// Latin-1 that show stand for themselves, the others for characters from 256 up, in order.
Json byte_vocabulary() {
    Json vocabulary = Json::object();
    int others = 0;
    for (int byte = 0; byte < 256; byte++) {
        const bool shows =
            (byte > ' ' && byte < 127) || (byte > 160 && byte != 173);  // 173: a soft hyphen
        const std::string character = utf8(shows ? byte : 256 + others++);
        vocabulary[byte == 0 ? end_of_text_name : character] = byte;
    }
    return vocabulary;
}

}  // namespace

TextFiles hf_byte_tokenizer(int seq) {
    const Json byte_level = {{"type", "ByteLevel"},
                             {"add_prefix_space", false},
                             {"trim_offsets", true},
                             {"use_regex", false}};
    const Json end_of_text = {
        {"id", 0},         {"content", end_of_text_name}, {"single_word", false}, {"lstrip", false},
        {"rstrip", false}, {"normalized", false},         {"special", true}};
    Json tokenizer;
    tokenizer["version"] = "1.0";
    tokenizer["truncation"] = tokenizer["padding"] = nullptr;
    tokenizer["added_tokens"] = Json::array({end_of_text});
    tokenizer["normalizer"] = nullptr;
    tokenizer["pre_tokenizer"] = byte_level;
    tokenizer["post_processor"] = nullptr;
    tokenizer["decoder"] = byte_level;
    // a byte 0 in a text has no character of its own in the vocabulary: it is unknown, so 0
    tokenizer["model"] = {{"type", "BPE"},
                          {"dropout", nullptr},
                          {"unk_token", end_of_text_name},
                          {"continuing_subword_prefix", nullptr},
                          {"end_of_word_suffix", nullptr},
                          {"fuse_unk", false},
                          {"byte_fallback", false},
                          {"vocab", byte_vocabulary()},
                          {"merges", Json::array()}};
    const Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                         {"bos_token", end_of_text_name},
                         {"eos_token", end_of_text_name},
                         {"pad_token", end_of_text_name},
                         {"clean_up_tokenization_spaces", false},
                         {"model_max_length", seq}};
    return {{"tokenizer.json", tokenizer.dump(2) + "\n"},
            {"tokenizer_config.json", config.dump(2) + "\n"}};
}

}  // namespace peri
