// safetensors, the one tensor file format: eight bytes with the length of a JSON header, the
// header (name -> dtype, shape, place), the numbers. Files written here carry a CRC-32 of every
// tensor in the header's metadata, where other readers pass over it.
#pragma once

#include <cstddef>
#include <iosfwd>
#include <map>
#include <string>
#include <vector>

#include "store/files.h"

namespace peri {

struct TensorInfo {
    std::string name, dtype;  // "F64", "F32", "BF16", ...
    std::vector<size_t> shape;
    size_t begin = 0, end = 0;  // bytes, from the end of the header

    size_t bytes() const { return end - begin; }
};

using Metadata = std::map<std::string, std::string>;

class SafetensorsWriter {
  public:
    // The tensors in the order in which they will be written; their places are worked out here.
    SafetensorsWriter(const std::string& path, std::vector<TensorInfo> tensors, Metadata metadata);

    void write(const void* data);  // the next tensor, whole
    void close();                  // after the last one; waits for the disk

  private:
    std::string header() const;

    std::vector<TensorInfo> tensors_;
    Metadata metadata_;
    size_t next_ = 0;
    DurableFile file_;
};

class SafetensorsFile {
  public:
    // Reads and checks the header. Throws UserError naming the path and what is wrong: a file too
    // short or too long for what the header says, a header that is not JSON, tensors that overlap
    // or leave holes, unknown dtypes, shapes that do not fit their bytes, a name that comes twice.
    explicit SafetensorsFile(const std::string& path);

    const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in file order
    size_t header_bytes() const { return data_; }
    const Metadata& metadata() const { return metadata_; }  // without checksums
    const TensorInfo* find(const std::string& name) const;  // null: not there
    bool has_checksums() const;                             // of every tensor

    // Both throw UserError where the bytes are not those of the checksum; check keeps none of them.
    void read(const TensorInfo& tensor, void* to) const;
    void check(const TensorInfo& tensor) const;

  private:
    std::ifstream open_at(const TensorInfo& tensor) const;
    void compare(const TensorInfo& tensor, unsigned long crc) const;

    std::string path_;
    size_t data_ = 0;  // where the numbers begin in the file
    std::vector<TensorInfo> tensors_;
    Metadata metadata_;
    std::map<std::string, std::string> checksums_;
};

// Bytes of one number; 0: an unknown dtype.
size_t dtype_bytes(const std::string& dtype);

}  // namespace peri
