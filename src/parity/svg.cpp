#include <algorithm>
#include <cmath>
#include <cstdio>

#include "mc/detail/str.h"
#include "mc/parity.h"

namespace mc {
namespace {

constexpr double kWidth = 860, kHeight = 460, kLeft = 76, kRight = 170, kTop = 56, kBottom = 60;
// Told apart without colour, too: each engine has dashes and a mark of its own.
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"};
constexpr const char* kDashes[] = {"none", "8 3", "3 3", "12 3 3 3", "1 4", "6 6"};

std::string escaped(const std::string& s) {
  std::string out;
  for (char c : s) out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return out;
}
std::string num(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", v);
  return text;
}
std::string label(double power) {
  return power >= 0 && power <= 4 ? cat(static_cast<int64_t>(std::pow(10, power)))
                                  : cat("1e", static_cast<int>(power));
}

}  // namespace

std::string parity_svg(const ParityReport& r, const std::string& title) {
  double low = INFINITY, high = 1;
  size_t points = 0;
  const auto see = [&](double v) {
    if (!(v > 0) || !std::isfinite(v)) return;
    low = std::min(low, v);
    high = std::max(high, v);
  };
  for (const ParityEngine& e : r.engines) {
    points = std::max(points, e.parts.size());
    for (const ParityPart& p : e.parts) {
      see(p.max_ulps);
      see(p.bound_ulps);
    }
  }
  const double first = std::floor(std::log10(std::min(low, 1.0))), last = std::ceil(std::log10(high * 1.01));
  const auto x_of = [&](size_t i) {
    const double span = points > 1 ? static_cast<double>(points - 1) : 1;
    return kLeft + (kWidth - kLeft - kRight) * static_cast<double>(i) / span;
  };
  const auto y_of = [&](double v) {
    const double at = std::clamp((std::log10(std::max(v, 1e-300)) - first) / (last - first), 0.0, 1.0);
    return kHeight - kBottom - (kHeight - kTop - kBottom) * (std::isfinite(v) ? at : 1);
  };
  std::string s = cat("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 ", num(kWidth), " ",
                      num(kHeight), "\" width=\"", num(kWidth), "\" height=\"", num(kHeight),
                      "\" font-family=\"sans-serif\" font-size=\"13\">\n"
                      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n");
  const auto text = [&](double x, double y, const char* anchor, const std::string& t, const char* more = "") {
    s += cat("<text x=\"", num(x), "\" y=\"", num(y), "\" text-anchor=\"", anchor, "\" ", more, ">",
             escaped(t), "</text>\n");
  };
  const auto line = [&](double x1, double y1, double x2, double y2, const char* style) {
    s += cat("<line x1=\"", num(x1), "\" y1=\"", num(y1), "\" x2=\"", num(x2), "\" y2=\"", num(y2), "\" ",
             style, "/>\n");
  };
  text(kLeft, 24, "start", title, "font-size=\"16\" font-weight=\"bold\"");
  text(kLeft, 43, "start", cat("largest error of a row against the float64 oracle, in ulps of ", r.dtype),
       "fill=\"#555\"");
  for (double p = first; p <= last; ++p) {
    const double y = y_of(std::pow(10, p));
    line(kLeft, y, kWidth - kRight, y, "stroke=\"#ddd\"");
    text(kLeft - 8, y + 4, "end", label(p));
  }
  line(kLeft, kHeight - kBottom, kWidth - kRight, kHeight - kBottom, "stroke=\"#333\"");
  const size_t every = std::max<size_t>(1, (points + 14) / 15);
  for (size_t i = 0; i < points; ++i) {
    const bool logits = i + 1 == points;
    if (!logits && (i % every != 0 || i + every > points)) continue;
    text(x_of(i), kHeight - kBottom + 20, "middle", logits ? "logits" : cat(r.layers[i]));
  }
  text((kLeft + kWidth - kRight) / 2, kHeight - 14, "middle", "after layer");
  double legend = kTop + 12;
  const auto path = [&](const std::vector<double>& ys, const char* colour, const char* dash,
                        const char* width, const std::string& name) {
    s += cat("<polyline fill=\"none\" stroke=\"", colour, "\" stroke-width=\"", width,
             "\" stroke-dasharray=\"", dash, "\" points=\"");
    for (size_t i = 0; i < ys.size(); ++i) s += cat(i ? " " : "", num(x_of(i)), ",", num(y_of(ys[i])));
    s += "\"/>\n";
    line(kWidth - kRight + 14, legend - 4, kWidth - kRight + 44, legend - 4,
         cat("stroke=\"", colour, "\" stroke-width=\"", width, "\" stroke-dasharray=\"", dash, "\"").c_str());
    text(kWidth - kRight + 50, legend, "start", name);
    legend += 20;
  };
  size_t at = 0;
  for (const ParityEngine& e : r.engines) {
    const char *colour = kColours[at % std::size(kColours)], *dash = kDashes[at % std::size(kDashes)];
    ++at;
    std::vector<double> errors, bounds;
    for (const ParityPart& p : e.parts) {
      errors.push_back(p.max_ulps);
      bounds.push_back(p.bound_ulps);
    }
    if (errors.empty()) {
      text(kWidth - kRight + 14, legend, "start", cat(e.name, ": not run"), "fill=\"#888\"");
      legend += 20;
      continue;
    }
    if (at == 1) path(bounds, "#999999", "2 4", "1.5", "bound");
    path(errors, colour, dash, "2", cat(e.name, e.ok ? "" : " (breach)"));
    for (size_t i = 0; i < e.parts.size(); ++i)
      if (!e.parts[i].ok)
        s += cat("<circle cx=\"", num(x_of(i)), "\" cy=\"", num(y_of(errors[i])),
                 "\" r=\"5\" fill=\"none\" stroke=\"", "#cc0000", "\" stroke-width=\"2\"/>\n");
  }
  return s + "</svg>\n";
}

}  // namespace mc
