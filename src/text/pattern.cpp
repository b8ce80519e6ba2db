#include "pattern.h"

#include <utf8proc.h>

#include <algorithm>
#include <limits>

#include "mc/detail/str.h"
#include "mc/error.h"

namespace mc {
namespace {
constexpr uint32_t kMany = std::numeric_limits<uint32_t>::max();

constexpr uint32_t bit(int category) { return 1U << category; }

uint32_t category_mask(std::string_view name) {
  constexpr uint32_t kL = bit(UTF8PROC_CATEGORY_LU) | bit(UTF8PROC_CATEGORY_LL) | bit(UTF8PROC_CATEGORY_LT) |
                          bit(UTF8PROC_CATEGORY_LM) | bit(UTF8PROC_CATEGORY_LO);
  constexpr uint32_t kM = bit(UTF8PROC_CATEGORY_MN) | bit(UTF8PROC_CATEGORY_MC) | bit(UTF8PROC_CATEGORY_ME);
  constexpr uint32_t kN = bit(UTF8PROC_CATEGORY_ND) | bit(UTF8PROC_CATEGORY_NL) | bit(UTF8PROC_CATEGORY_NO);
  constexpr uint32_t kP = bit(UTF8PROC_CATEGORY_PC) | bit(UTF8PROC_CATEGORY_PD) | bit(UTF8PROC_CATEGORY_PS) |
                          bit(UTF8PROC_CATEGORY_PE) | bit(UTF8PROC_CATEGORY_PI) | bit(UTF8PROC_CATEGORY_PF) |
                          bit(UTF8PROC_CATEGORY_PO);
  constexpr uint32_t kS = bit(UTF8PROC_CATEGORY_SM) | bit(UTF8PROC_CATEGORY_SC) | bit(UTF8PROC_CATEGORY_SK) |
                          bit(UTF8PROC_CATEGORY_SO);
  if (name == "L") return kL;
  if (name == "M") return kM;
  if (name == "N") return kN;
  if (name == "P") return kP;
  if (name == "S") return kS;
  if (name == "Z") return bit(UTF8PROC_CATEGORY_ZS) | bit(UTF8PROC_CATEGORY_ZL) | bit(UTF8PROC_CATEGORY_ZP);
  if (name == "C")
    return bit(UTF8PROC_CATEGORY_CC) | bit(UTF8PROC_CATEGORY_CF) | bit(UTF8PROC_CATEGORY_CS) |
           bit(UTF8PROC_CATEGORY_CO) | bit(UTF8PROC_CATEGORY_CN);
  constexpr std::string_view kNames[] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                         "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                         "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (name == kNames[i]) return bit(static_cast<int>(i));
  throw Error(ErrorCode::Internal, cat("unknown category \\p{", name, "} in a pattern"));
}
}  // namespace

bool CharSet::raw_match(Char c) const {
  uint32_t p = code_point(c);
  uint32_t mask = 1U << category(c);
  if (categories_ & mask) return true;
  if (not_categories_ && !(not_categories_ & mask)) return true;
  if (is_space(c) ? space_ : not_space_) return true;
  if (c & kCharRaw) return false;
  for (auto [low, high] : ranges_)
    if (p >= low && p <= high) return true;
  return false;
}

bool CharSet::matches_slow(Char c) const { return raw_match(c) != negated_; }

void CharSet::finish() {
  for (uint32_t p = 0; p < 128; ++p)
    if (matches_slow(classify(p))) ascii_[p >> 6] |= uint64_t{1} << (p & 63);
}

class RegexParser {
 public:
  RegexParser(std::string_view pattern, bool of_file, Regex& out) : r_(out), of_file_(of_file) {
    decode_utf8(pattern, p_);
  }

  void parse() {
    // Each top-level alternative is a program of its own, so that the first character can choose among them.
    do {
      r_.alternatives_.push_back(here());
      sequence();
      emit({Regex::Op::Match});
    } while (accept('|'));
    if (at_ < p_.size()) fail("unbalanced )");
    if (r_.alternatives_.size() > 32) fail("more than 32 alternatives");
  }

 private:
  [[noreturn]] void fail(std::string_view why) const {
    throw Error(ErrorCode::Internal, cat("bad pattern: ", why));
  }
  uint32_t peek() const { return at_ < p_.size() ? code_point(p_[at_]) : 0; }
  uint32_t take() {
    if (at_ >= p_.size()) fail("it ends too early");
    return code_point(p_[at_++]);
  }
  bool accept(char c) {
    if (at_ < p_.size() && peek() == static_cast<uint32_t>(c)) return ++at_, true;
    return false;
  }
  uint32_t here() const { return static_cast<uint32_t>(r_.code_.size()); }
  uint32_t emit(Regex::Inst i) {
    r_.code_.push_back(i);
    return here() - 1;
  }
  void insert(uint32_t at, Regex::Inst i) {
    r_.code_.insert(r_.code_.begin() + at, i);
    for (uint32_t k = at + 1; k < here(); ++k) {
      Regex::Inst& x = r_.code_[k];
      bool a = x.op == Regex::Op::Split || x.op == Regex::Op::Jump || x.op == Regex::Op::Look ||
               x.op == Regex::Op::LookNot;
      if (a && x.a >= at) ++x.a;
      if (x.op == Regex::Op::Split && x.b >= at) ++x.b;
    }
  }

  void alternation() {
    uint32_t start = here();
    sequence();
    std::vector<uint32_t> ends;
    while (accept('|')) {
      insert(start, {Regex::Op::Split, start + 1, 0});
      for (uint32_t& e : ends)
        if (e >= start) ++e;
      ends.push_back(emit({Regex::Op::Jump}));
      r_.code_[start].b = here();
      start = here();
      sequence();
    }
    for (uint32_t e : ends) r_.code_[e].a = here();
  }

  void sequence() {
    while (at_ < p_.size() && peek() != '|' && peek() != ')') item();
  }

  void item() {
    uint32_t start = here();
    bool single = atom();
    uint32_t low = 1, high = 1;
    const size_t quantified = at_;
    if (accept('?'))
      low = 0;
    else if (accept('*'))
      low = 0, high = kMany;
    else if (accept('+'))
      high = kMany;
    else if (accept('{')) {
      low = high = number();
      if (accept(',')) high = peek() == '}' ? kMany : number();
      if (!accept('}')) fail("expected }");
    }
    if (at_ > quantified && (peek() == '?' || peek() == '+' || peek() == '*' || peek() == '{'))
      fail("a lazy or possessive repeat");
    if (low > high || (high != kMany && high > 1000000)) fail("a repeat of no sense");
    if (low == 1 && high == 1) return;
    if (single) {
      r_.code_[start] = {Regex::Op::Run, low, high, r_.code_[start].set};
    } else if (low == 0 && high == 1) {
      insert(start, {Regex::Op::Split, start + 1, 0});
      r_.code_[start].b = here();
    } else if (high == kMany && low == 1) {
      emit({Regex::Op::Split, start, here() + 1});
    } else if (high == kMany && low == 0) {
      insert(start, {Regex::Op::Split, start + 1, 0});
      emit({Regex::Op::Jump, start});
      r_.code_[start].b = here();
    } else {
      fail("a counted repeat of a group");
    }
  }

  void leave() { --depth_; }

  // Both cases of ASCII letters, and the two other characters that fold to one.
  static void fold(CharSet& set) {
    const auto ranges = set.ranges_;
    for (auto [low, high] : ranges)
      for (uint32_t c = 'a'; c <= 'z'; ++c) {
        const uint32_t upper = c - 'a' + 'A', other = c == 's' ? 0x17F : c == 'k' ? 0x212A : c;
        if (!((c >= low && c <= high) || (upper >= low && upper <= high) || (other >= low && other <= high)))
          continue;
        for (uint32_t x : {c, upper, other}) set.ranges_.emplace_back(x, x);
      }
  }

  uint32_t number() {
    uint32_t n = 0;
    if (peek() < '0' || peek() > '9') fail("a number is missing");
    while (peek() >= '0' && peek() <= '9') {
      n = n * 10 + (take() - '0');
      if (n > 10000000) fail("a number is too large");
    }
    return n;
  }

  // True when the atom is one set, which a quantifier turns into a Run.
  bool atom() {
    if (accept('(')) {
      if (++depth_ > 32) fail("groups are nested too deeply");
      if (accept('?')) {
        if (accept('i')) {
          if (!accept(':')) fail("unknown group");
          const bool before = fold_;
          fold_ = true;
          alternation();
          fold_ = before;
          if (!accept(')')) fail("expected )");
          leave();
          return false;
        }
        if (accept('=') || peek() == '!') {
          bool negative = accept('!');
          uint32_t look = emit({negative ? Regex::Op::LookNot : Regex::Op::Look});
          alternation();
          emit({Regex::Op::Match});
          r_.code_[look].a = here();
          if (!accept(')')) fail("expected )");
          leave();
          return false;
        }
        if (!accept(':')) fail("unknown group");
      }
      alternation();
      if (!accept(')')) fail("expected )");
      leave();
      return false;
    }
    if (accept('$')) {
      emit({Regex::Op::End});
      return false;
    }
    for (char c : {'^', '.', '?', '*', '+', '{', '}', ']'})
      if (peek() == static_cast<uint32_t>(c)) fail(cat("a bare ", std::string(1, c)));
    CharSet set;
    if (accept('[')) {
      set.negated_ = accept('^');
      if (peek() == ']') fail("an empty set");
      while (!accept(']')) {
        uint32_t low = 0;
        if (peek() == '[') fail("a set within a set");
        if (peek() == '&' && at_ + 1 < p_.size() && code_point(p_[at_ + 1]) == '&') fail("&& in a set");
        if (!set_item(set, low)) continue;
        uint32_t high = low;
        if (peek() == '-' && at_ + 1 < p_.size() && code_point(p_[at_ + 1]) != ']') {
          ++at_;
          CharSet none;
          if (!set_item(none, high)) fail("a class ends a range");
        }
        set.ranges_.emplace_back(low, high);
      }
    } else {
      uint32_t c = 0;
      if (set_item(set, c)) set.ranges_.emplace_back(c, c);
    }
    if (fold_) fold(set);
    set.finish();
    r_.sets_.push_back(std::move(set));
    Regex::Inst i{Regex::Op::Set};
    i.set = static_cast<uint32_t>(r_.sets_.size() - 1);
    emit(i);
    return true;
  }

  // One character, or a class that is added to the set (false).
  bool set_item(CharSet& set, uint32_t& c) {
    c = take();
    if (c != '\\') return true;
    c = take();
    switch (c) {
      case 'n': c = '\n'; return true;
      case 'r': c = '\r'; return true;
      case 't': c = '\t'; return true;
      case 'x':
        if (!accept('{')) fail("expected {");
        for (c = 0; !accept('}');) {
          uint32_t d = take();
          const uint32_t v = d >= '0' && d <= '9'   ? d - '0'
                             : d >= 'A' && d <= 'F' ? d - 'A' + 10
                             : d >= 'a' && d <= 'f' ? d - 'a' + 10
                                                    : 16;
          if (v > 15 || c > 0x10FFFF) fail("a bad \\x{..}");
          c = c * 16 + v;
        }
        return true;
      case 's': set.space_ = true; return false;
      case 'S': set.not_space_ = true; return false;
      case 'w':
        set.categories_ |= category_mask("L") | category_mask("M") | category_mask("Nd") |
                           category_mask("Nl") | category_mask("Pc");
        // Symbols that are alphabetic: letters in circles and squares.
        for (auto [low, high] : {std::pair(0x24B6U, 0x24E9U), std::pair(0x1F130U, 0x1F149U),
                                 std::pair(0x1F150U, 0x1F169U), std::pair(0x1F170U, 0x1F189U)})
          set.ranges_.emplace_back(low, high);
        // Files' patterns are Oniguruma's, whose words hold Latin-1's numbers, too.
        if (of_file_)
          for (auto [low, high] : {std::pair(0xB2U, 0xB3U), std::pair(0xB9U, 0xB9U), std::pair(0xBCU, 0xBEU)})
            set.ranges_.emplace_back(low, high);
        return false;
      case 'f': c = '\f'; return true;
      case 'v': c = '\v'; return true;
      case 'd': set.categories_ |= category_mask("Nd"); return false;
      case 'p':
      case 'P': {
        bool negative = c == 'P';
        if (!accept('{')) fail("expected {");
        std::string name;
        while (!accept('}')) name.push_back(static_cast<char>(take()));
        (negative ? set.not_categories_ : set.categories_) |= category_mask(name);
        return false;
      }
      default:
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
          fail(cat("\\", std::string(1, static_cast<char>(c))));
        return true;
    }
  }

  bool fold_ = false;
  int depth_ = 0;
  Regex& r_;
  const bool of_file_;
  std::vector<Char> p_;
  size_t at_ = 0;
};

Regex::Regex(std::string_view pattern, bool of_file) {
  RegexParser(pattern, of_file, *this).parse();
  for (uint32_t c = 0; c < 128; ++c)
    for (size_t i = 0; i < alternatives_.size(); ++i) {
      std::vector<bool> seen(code_.size());
      if (can_start(alternatives_[i], classify(c), seen)) starts_[c] |= 1U << i;
    }
}

Regex Regex::of_file(std::string_view pattern) {
  const std::string shown(pattern.substr(0, 80));
  if (pattern.size() > 20000)
    throw Error(ErrorCode::BadTokenizer, cat("a pattern of ", pattern.size(), " bytes is too long"));
  try {
    Regex r(pattern, true);
    r.bounded_ = true;
    return r;
  } catch (const Error& e) {
    throw Error(ErrorCode::BadTokenizer, cat("the pattern \"", shown, "\" is not read: ", e.message()),
                "tokenizer.json");
  }
}

bool Regex::can_start(uint32_t pc, Char c, std::vector<bool>& seen) const {
  if (seen[pc]) return false;
  seen[pc] = true;
  const Inst& i = code_[pc];
  switch (i.op) {
    case Op::Set: return sets_[i.set].matches(c);
    case Op::Run: return sets_[i.set].matches(c) || (i.a == 0 && can_start(pc + 1, c, seen));
    case Op::Split: return can_start(i.a, c, seen) || can_start(i.b, c, seen);
    case Op::Jump:
    case Op::Look:
    case Op::LookNot: return can_start(i.a, c, seen);
    default: return true;
  }
}

size_t Regex::match(const Char* text, size_t pos, size_t end, Stack& stack) const {
  uint32_t p = code_point(text[pos]);
  uint32_t candidates = p < 128 && !(text[pos] & kCharRaw) ? starts_[p] : ~0U;
  // Set by what real patterns take: some steps a character.
  uint64_t steps = bounded_ ? 1000000 + 64 * static_cast<uint64_t>(end - pos) : ~uint64_t{0};
  for (size_t i = 0; i < alternatives_.size(); ++i) {
    if (!(candidates >> i & 1)) continue;
    size_t r = run(alternatives_[i], text, pos, end, stack, steps);
    if (r != npos) return r;
  }
  return npos;
}

size_t Regex::run(uint32_t pc, const Char* text, size_t pos, size_t end, Stack& stack,
                  uint64_t& steps) const {
  const size_t base = stack.size();
  for (;;) {
    const Inst& i = code_[pc];
    bool ok = true;
    if (steps-- == 0)
      throw Error(ErrorCode::BadTokenizer, "a pattern of the pre-tokenizer takes too many steps on this text",
                  "tokenizer.json");
    switch (i.op) {
      case Op::Set:
        ok = pos < end && sets_[i.set].matches(text[pos]);
        if (ok) ++pos, ++pc;
        break;
      case Op::Run: {
        const CharSet& set = sets_[i.set];
        size_t limit = i.b == kMany ? end : std::min(end, pos + i.b), p = pos;
        while (p < limit && set.matches(text[p])) ++p;
        ok = p - pos >= i.a;
        if (ok) {
          if (p - pos > i.a) stack.push_back({pc + 1, p - 1, pos + i.a});
          pos = p;
          ++pc;
        }
        break;
      }
      case Op::Split:
        stack.push_back({i.b, pos, pos});
        pc = i.a;
        break;
      case Op::Jump: pc = i.a; break;
      case Op::Look:
      case Op::LookNot:
        ok = (run(pc + 1, text, pos, end, stack, steps) != npos) == (i.op == Op::Look);
        if (ok) pc = i.a;
        break;
      case Op::End:
        ok = pos == end;
        if (ok) ++pc;
        break;
      case Op::Match: stack.resize(base); return pos;
    }
    if (ok) continue;
    if (stack.size() == base) return npos;
    State& s = stack.back();
    pc = s.pc;
    pos = s.pos;
    if (s.pos > s.low)
      --s.pos;
    else
      stack.pop_back();
  }
}

}  // namespace mc
