#include "base/cgroup.h"

#include <fstream>

namespace mc {

void each_cgroup(const std::function<void(const std::string&)>& fn) {
  std::string path;
  std::ifstream lines("/proc/self/cgroup");
  for (std::string line; std::getline(lines, line);)
    if (line.rfind("0::", 0) == 0) path = line.substr(3);
  // In a namespace of its own a group is the root: "/", or "/.." where the process came from outside.
  while (!path.empty() && path != "/" && path.find("..") == std::string::npos) {
    fn("/sys/fs/cgroup" + path);
    path.resize(path.rfind('/'));
  }
  fn("/sys/fs/cgroup");
}

}  // namespace mc
