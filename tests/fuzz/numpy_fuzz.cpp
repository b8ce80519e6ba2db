// Any bytes as an .npy or .npz file; the first byte tells which, or a DEFLATE stream alone, which no checksum
// guards.
#include "fuzz.h"
#include "io/inflate.h"
#include "mc/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace mc;
  if (size == 0) return 0;
  static const fuzz::Folder folder;
  const std::string_view rest = fuzz::text(data + 1, size - 1);
  volatile size_t seen = 0;
  fuzz::refuses({ErrorCode::BadFormat, ErrorCode::Truncated, ErrorCode::DtypeMismatch}, [&] {
    if (data[0] % 4 == 0) {
      const Array a = read_npy(folder.put("a.npy", rest));
      seen = seen + a.nbytes();
      // What was read can be written and read again.
      const std::string again = folder.path() + "/again.npy";
      write_npy(again, a);
      if (!(read_npy(again).shape() == a.shape())) std::abort();
    } else if (data[0] % 4 == 1) {
      for (const auto& [name, a] : read_npz(folder.put("a.npz", rest)))
        seen = seen + name.size() + a.nbytes();
    } else if (size > 3) {
      const size_t unpacked = data[1] | size_t{data[2]} << 8 | size_t{data[3] & 15u} << 16;
      seen =
          seen + inflate({reinterpret_cast<const std::byte*>(data) + 4, size - 4}, unpacked, "fuzz").size();
    }
  });
  return 0;
}
