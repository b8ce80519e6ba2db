// SHA-256 (FIPS 180-4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "mc/export.h"

namespace mc {

class MC_API Sha256 {
 public:
  Sha256();
  void update(std::span<const std::byte> data);
  // 64 hexadecimal digits; the object must not be used afterwards.
  std::string hex();

 private:
  void block(const uint8_t* p);
  uint32_t state_[8];
  uint64_t bytes_ = 0;
  uint8_t rest_[64];
};

MC_API std::string sha256_hex(std::span<const std::byte> data);

}  // namespace mc
