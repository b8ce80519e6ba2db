// Cuts a template into text and tokens, white space around tags as trim_blocks and lstrip_blocks have it.
#include <algorithm>
#include <charconv>

#include "jinja_ast.h"
#include "mc/detail/str.h"
#include "mc/error.h"
#include "unicode.h"

namespace mc::jinja {

void bad_template(int line, const std::string& what) {
  throw Error(ErrorCode::BadTemplate, cat("line ", line, ": ", what), "chat template");
}

namespace {

bool blank(std::string_view s) { return strip(s, nullptr, true, false).empty(); }

class Lexer {
 public:
  explicit Lexer(std::string_view source) {
    s_.reserve(source.size());
    for (size_t i = 0; i < source.size(); ++i) {
      if (source[i] != '\r') {
        s_ += source[i];
        continue;
      }
      s_ += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
    if (s_.ends_with('\n')) s_.pop_back();
  }

  std::vector<Token> run() {
    while (at_ < s_.size()) {
      const size_t tag = next_tag();
      if (tag == std::string::npos) {
        put(Token::Data, s_.substr(at_));
        break;
      }
      std::string text = s_.substr(at_, tag - at_);
      const char kind = s_[tag + 1];
      size_t after = tag + 2;
      const char sign = after < s_.size() && (s_[after] == '-' || s_[after] == '+') ? s_[after] : 0;
      if (sign) ++after;
      size_t raw = kind == '%' ? raw_tag(after, "raw") : std::string::npos;
      cut(text, sign, kind != '{');
      put(Token::Data, text);
      step(after);
      line_starts_ = false;
      if (raw != std::string::npos) {
        step(raw);
        raw_text();
      } else if (kind == '#') {
        comment();
      } else {
        put(kind == '%' ? Token::BlockBegin : Token::PrintBegin, "");
        inside(kind == '%');
      }
    }
    put(Token::End, "");
    return std::move(out_);
  }

 private:
  void put(Token::Type type, std::string text) {
    if (type == Token::Data && text.empty()) return;
    out_.push_back({type, std::move(text), line_});
  }
  void step(size_t to) {
    line_ += static_cast<int>(std::count(s_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         s_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    at_ = to;
  }
  size_t next_tag() {
    for (size_t i = at_; (i = s_.find('{', i)) != std::string::npos && i + 1 < s_.size(); ++i)
      if (s_[i + 1] == '%' || s_[i + 1] == '{' || s_[i + 1] == '#') return i;
    return std::string::npos;
  }
  size_t spaces(size_t i) const {
    std::string_view rest = std::string_view(s_).substr(std::min(i, s_.size()));
    while (!rest.empty()) {
      const std::string_view before = rest;
      if (!blank(take_character(rest).bytes)) return s_.size() - before.size();
    }
    return std::max(i, s_.size());
  }
  // Where what follows `raw` or `endraw` begins, or npos: `i` is behind the tag's sign.
  size_t raw_tag(size_t i, std::string_view name) const {
    i = spaces(i);
    if (s_.compare(i, name.size(), name) != 0) return std::string::npos;
    i = spaces(i + name.size());
    if (s_.compare(i, 3, "-%}") == 0) return spaces(i + 3);
    if (name == "endraw" && s_.compare(i, 3, "+%}") == 0) return i + 3;
    if (s_.compare(i, 2, "%}") != 0) return std::string::npos;
    i += 2;
    return name == "endraw" && i < s_.size() && s_[i] == '\n' ? i + 1 : i;
  }
  // What a tag takes from the text before it.
  void cut(std::string& text, char sign, bool block) const {
    if (sign == '-') {
      text = strip(text, nullptr, false, true);
    } else if (sign != '+' && block) {
      const size_t line = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
      if ((line > 0 || line_starts_) && line < text.size() && blank(std::string_view(text).substr(line)))
        text.resize(line);
    }
  }
  void ended(size_t to) {
    line_starts_ = to > 0 && s_[to - 1] == '\n';
    step(to);
  }
  void raw_text() {
    for (size_t i = at_; (i = s_.find("{%", i)) != std::string::npos; ++i) {
      const char sign = i + 2 < s_.size() && (s_[i + 2] == '-' || s_[i + 2] == '+') ? s_[i + 2] : 0;
      const size_t end = raw_tag(i + 2 + (sign ? 1 : 0), "endraw");
      if (end == std::string::npos) continue;
      std::string text = s_.substr(at_, i - at_);
      line_starts_ = false;
      cut(text, sign, true);
      put(Token::Data, text);
      ended(end);
      return;
    }
    bad_template(line_, "Missing end of raw directive");
  }
  void comment() {
    const size_t end = s_.find("#}", at_);
    if (end == std::string::npos) bad_template(line_, "Missing end of comment tag");
    const char sign = end > at_ ? s_[end - 1] : 0;
    size_t to = end + 2;
    if (sign == '-')
      to = spaces(to);
    else if (sign != '+' && to < s_.size() && s_[to] == '\n')
      ++to;
    ended(to);
  }

  bool close(bool block) {
    const std::string_view mark = block ? "%}" : "}}";
    size_t i = at_;
    const bool minus = s_[i] == '-', plus = block && s_[i] == '+';
    if (minus || plus) ++i;
    if (s_.compare(i, 2, mark) != 0) return false;
    i += 2;
    if (minus)
      i = spaces(i);
    else if (block && !plus && i < s_.size() && s_[i] == '\n')
      ++i;
    put(block ? Token::BlockEnd : Token::PrintEnd, "");
    ended(i);
    return true;
  }

  void inside(bool block) {
    std::string open;
    for (;;) {
      step(spaces(at_));
      if (at_ >= s_.size())
        bad_template(line_, block ? "the template ends within {% … %}" : "the template ends within {{ … }}");
      if (open.empty() && close(block)) return;
      const char c = s_[at_];
      if ((c >= '0' && c <= '9')) {
        number();
      } else if (c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                 static_cast<unsigned char>(c) >= 0x80) {
        size_t e = at_;
        auto part = [&](char x) {
          return x == '_' || (x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || (x >= '0' && x <= '9') ||
                 static_cast<unsigned char>(x) >= 0x80;
        };
        while (e < s_.size() && part(s_[e])) ++e;
        put(Token::Name, s_.substr(at_, e - at_));
        step(e);
      } else if (c == '\'' || c == '"') {
        string(c);
      } else {
        std::string op = s_.substr(at_, 2);
        static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
        if (std::find(std::begin(kTwo), std::end(kTwo), op) == std::end(kTwo)) op.resize(1);
        if (std::string_view("+-/*%~[](){}<>=.:|,;").find(op[0]) == std::string_view::npos && op.size() == 1)
          bad_template(line_, cat("unexpected character '", op, "'"));
        if (op == "!") bad_template(line_, "unexpected character '!'");
        if (op == "{" || op == "(" || op == "[") open += op == "{" ? '}' : op == "(" ? ')' : ']';
        if (op == "}" || op == ")" || op == "]") {
          if (open.empty() || open.back() != op[0])
            bad_template(line_, open.empty() ? cat("unexpected '", op, "'")
                                             : cat("unexpected '", op, "', expected '",
                                                   std::string(1, open.back()), "'"));
          open.pop_back();
        }
        put(Token::Operator, op);
        step(at_ + op.size());
      }
    }
  }

  void number() {
    size_t e = at_;
    auto digits = [&] {
      while (e < s_.size() && ((s_[e] >= '0' && s_[e] <= '9') || s_[e] == '_')) ++e;
    };
    digits();
    bool real = false;
    const bool after_dot = !out_.empty() && out_.back().type == Token::Operator && out_.back().text == ".";
    if (!after_dot && e + 1 < s_.size() && s_[e] == '.' && s_[e + 1] >= '0' && s_[e + 1] <= '9') {
      real = true;
      ++e;
      digits();
    }
    if (!after_dot && e < s_.size() && (s_[e] == 'e' || s_[e] == 'E')) {
      size_t k = e + 1;
      if (k < s_.size() && (s_[k] == '+' || s_[k] == '-')) ++k;
      if (k < s_.size() && s_[k] >= '0' && s_[k] <= '9') {
        real = true;
        e = k;
        digits();
      }
    }
    std::string text = s_.substr(at_, e - at_);
    std::erase(text, '_');
    put(real ? Token::Float : Token::Integer, text);
    step(e);
  }

  void string(char mark) {
    std::string out;
    size_t i = at_ + 1;
    auto code = [&](size_t n) {
      uint32_t v = 0;
      const char* begin = s_.data() + i;
      const char* end = s_.data() + std::min(s_.size(), i + n);
      const auto r = std::from_chars(begin, end, v, 16);
      if (r.ptr != begin + n || v > 0x10FFFF) bad_template(line_, "a bad escape in a string");
      i += n;
      return v;
    };
    for (;;) {
      if (i >= s_.size())
        bad_template(line_,
                     cat("unexpected char ", mark == '"' ? "'\"'" : "\"'\"", ": a string does not end"));
      const char c = s_[i++];
      if (c == mark) break;
      if (c != '\\' || i >= s_.size()) {
        out += c;
        continue;
      }
      const char e = s_[i++];
      switch (e) {
        case 'n': out += '\n'; break;
        case 't': out += '\t'; break;
        case 'r': out += '\r'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'v': out += '\v'; break;
        case 'a': out += '\a'; break;
        case '\n': break;
        case '\\':
        case '\'':
        case '"': out += e; break;
        case 'x': append_utf8(out, code(2)); break;
        case 'u': append_utf8(out, code(4)); break;
        case 'U': append_utf8(out, code(8)); break;
        default:
          if (e >= '0' && e <= '7') {
            uint32_t v = static_cast<uint32_t>(e - '0');
            for (int k = 0; k < 2 && i < s_.size() && s_[i] >= '0' && s_[i] <= '7'; ++k)
              v = v * 8 + static_cast<uint32_t>(s_[i++] - '0');
            append_utf8(out, v);
          } else {
            out += '\\';
            out += e;
          }
      }
    }
    put(Token::String, out);
    step(i);
  }

  std::string s_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starts_ = true;
  std::vector<Token> out_;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view source) {
  if (source.size() > (size_t{16} << 20)) bad_template(1, "the template is larger than 16 MiB");
  return Lexer(source).run();
}

}  // namespace mc::jinja
