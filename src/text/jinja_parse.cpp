// Templates to trees.
#include <algorithm>
#include <charconv>
#include <initializer_list>

#include "jinja_ast.h"
#include "mc/detail/str.h"

namespace mc::jinja {
namespace {

constexpr int kMaxDepth = 120;

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : t_(std::move(tokens)) {}

  NodePtr whole() {
    NodePtr body = statements({});
    if (now().type != Token::End) bad_template(now().line, cat("unexpected '", now().text, "'"));
    return body;
  }

 private:
  using Names = std::initializer_list<std::string_view>;
  struct Deeper {
    explicit Deeper(Parser& p) : p_(p) {
      if (++p_.depth_ > kMaxDepth) bad_template(p_.now().line, "it nests too deeply");
    }
    ~Deeper() { --p_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    Parser& p_;
  };

  const Token& now() const { return t_[at_]; }
  const Token& ahead(size_t n) const { return t_[std::min(at_ + n, t_.size() - 1)]; }
  bool is(std::string_view op) const { return now().type == Token::Operator && now().text == op; }
  bool word(std::string_view name) const { return now().type == Token::Name && now().text == name; }
  bool accept(std::string_view op) { return is(op) && ++at_; }
  bool accept_word(std::string_view name) { return word(name) && ++at_; }
  [[noreturn]] void unexpected(std::string_view wanted) const {
    const Token& t = now();
    const std::string got = t.type == Token::End || t.type == Token::BlockEnd || t.type == Token::PrintEnd
                                ? "the end of the tag"
                                : cat("'", t.text, "'");
    bad_template(t.line, cat("expected ", wanted, ", got ", got));
  }
  void need(std::string_view op) {
    if (!accept(op)) unexpected(cat("'", op, "'"));
  }
  std::string name() {
    if (now().type != Token::Name) unexpected("a name");
    return t_[at_++].text;
  }
  void end_block() {
    if (now().type != Token::BlockEnd) unexpected("'%}'");
    ++at_;
  }
  NodePtr make(Kind k) const { return std::unique_ptr<Node>(new Node{k, now().line}); }

  // ---- statements

  // Up to a tag with one of these names, whose name is the next token.
  NodePtr statements(Names ends) {
    Deeper deeper(*this);
    NodePtr body = make(Kind::Body);
    for (;;) {
      const Token& t = now();
      if (t.type == Token::End) {
        if (ends.size() == 0) return body;
        bad_template(t.line, cat("unexpected end of template, expected '", *ends.begin(), "'"));
      }
      if (t.type == Token::Data) {
        NodePtr n = make(Kind::Text);
        n->text = t.text;
        ++at_;
        body->kids.push_back(std::move(n));
      } else if (t.type == Token::PrintBegin) {
        ++at_;
        NodePtr n = make(Kind::Print);
        n->kids.push_back(tuple(true));
        if (now().type != Token::PrintEnd) unexpected("'}}'");
        ++at_;
        body->kids.push_back(std::move(n));
      } else {
        ++at_;  // {%
        if (now().type != Token::Name) unexpected("the name of a tag");
        if (std::find(ends.begin(), ends.end(), now().text) != ends.end()) return body;
        body->kids.push_back(statement());
      }
    }
  }
  // The body up to the tag that ends it, which is taken.
  NodePtr body_until(std::string_view end) {
    end_block();
    NodePtr b = statements({end});
    ++at_;
    end_block();
    return b;
  }

  NodePtr statement() {
    const int line = now().line;
    const std::string tag = name();
    if (tag == "if") return if_();
    if (tag == "for") return for_();
    if (tag == "set") return set();
    if (tag == "macro") return macro();
    if (tag == "call") return call_block();
    if (tag == "filter") return filter_block();
    if (tag == "with") return with();
    if (tag == "generation") return body_until("endgeneration");
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) bad_template(line, cat("'", tag, "' outside of a loop"));
      NodePtr n = make(tag == "break" ? Kind::Break : Kind::Continue);
      end_block();
      return n;
    }
    for (std::string_view known :
         {"include", "import", "from", "extends", "block", "autoescape", "trans", "do", "debug"})
      if (tag == known) bad_template(line, cat("the tag '", tag, "' is not supported in chat templates"));
    bad_template(line, cat("unknown tag '", tag.substr(0, 60), "'"));
  }

  NodePtr if_() {
    NodePtr n = make(Kind::If);
    for (;;) {
      n->kids.push_back(tuple(false));
      end_block();
      n->kids.push_back(statements({"elif", "else", "endif"}));
      const std::string tag = name();
      if (tag == "elif") continue;
      if (tag == "else") {
        end_block();
        n->kids.push_back(statements({"endif"}));
        ++at_;
      }
      end_block();
      return n;
    }
  }

  std::vector<std::string> targets() {
    std::vector<std::string> out;
    const bool open = accept("(");
    do {
      if (open && is(")")) break;
      if (!out.empty() && now().type != Token::Name) break;
      out.push_back(name());
      if (is(".")) return out;
    } while (accept(","));
    if (open) need(")");
    static constexpr std::string_view kReserved[] = {"true", "false", "none", "True", "False", "None"};
    for (const std::string& x : out)
      if (std::find(std::begin(kReserved), std::end(kReserved), x) != std::end(kReserved))
        bad_template(now().line, cat("can't assign to '", x, "'"));
    return out;
  }

  NodePtr for_() {
    NodePtr n = make(Kind::For);
    n->names = targets();
    if (!accept_word("in")) unexpected("'in'");
    n->kids.push_back(tuple(false));
    n->kids.push_back(accept_word("if") ? expression() : nullptr);
    if (word("recursive")) bad_template(now().line, "a recursive loop is not supported in chat templates");
    end_block();
    ++loops_;
    n->kids.push_back(statements({"else", "endfor"}));
    --loops_;
    if (name() == "else") {
      end_block();
      n->kids.push_back(statements({"endfor"}));
      ++at_;
    } else {
      n->kids.push_back(nullptr);
    }
    end_block();
    return n;
  }

  NodePtr set() {
    NodePtr n = make(Kind::Set);
    n->names = targets();
    if (accept(".")) n->text = name();
    if (accept("=")) {
      n->kids.push_back(tuple(true));
      end_block();
      return n;
    }
    n->kind = Kind::SetBlock;
    if (n->names.size() != 1) unexpected("'='");
    std::vector<NodePtr> filters;
    while (accept("|")) filters.push_back(filter(nullptr));
    n->kids.push_back(body_until("endset"));
    for (NodePtr& f : filters) n->kids.push_back(std::move(f));
    return n;
  }

  void parameters(Node& n, std::vector<NodePtr>& defaults) {
    need("(");
    while (!is(")")) {
      n.names.push_back(name());
      if (accept("="))
        defaults.push_back(expression());
      else if (!defaults.empty())
        bad_template(now().line, "a parameter without default follows one with it");
      if (!accept(",")) break;
    }
    need(")");
  }

  NodePtr macro() {
    NodePtr n = make(Kind::Macro);
    n->text = name();
    std::vector<NodePtr> defaults;
    parameters(*n, defaults);
    const int loops = std::exchange(loops_, 0);
    n->kids.push_back(body_until("endmacro"));
    loops_ = loops;
    for (NodePtr& d : defaults) n->kids.push_back(std::move(d));
    return n;
  }

  NodePtr call_block() {
    NodePtr n = make(Kind::CallBlock);
    std::vector<NodePtr> defaults;
    if (is("(")) parameters(*n, defaults);
    NodePtr call = expression();
    if (call->kind != Kind::CallOf) bad_template(n->line, "expected a call");
    const int loops = std::exchange(loops_, 0);
    NodePtr body = body_until("endcall");
    loops_ = loops;
    n->kids.push_back(std::move(call));
    n->kids.push_back(std::move(body));
    for (NodePtr& d : defaults) n->kids.push_back(std::move(d));
    return n;
  }

  NodePtr filter_block() {
    NodePtr n = make(Kind::FilterBlock);
    NodePtr f = filter(nullptr);
    while (accept("|")) f = filter(std::move(f));
    n->kids.push_back(std::move(f));
    n->kids.push_back(body_until("endfilter"));
    return n;
  }

  NodePtr with() {
    NodePtr n = make(Kind::With);
    std::vector<NodePtr> values;
    while (now().type == Token::Name) {
      n->names.push_back(name());
      need("=");
      values.push_back(expression());
      if (!accept(",")) break;
    }
    n->kids.push_back(body_until("endwith"));
    for (NodePtr& v : values) n->kids.push_back(std::move(v));
    return n;
  }

  // ---- expressions, loosest first

  // One or more apart by commas: several are a tuple. `inline_if`: "a if b" belongs to it.
  NodePtr tuple(bool inline_if) {
    NodePtr first = inline_if ? expression() : or_();
    if (!is(",")) return first;
    NodePtr n = make(Kind::TupleOf);
    n->kids.push_back(std::move(first));
    while (accept(",")) {
      if (now().type == Token::PrintEnd || now().type == Token::BlockEnd || is(")")) break;
      n->kids.push_back(inline_if ? expression() : or_());
    }
    return n;
  }

  NodePtr expression() {
    Deeper deeper(*this);
    NodePtr e = or_();
    while (accept_word("if")) {
      NodePtr n = make(Kind::IfElse);
      n->kids.push_back(std::move(e));
      n->kids.push_back(or_());
      n->kids.push_back(accept_word("else") ? expression() : nullptr);
      e = std::move(n);
    }
    return e;
  }
  NodePtr two(Kind k, NodePtr a, NodePtr b, std::string op = {}) {
    NodePtr n = make(k);
    n->text = std::move(op);
    n->kids.push_back(std::move(a));
    n->kids.push_back(std::move(b));
    return n;
  }
  NodePtr or_() {
    NodePtr e = and_();
    while (accept_word("or")) e = two(Kind::Or, std::move(e), and_());
    return e;
  }
  NodePtr and_() {
    NodePtr e = not_();
    while (accept_word("and")) e = two(Kind::And, std::move(e), not_());
    return e;
  }
  NodePtr not_() {
    if (word("not") && !(ahead(1).type == Token::Name && ahead(1).text == "in")) {
      Deeper deeper(*this);
      ++at_;
      NodePtr n = make(Kind::Not);
      n->kids.push_back(not_());
      return n;
    }
    return compare();
  }
  NodePtr compare() {
    NodePtr first = sum(), n;
    for (;;) {
      std::string op;
      for (std::string_view o : {"==", "!=", "<", "<=", ">", ">="})
        if (is(o)) op = o;
      if (!op.empty()) {
        ++at_;
      } else if (accept_word("in")) {
        op = "in";
      } else if (word("not") && ahead(1).type == Token::Name && ahead(1).text == "in") {
        at_ += 2;
        op = "not in";
      } else {
        return n ? std::move(n) : std::move(first);
      }
      if (!n) {
        n = make(Kind::Compare);
        n->kids.push_back(std::move(first));
      }
      n->names.push_back(op);
      n->kids.push_back(sum());
    }
  }
  NodePtr sum() {
    NodePtr e = joined();
    while (is("+") || is("-")) {
      std::string op = t_[at_++].text;
      e = two(Kind::Binary, std::move(e), joined(), op);
    }
    return e;
  }
  NodePtr joined() {
    NodePtr e = product();
    while (accept("~")) e = two(Kind::Binary, std::move(e), product(), "~");
    return e;
  }
  NodePtr product() {
    NodePtr e = power();
    while (is("*") || is("/") || is("//") || is("%")) {
      std::string op = t_[at_++].text;
      e = two(Kind::Binary, std::move(e), power(), op);
    }
    return e;
  }
  NodePtr power() {
    NodePtr e = unary(true);
    while (accept("**")) e = two(Kind::Binary, std::move(e), unary(true), "**");
    return e;
  }
  NodePtr unary(bool filters) {
    Deeper deeper(*this);
    NodePtr e;
    if (is("-") || is("+")) {
      e = make(is("-") ? Kind::Minus : Kind::Plus);
      ++at_;
      e->kids.push_back(unary(false));
    } else {
      e = primary();
    }
    e = postfix(std::move(e));
    return filters ? filtered(std::move(e)) : std::move(e);
  }

  NodePtr constant(Value v) {
    NodePtr n = make(Kind::Const);
    n->value = std::move(v);
    return n;
  }

  NodePtr primary() {
    const Token t = now();
    ++at_;
    switch (t.type) {
      case Token::Name: {
        if (t.text == "true" || t.text == "True") return constant(Value::of(true));
        if (t.text == "false" || t.text == "False") return constant(Value::of(false));
        if (t.text == "none" || t.text == "None") return constant(Value::none());
        --at_;
        NodePtr n = make(Kind::Name);
        ++at_;
        n->text = t.text;
        return n;
      }
      case Token::String: {
        std::string s = t.text;
        while (now().type == Token::String) s += t_[at_++].text;
        return constant(Value::of(std::move(s)));
      }
      case Token::Integer: {
        int64_t i = 0;
        const auto r = std::from_chars(t.text.data(), t.text.data() + t.text.size(), i);
        if (r.ec != std::errc()) bad_template(t.line, "an integer is too large");
        return constant(Value::of(i));
      }
      case Token::Float: return constant(Value::of(std::strtod(t.text.c_str(), nullptr)));
      case Token::Operator:
        if (t.text == "(") return parenthesis();
        if (t.text == "[") return list();
        if (t.text == "{") return dict();
        break;
      default: break;
    }
    --at_;
    unexpected("an expression");
  }

  NodePtr parenthesis() {
    NodePtr n = make(Kind::TupleOf);
    if (accept(")")) return n;
    NodePtr first = expression();
    if (accept(")")) return first;
    n->kids.push_back(std::move(first));
    while (accept(",")) {
      if (is(")")) break;
      n->kids.push_back(expression());
    }
    need(")");
    return n;
  }
  NodePtr list() {
    NodePtr n = make(Kind::ListOf);
    while (!is("]")) {
      n->kids.push_back(expression());
      if (!accept(",")) break;
    }
    need("]");
    return n;
  }
  NodePtr dict() {
    NodePtr n = make(Kind::DictOf);
    while (!is("}")) {
      n->kids.push_back(expression());
      need(":");
      n->kids.push_back(expression());
      if (!accept(",")) break;
    }
    need("}");
    return n;
  }

  NodePtr postfix(NodePtr e) {
    for (;;) {
      if (accept(".")) {
        NodePtr n = make(Kind::Attribute);
        if (now().type == Token::Integer) {
          n->kind = Kind::Item;
          n->kids.push_back(std::move(e));
          n->kids.push_back(primary());
        } else {
          n->text = name();
          n->kids.push_back(std::move(e));
        }
        e = std::move(n);
      } else if (accept("[")) {
        e = subscript(std::move(e));
      } else if (is("(")) {
        e = call(std::move(e));
      } else {
        return e;
      }
    }
  }

  NodePtr subscript(NodePtr of) {
    NodePtr n = make(Kind::Slice), parts[3];
    int colons = 0;
    while (!is("]")) {
      if (accept(":")) {
        if (++colons > 2) unexpected("']'");
        continue;
      }
      if (parts[colons]) break;
      parts[colons] = expression();
    }
    if (is(",")) bad_template(now().line, "a subscript of several indices is not supported");
    need("]");
    n->kids.push_back(std::move(of));
    if (colons == 0) {
      if (!parts[0]) bad_template(n->line, "expected a subscript");
      n->kind = Kind::Item;
      n->kids.push_back(std::move(parts[0]));
    } else {
      for (NodePtr& p : parts) n->kids.push_back(std::move(p));
    }
    return n;
  }

  void arguments(Node& n) {
    need("(");
    while (!is(")")) {
      if (is("*") || is("**"))
        bad_template(now().line, cat("'", now().text, "' before an argument is not supported"));
      if (now().type == Token::Name && ahead(1).type == Token::Operator && ahead(1).text == "=") {
        std::string key = name();
        ++at_;
        n.named.emplace_back(std::move(key), expression());
      } else {
        if (!n.named.empty()) bad_template(now().line, "a positional argument follows a named one");
        n.kids.push_back(expression());
      }
      if (!accept(",")) break;
    }
    need(")");
  }
  NodePtr call(NodePtr what) {
    NodePtr n = make(Kind::CallOf);
    n->kids.push_back(std::move(what));
    arguments(*n);
    return n;
  }

  std::string dotted() {
    std::string s = name();
    while (accept(".")) s += "." + name();
    return s;
  }
  NodePtr filter(NodePtr input) {
    NodePtr n = make(Kind::Filter);
    n->text = dotted();
    if (!has_filter(n->text)) bad_template(n->line, cat("no filter named '", n->text.substr(0, 60), "'"));
    n->kids.push_back(std::move(input));
    if (is("(")) arguments(*n);
    return n;
  }
  NodePtr filtered(NodePtr e) {
    for (;;) {
      if (accept("|")) {
        e = filter(std::move(e));
      } else if (accept_word("is")) {
        e = test(std::move(e));
      } else if (is("(")) {
        e = call(std::move(e));
      } else {
        return e;
      }
    }
  }
  NodePtr test(NodePtr input) {
    NodePtr n = make(Kind::Test);
    const bool negated = accept_word("not");
    n->text = dotted();
    if (!has_test(n->text)) bad_template(n->line, cat("no test named '", n->text.substr(0, 60), "'"));
    n->kids.push_back(std::move(input));
    const Token& t = now();
    if (is("(")) {
      arguments(*n);
    } else if ((t.type == Token::Name && t.text != "else" && t.text != "or" && t.text != "and") ||
               t.type == Token::String || t.type == Token::Integer || t.type == Token::Float || is("[") ||
               is("{")) {
      if (word("is")) bad_template(t.line, "You cannot chain multiple tests with is");
      n->kids.push_back(postfix(primary()));
    }
    if (!negated) return n;
    NodePtr no = make(Kind::Not);
    no->kids.push_back(std::move(n));
    return no;
  }

  std::vector<Token> t_;
  size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
};

}  // namespace

NodePtr parse(std::string_view source) { return Parser(tokens_of(source)).whole(); }

}  // namespace mc::jinja
