// Any bytes as a safetensors file: every tensor read.
#include "fuzz.h"
#include "mc/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mc;
  volatile size_t seen = 0;
  fuzz::refuses({ErrorCode::BadFormat, ErrorCode::Truncated}, [&] {
    const auto file = SafetensorsFile::from_memory({reinterpret_cast<const std::byte*>(data), size}, "fuzz");
    for (const SafetensorsTensor& t : file->tensors()) {
      if (file->find(t.name) != &t) std::abort();
      if (!t.data.empty())
        seen = seen + static_cast<size_t>(t.data.front()) + static_cast<size_t>(t.data.back());
      if (t.dtype) seen = seen + file->array(t).eval().nbytes();
    }
    for (const auto& [key, value] : file->metadata()) seen = seen + key.size() + value.size();
  });
  return 0;
}
