#include "mc/edits.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "edit_value.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "mc/file.h"
#include "mc/ops.h"
#include "mc/sha256.h"

namespace mc {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kKeys[] = {"kind",  "site", "value",  "factor", "positions",
                                 "heads", "keys", "prompt", "row"};
constexpr const char* kForm =
    "an edit reads KIND SITES [VALUE] [factor=X] [positions=0-3] [heads=0,2] [keys=0] [prompt=N] "
    "[row=N|mean], "
    "for example \"add resid_post.12 steer.npy factor=4 positions=5-\"";

constexpr const char* kJsonForm =
    "an edit in JSON reads {\"kind\": \"add\", \"site\": \"resid_post.12\", \"value\": \"steer.npy\", "
    "\"factor\": 4, "
    "\"positions\": [5, [8, 11]]}; its other keys are heads, keys, prompt and row";

template <class T>
std::optional<T> number_of(std::string_view s) {
  T v = 0;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), v);
  if (s.empty() || r.ec != std::errc() || r.ptr != s.data() + s.size()) return {};
  return v;
}

// Discarded for what is no JSON, or nests deeper than any edit does: what is shown of it in an error
// recurses.
Json parse_json(const std::string& text) {
  bool deep = false;
  Json j = Json::parse(
      text,
      [&](int depth, Json::parse_event_t, Json&) {
        deep = deep || depth > 16;
        return !deep;
      },
      false);
  return deep ? Json(Json::value_t::discarded) : j;
}

// An edit as it is written; `where` is what errors name.
class Reader {
 public:
  Reader(const Json& j, std::string where, int64_t layers, int64_t tokens, bool json)
      : j_(j), where_(std::move(where)), layers_(layers), tokens_(tokens), json_(json) {}

  std::vector<Edit> edits() const {
    if (!j_.is_object()) refuse("is no object");
    for (const auto& item : j_.items()) {
      const std::string& key = item.key();
      if (std::none_of(std::begin(kKeys), std::end(kKeys), [&](const char* k) { return key == k; }))
        refuse(cat("has no use for '", key.substr(0, 40), "'"));
    }
    Edit e;
    e.kind = kind();
    e.factor = factor();
    for (auto [a, b] : ranges("positions")) e.positions.emplace_back(from_end(a), from_end(b));
    e.keys = ranges("keys");
    for (auto [a, b] : ranges("heads")) {
      if (a < 0 || b > 65535) refuse(cat("names heads ", a, " to ", b, ", which no model has"));
      for (int64_t h = a; h <= b; ++h) e.heads.push_back(static_cast<int>(h));
    }
    nn::RowChoice rows;
    if (const Json* p = find("prompt")) rows.prompt = whole(*p, "prompt");
    if (const Json* r = find("row")) {
      if (*r == Json("mean"))
        rows.mean = true;
      else
        rows.row = whole(*r, "row");
    }
    const Json* value = find("value");
    if (!value && (rows.prompt || rows.row || rows.mean)) refuse("chooses rows of no value");
    std::vector<Edit> out;
    for (const Site& site : parse_sites(text("site"), layers_)) {
      e.site = site;
      e.value = value ? of(*value, site, rows) : Array();
      check_edit(e);
      out.push_back(e);
    }
    return out;
  }

 private:
  [[noreturn]] void refuse(const std::string& what, const char* next = nullptr) const {
    if (!next) next = json_ ? kJsonForm : kForm;
    throw Error(ErrorCode::InvalidArgument, cat("the edit ", what), where_, next);
  }
  const Json* find(const char* key) const {
    const auto it = j_.find(key);
    return it == j_.end() || it->is_null() ? nullptr : &*it;
  }
  std::string text(const char* key) const {
    const Json* v = find(key);
    if (!v || !v->is_string()) refuse(cat("has no ", key));
    return v->get<std::string>();
  }
  EditKind kind() const {
    const std::string name = text("kind");
    for (EditKind k : {EditKind::Replace, EditKind::Scale, EditKind::ProjectOut, EditKind::Add})
      if (name == edit_name(k)) return k;
    refuse(cat("is of no kind '", name.substr(0, 40), "': kinds are replace, scale, project-out and add"));
  }
  double factor() const {
    const Json* v = find("factor");
    if (!v) return 1;
    const auto x = v->is_string() ? number_of<double>(v->get_ref<const std::string&>()) : std::nullopt;
    if (x) return *x;
    if (!v->is_number()) refuse(cat("has the factor ", v->dump().substr(0, 40), ", which is no number"));
    return v->get<double>();
  }
  int64_t whole(const Json& v, const char* key) const {
    if (v.is_number_integer()) return v.get<int64_t>();
    const auto x = v.is_string() ? number_of<int64_t>(v.get_ref<const std::string&>()) : std::nullopt;
    if (!x) refuse(cat("has ", key, "=", v.dump().substr(0, 40), ", which is no whole number"));
    return *x;
  }
  // "4", "4-7", "12-" and lists of them, in JSON also 4 and [4, 7]. An open end is the largest number.
  std::vector<std::pair<int64_t, int64_t>> ranges(const char* key) const {
    std::vector<std::pair<int64_t, int64_t>> out;
    const Json* v = find(key);
    if (!v) return out;
    auto bad = [&](const std::string& what) {
      refuse(cat("has ", key, "=", what.substr(0, 40), ", which are no ranges"));
    };
    auto parse = [&](const std::string& list) {
      for (size_t at = 0; at <= list.size();) {
        const size_t end = std::min(list.find(',', at), list.size());
        const std::string_view part = std::string_view(list).substr(at, end - at);
        at = end + 1;
        if (const auto one = number_of<int64_t>(part)) {
          out.emplace_back(*one, *one);
          continue;
        }
        const size_t dash = part.find('-', 1);
        if (dash == std::string_view::npos) return bad(list);
        const auto a = number_of<int64_t>(part.substr(0, dash));
        const auto b = dash + 1 == part.size() ? std::optional<int64_t>(INT64_MAX)
                                               : number_of<int64_t>(part.substr(dash + 1));
        if (!a || !b) return bad(list);
        out.emplace_back(*a, *b);
      }
    };
    if (v->is_string()) {
      parse(v->get<std::string>());
    } else if (v->is_number_integer()) {
      out.emplace_back(v->get<int64_t>(), v->get<int64_t>());
    } else if (v->is_array()) {
      for (const Json& x : *v) {
        if (x.is_number_integer())
          out.emplace_back(x.get<int64_t>(), x.get<int64_t>());
        else if (x.is_array() && x.size() == 2 && x[0].is_number_integer() && x[1].is_number_integer())
          out.emplace_back(x[0].get<int64_t>(), x[1].get<int64_t>());
        else
          bad(v->dump());
      }
    } else {
      bad(v->dump());
    }
    if (out.empty()) refuse(cat("has no ", key, " in its list"));
    return out;
  }
  int64_t from_end(int64_t position) const {
    if (position >= 0) return position;
    if (tokens_ < 0)
      refuse(cat("counts position ", position, " from the end, which needs one text of a known length"),
             "write positions from 0 on");
    if (position + tokens_ < 0)
      refuse(cat("has position ", position, ", but the text has ", tokens_, " tokens"),
             "positions count from 0");
    return position + tokens_;
  }
  Array of(const Json& v, const Site& site, const nn::RowChoice& rows) const {
    if (v.is_string()) {
      const std::string& s = v.get_ref<const std::string&>();
      if (const auto x = number_of<double>(s); x && std::isfinite(*x)) return numbers(Json(*x), rows);
      if (!s.starts_with("[")) return nn::read_edit_value(s, site, rows);
      const Json list = parse_json(s);
      if (!list.is_array()) refuse(cat("has the value ", s.substr(0, 40), ", which is no list of numbers"));
      return numbers(list, rows);
    }
    return numbers(v, rows);
  }
  Array numbers(const Json& v, const nn::RowChoice& rows) const {
    if (rows.prompt || rows.row || rows.mean) refuse("chooses rows of numbers that are written out");
    std::vector<int64_t> shape;
    for (const Json* x = &v; x->is_array(); x = &x->front()) {
      shape.push_back(static_cast<int64_t>(x->size()));
      if (x->empty() || shape.size() > 3) refuse("has a value of no numbers, or of more than three axes");
    }
    std::vector<float> data;
    collect(v, shape, 0, data);
    return Array(data, Shape(shape));
  }
  void collect(const Json& v, const std::vector<int64_t>& shape, size_t axis, std::vector<float>& out) const {
    if (axis == shape.size()) {
      if (!v.is_number()) refuse(cat("has ", v.dump().substr(0, 40), " among the numbers of its value"));
      if (!std::isfinite(v.get<float>())) refuse(cat("has ", v.dump(), ", which float32 does not hold"));
      out.push_back(v.get<float>());
      return;
    }
    if (!v.is_array() || static_cast<int64_t>(v.size()) != shape[axis])
      refuse("has a value whose rows differ in length");
    for (const Json& x : v) collect(x, shape, axis + 1, out);
  }

  const Json& j_;
  std::string where_;
  int64_t layers_, tokens_;
  bool json_;
};

std::string ranges_text(const std::vector<std::pair<int64_t, int64_t>>& ranges) {
  std::string out;
  for (auto [a, b] : ranges)
    out += cat(out.empty() ? "" : ",", a, a == b ? "" : b == INT64_MAX ? "-" : cat("-", b));
  return out;
}

}  // namespace

std::vector<Edit> parse_edit(const std::string& spec, int64_t layers, int64_t tokens) {
  Json j = Json::object();
  auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::InvalidArgument, cat("the edit ", what), spec, kForm);
  };
  auto set = [&](const std::string& key, std::string_view value) {
    if (j.contains(key)) refuse(cat("has its ", key, " twice"));
    j[key] = std::string(value);
  };
  size_t words = 0;
  for (size_t at = 0; at < spec.size();) {
    if (spec[at] == ' ') {
      ++at;
      continue;
    }
    size_t end = spec.find(' ', at);
    if (spec[at] == '[') end = std::min(spec.rfind(']'), spec.size() - 1) + 1;  // a list may hold spaces
    end = std::min(std::max(end, at + 1), spec.size());
    const std::string word = spec.substr(at, end - at);
    at = end;
    const size_t equals = word.find('=');
    if (words < 2 && equals == std::string::npos) {
      set(words == 0 ? "kind" : "site", word);
    } else if (equals != std::string::npos && equals > 0) {
      set(word.substr(0, equals), word.substr(equals + 1));
    } else {
      set("value", word);
    }
    ++words;
  }
  return Reader(j, spec, layers, tokens, false).edits();
}

std::vector<Edit> read_edits(const std::string& path, int64_t layers, int64_t tokens) {
  const Json j = parse_json(read_small_file(path, 64u << 20));
  if (!j.is_array() || j.empty())
    throw Error(ErrorCode::BadData,
                j.is_discarded() ? "the file is not JSON" : "the file holds no list of edits", path,
                "for example [{\"kind\": \"scale\", \"site\": \"heads.5\", \"factor\": 0, \"heads\": [1]}]");
  std::vector<Edit> out;
  for (size_t i = 0; i < j.size(); ++i)
    for (Edit& e : Reader(j[i], cat(path, ", edit ", i + 1), layers, tokens, true).edits())
      out.push_back(std::move(e));
  return out;
}

std::string edit_note(const Edit& e) {
  std::string out = cat(edit_name(e.kind), " ", site_name(e.site));
  if (e.value.defined()) {
    const std::vector<float> v = astype(e.value, Dtype::F32).to_vector<float>();
    if (v.size() == 1 && e.value.ndim() == 0)
      out += cat(" ", v[0]);
    else
      out +=
          cat(" ", e.value.shape().str(), " sha256:", sha256_hex(std::as_bytes(std::span(v))).substr(0, 16));
  }
  if (e.factor != 1 || e.kind == EditKind::Scale) out += cat(" factor=", e.factor);
  if (!e.positions.empty()) out += cat(" positions=", ranges_text(e.positions));
  if (!e.heads.empty()) {
    std::string heads;
    for (int h : e.heads) heads += cat(heads.empty() ? "" : ",", h);
    out += cat(" heads=", heads);
  }
  if (!e.keys.empty()) out += cat(" keys=", ranges_text(e.keys));
  return out;
}

}  // namespace mc
