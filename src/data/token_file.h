// A file as tokens: of text the bytes, of an llm.c shard what it holds. Files are read where a batch
// needs them, so a corpus may be larger than memory. Every error is a UserError that names the flag,
// the file, what is wrong with it and the remedy.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace peri {

// Whether a file of this name is a token shard.
bool has_shard_name(const std::string& path);

// What a message begins with: the flag and the file.
std::string at_file(const std::string& flag, const std::string& path);

// A file's bytes. It stays open, so one that is deleted or replaced is read on as it was; one that is
// cut short is noticed when a batch needs what is gone.
class DataFile {
  public:
    DataFile(const std::string& flag, const std::string& path);
    DataFile(DataFile&& other) noexcept;
    DataFile& operator=(DataFile&&) = delete;
    ~DataFile();

    const std::string& where() const { return where_; }  // what a message about it begins with
    int64_t size() const { return size_; }               // when it was opened

    void read(int64_t offset, void* to, size_t bytes) const;
    [[noreturn]] void changed(const std::string& how) const;

  private:
    std::string where_;
    int file_;
    int64_t size_ = 0;
};

// Tokens of 1, 2 or 4 bytes.
class TokenFile {
  public:
    TokenFile(const std::string& flag, const std::string& path);

    const std::string& where() const { return file_.where(); }
    bool is_shard() const { return width_ > 1; }
    int64_t count() const { return count_; }
    int64_t largest() const { return largest_; }  // no token is above it

    // Tokens first .. first + out.size() - 1.
    void read(int64_t first, std::span<int> out) const;

  private:
    template <class Token>
    std::vector<Token> read_tokens(int64_t first, size_t n) const;
    int64_t find_largest() const;
    void read_header();

    DataFile file_;
    int64_t begin_ = 0;  // of the tokens, in bytes
    int64_t count_;      // of tokens
    int width_ = 1;      // bytes a token
    int64_t largest_ = 255;
};

}  // namespace peri
