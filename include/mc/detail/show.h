// Numbers as people read them.
#pragma once

#include <cmath>
#include <cstdio>
#include <string>

namespace mc {

// Three digits or so: 0.0123, 1.23, 12.3, 123.
inline std::string show3(double v) {
  char buf[64];
  const double a = std::abs(v);
  const int decimals = a >= 99.95 || a == 0 ? 0 : a >= 9.995 ? 1 : a >= 0.9995 ? 2 : a >= 0.0995 ? 3 : 5;
  std::snprintf(buf, sizeof buf, "%.*f", decimals, v);
  return buf;
}

// 123 MB, in steps of a thousand.
inline std::string show_bytes(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  int u = 0;
  while (bytes >= 999.5 && u < 4) {
    bytes /= 1000;
    ++u;
  }
  return show3(bytes) + " " + units[u];
}

}  // namespace mc
