// Working memory of the products: grown on demand, kept by its thread.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc::numpy::quant {

class Scratch {
 public:
  // At least `bytes`, aligned to 64; the contents are lost when it grows.
  void* get(int64_t bytes) {
    if (bytes > size_) {
      const auto rounded = static_cast<size_t>((bytes + 4095) / 4096 * 4096);
      data_.reset();
      size_ = 0;
      data_.reset(std::aligned_alloc(64, rounded));
      if (!data_)
        throw Error(ErrorCode::OutOfMemory, cat("no memory for ", bytes, " bytes of working space"),
                    "quantized matmul");
      size_ = static_cast<int64_t>(rounded);
    }
    return data_.get();
  }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::unique_ptr<void, Free> data_;
  int64_t size_ = 0;
};

}  // namespace mc::numpy::quant
