#include <algorithm>
#include <cmath>
#include <cstdio>

#include "mc/detail/str.h"
#include "mc/measures.h"

namespace mc {
namespace {

// Told apart without colour, too: each line has dashes of its own.
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"};
constexpr const char* kDashes[] = {"none", "8 3", "3 3", "12 3 3 3", "1 4", "6 6"};

std::string escaped(const std::string& s) {
  std::string out;
  for (char c : s)
    out += c == '<'   ? "&lt;"
           : c == '>' ? "&gt;"
           : c == '&' ? "&amp;"
           : c == '"' ? "&quot;"
                      : std::string(1, c);
  return out;
}
std::string num(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", v);
  return text;
}
std::string shown(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", v);
  return text;
}

class Canvas {
 public:
  Canvas(double width, double height) {
    // Ink and paper follow the page: dark where the reader's system is.
    out_ =
        cat("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", num(width), " ", num(height),
            "\" width=\"", num(width), "\" height=\"", num(height),
            "\" font-family=\"sans-serif\" font-size=\"12\">\n<style>.p{fill:#fff}.i{fill:#222}.s{fill:#666}"
            ".g{stroke:#ddd}.a{stroke:#444}@media(prefers-color-scheme:dark){.p{fill:#16181c}.i{fill:#e6e6e6}"
            ".s{fill:#a0a0a0}.g{stroke:#3a3d44}.a{stroke:#bbb}}</style>\n"
            "<rect class=\"p\" width=\"100%\" height=\"100%\"/>\n");
  }
  void text(double x, double y, const char* anchor, const std::string& t, const char* kind = "i",
            const std::string& more = "") {
    out_ += cat("<text class=\"", kind, "\" x=\"", num(x), "\" y=\"", num(y), "\" text-anchor=\"", anchor,
                "\"", more.empty() ? "" : " ", more, ">", escaped(t), "</text>\n");
  }
  void line(double x1, double y1, double x2, double y2, const char* kind) {
    out_ += cat("<line class=\"", kind, "\" x1=\"", num(x1), "\" y1=\"", num(y1), "\" x2=\"", num(x2),
                "\" y2=\"", num(y2), "\"/>\n");
  }
  void raw(const std::string& s) { out_ += s; }
  std::string done() { return out_ + "</svg>\n"; }

 private:
  std::string out_;
};

// Dark blue to yellow, even in lightness: a scale that survives grey print.
std::string colour(double t) {
  constexpr double kStops[][3] = {{13, 8, 135},   {84, 2, 163},   {139, 10, 165}, {185, 50, 137},
                                  {219, 92, 104}, {244, 136, 73}, {254, 188, 43}, {240, 249, 33}};
  t = std::clamp(t, 0.0, 1.0) * 7;
  const int i = std::min(6, static_cast<int>(t));
  char text[16];
  int c[3];
  for (int k = 0; k < 3; ++k)
    c[k] = static_cast<int>(std::lround(kStops[i][k] + (kStops[i + 1][k] - kStops[i][k]) * (t - i)));
  std::snprintf(text, sizeof text, "#%02x%02x%02x", c[0], c[1], c[2]);
  return text;
}

size_t step_of(size_t n, size_t most) { return std::max<size_t>(1, (n + most - 1) / most); }

// Characters, not bytes.
size_t length_of(const std::string& s) {
  return static_cast<size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}
size_t longest(const std::vector<std::string>& names) {
  size_t n = 0;
  for (const std::string& s : names) n = std::max(n, length_of(s));
  return n;
}

}  // namespace

std::string svg_of(const HeatMap& m) {
  const size_t rows = m.rows.size(), columns = m.columns.size();
  const double cell =
      std::clamp(520.0 / static_cast<double>(std::max<size_t>(1, std::max(rows, columns))), 4.0, 40.0);
  // The columns' names run down to the left.
  const double slope = 6.6 * static_cast<double>(longest(m.columns)) * 0.75,
               left = std::max(24 + 6.6 * static_cast<double>(longest(m.rows)), 10 + slope), top = 62,
               below = 24 + slope;
  const double w = cell * static_cast<double>(columns), h = cell * static_cast<double>(rows);
  // Wide enough for the title's bold letters; the bar stands behind cells and subtitle.
  const double bar = left + std::max(w, 7.0 * static_cast<double>(length_of(m.subtitle))) + 28;
  Canvas c(std::max({bar + 92, bar + 16 + 7.0 * static_cast<double>(length_of(m.unit)),
                     left + 16 + 10.0 * static_cast<double>(length_of(m.title))}),
           top + h + below + 20);
  c.text(left, 24, "start", m.title, "i", "font-size=\"16\" font-weight=\"bold\"");
  c.text(left, 44, "start", m.subtitle, "s");
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < columns; ++j) {
      const double v = m.values[i * columns + j];
      const std::string fill = std::isfinite(v) ? colour((v - m.low) / (m.high - m.low)) : "#888";
      c.raw(cat("<rect x=\"", num(left + cell * static_cast<double>(j)), "\" y=\"",
                num(top + cell * static_cast<double>(i)), "\" width=\"", num(cell + 0.3), "\" height=\"",
                num(cell + 0.3), "\" fill=\"", fill, "\"><title>", escaped(m.rows[i]), " · ",
                escaped(m.columns[j]), ": ", std::isfinite(v) ? shown(v) : "undefined", "</title></rect>\n"));
      if (cell >= 30 && std::isfinite(v)) {
        const bool dark = (v - m.low) / (m.high - m.low) < 0.55;
        c.raw(cat("<text x=\"", num(left + cell * (static_cast<double>(j) + 0.5)), "\" y=\"",
                  num(top + cell * (static_cast<double>(i) + 0.5) + 4),
                  "\" text-anchor=\"middle\" font-size=\"10\" fill=\"", dark ? "#fff" : "#111", "\">",
                  shown(v), "</text>\n"));
      }
    }
  const size_t every_row = step_of(rows, static_cast<size_t>(std::max(1.0, h / 13))),
               every_column = step_of(columns, static_cast<size_t>(std::max(1.0, w / 13)));
  for (size_t i = 0; i < rows; i += every_row)
    c.text(left - 6, top + cell * (static_cast<double>(i) + 0.5) + 4, "end", m.rows[i]);
  for (size_t j = 0; j < columns; j += every_column) {
    const double x = left + cell * (static_cast<double>(j) + 0.5), y = top + h + 14;
    c.text(x, y, "end", m.columns[j], "i", cat("transform=\"rotate(-45 ", num(x), " ", num(y), ")\""));
  }
  const double tall = std::max(h, 80.0);
  for (int i = 0; i < 50; ++i)
    c.raw(cat("<rect x=\"", num(bar), "\" y=\"", num(top + tall * (49 - i) / 50), "\" width=\"16\" height=\"",
              num(tall / 50 + 0.4), "\" fill=\"", colour((i + 0.5) / 50), "\"/>\n"));
  for (int i = 0; i <= 4; ++i)
    c.text(bar + 22, top + tall * (4 - i) / 4 + 4, "start", shown(m.low + (m.high - m.low) * i / 4));
  c.text(bar, top - 8, "start", m.unit, "s");
  return c.done();
}

std::string svg_of(const Curves& m) {
  constexpr double kWidth = 860, kHeight = 460, kLeft = 76, kRight = 190, kTop = 62, kBottom = 64;
  double low = INFINITY, high = -INFINITY;
  const auto see = [&](double v) {
    if (!std::isfinite(v)) return;
    low = std::min(low, v);
    high = std::max(high, v);
  };
  for (const Curves::Line& l : m.lines) {
    for (double v : l.y) see(v);
    for (const Interval& b : l.band) {
      see(b.low);
      see(b.high);
    }
  }
  if (!(low <= high)) low = 0, high = 1;
  if (low > 0 && low < 0.5 * high) low = 0;
  if (low == high) high = low + 1;
  // A round step between marks.
  const double raw = (high - low) / 5, power = std::pow(10, std::floor(std::log10(raw)));
  const double step = power * (raw / power > 5 ? 10 : raw / power > 2 ? 5 : raw / power > 1 ? 2 : 1);
  low = std::floor(low / step) * step;
  high = std::ceil(high / step - 1e-9) * step;
  const size_t points = m.x.size();
  const auto x_of = [&](size_t i) {
    return kLeft + (kWidth - kLeft - kRight) * static_cast<double>(i) /
                       std::max(1.0, static_cast<double>(points) - 1);
  };
  const auto y_of = [&](double v) {
    return kHeight - kBottom - (kHeight - kTop - kBottom) * (v - low) / (high - low);
  };
  Canvas c(kWidth, kHeight);
  c.text(kLeft, 24, "start", m.title, "i", "font-size=\"16\" font-weight=\"bold\"");
  c.text(kLeft, 44, "start", m.subtitle, "s");
  for (double v = low; v <= high + step / 2; v += step) {
    c.line(kLeft, y_of(v), kWidth - kRight, y_of(v), "g");
    c.text(kLeft - 8, y_of(v) + 4, "end", shown(std::abs(v) < step / 1e6 ? 0 : v));
  }
  c.line(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "a");
  const size_t every = step_of(points, std::max<size_t>(2, 96 / std::max<size_t>(4, longest(m.x))));
  for (size_t i = 0; i < points; i += every) c.text(x_of(i), kHeight - kBottom + 20, "middle", m.x[i]);
  c.text((kLeft + kWidth - kRight) / 2, kHeight - 16, "middle", m.x_label, "s");
  c.text(20, (kTop + kHeight - kBottom) / 2, "middle", m.y_label, "s",
         cat("transform=\"rotate(-90 20 ", num((kTop + kHeight - kBottom) / 2), ")\""));
  for (size_t k = 0; k < m.lines.size(); ++k) {
    const Curves::Line& l = m.lines[k];
    const char *ink = kColours[k % 6], *dash = kDashes[k % 6];
    if (!l.band.empty()) {
      std::string up, down;
      for (size_t i = 0; i < l.band.size(); ++i) {
        if (!std::isfinite(l.band[i].low) || !std::isfinite(l.band[i].high)) continue;
        up += cat(num(x_of(i)), ",", num(y_of(l.band[i].high)), " ");
        down = cat(num(x_of(i)), ",", num(y_of(l.band[i].low)), " ", down);
      }
      c.raw(cat("<polygon points=\"", up, down, "\" fill=\"", ink, "\" fill-opacity=\"0.18\"/>\n"));
    }
    std::string path;
    for (size_t i = 0; i < l.y.size(); ++i)
      if (std::isfinite(l.y[i])) path += cat(path.empty() ? "" : " ", num(x_of(i)), ",", num(y_of(l.y[i])));
    c.raw(cat("<polyline fill=\"none\" stroke=\"", ink, "\" stroke-width=\"2\" stroke-dasharray=\"", dash,
              "\" points=\"", path, "\"/>\n"));
    const double y = kTop + 14 + 20 * static_cast<double>(k);
    c.raw(cat("<line x1=\"", num(kWidth - kRight + 14), "\" y1=\"", num(y), "\" x2=\"",
              num(kWidth - kRight + 44), "\" y2=\"", num(y), "\" stroke=\"", ink,
              "\" stroke-width=\"2\" stroke-dasharray=\"", dash, "\"/>\n"));
    c.text(kWidth - kRight + 50, y + 4, "start", l.name);
  }
  return c.done();
}

}  // namespace mc
