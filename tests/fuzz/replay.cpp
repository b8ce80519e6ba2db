// A fuzzer without libFuzzer: the files named (folders: those in them), whole and cut at 40 places, so that
// every test run shows that what was once found is mended.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  namespace fs = std::filesystem;
  std::vector<fs::path> files;
  for (int i = 1; i < argc; ++i) {
    if (fs::is_directory(argv[i]))
      for (const auto& f : fs::recursive_directory_iterator(argv[i])) files.push_back(f.path());
    else
      files.emplace_back(argv[i]);
  }
  std::erase_if(files, [](const fs::path& f) { return fs::is_directory(f); });
  std::sort(files.begin(), files.end());
  for (const fs::path& f : files) {
    std::ifstream in(f, std::ios::binary);
    const std::vector<char> whole((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    if (!in.is_open()) return std::cerr << f << " can't be read\n", 1;
    std::cerr << f << "\n";  // the last one, where it crashes
    for (size_t k = 40; k > 0; --k) {
      // A copy of its own size, so that sanitizers see reads behind its end.
      const std::vector<uint8_t> part(whole.begin(),
                                      whole.begin() + static_cast<std::ptrdiff_t>(whole.size() * k / 40));
      LLVMFuzzerTestOneInput(part.data(), part.size());
    }
  }
  std::cout << files.size() << " inputs\n";
  return files.empty();
}
