// The tree of a template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "jinja.h"

namespace mc::jinja {

enum class Kind : uint8_t {
  // statements
  Body,         // kids in order
  Text,         // text
  Print,        // kids[0]
  If,           // kids: condition, body, condition, body …, and a last body for else
  For,          // names: targets; kids: iterable, condition or null, body, else or null
  Set,          // names: one target, or several; text: the attribute of a namespace; kids[0]
  SetBlock,     // names[0], text; kids: body, then filters as Filter nodes without their input
  Macro,        // text: name; names: parameters; kids: body, then the last parameters' defaults
  CallBlock,    // names: parameters; kids: call, body, then defaults
  FilterBlock,  // kids: filter, body
  With,         // names; kids: body, then values
  Break,
  Continue,
  // expressions
  Const,      // value
  Name,       // text
  Attribute,  // kids[0], text
  Item,       // kids: of, key
  Slice,      // kids: of, from, to, step; null for none
  CallOf,     // kids: what, arguments; named
  Filter,     // text; kids: input, arguments; named
  Test,       // the same
  Minus,
  Plus,
  Not,
  And,
  Or,
  Binary,   // text: the operator
  Compare,  // names: operators; kids: one more
  IfElse,   // kids: then, condition, else or null
  ListOf,
  TupleOf,
  DictOf,  // kids: key, value, …
};

struct Node {
  Kind kind;
  int line = 0;
  std::string text = {};
  Value value = {};
  std::vector<std::unique_ptr<Node>> kids = {};
  std::vector<std::string> names = {};
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> named = {};
};
using NodePtr = std::unique_ptr<Node>;

struct Token {
  enum Type : uint8_t {
    Data,
    BlockBegin,
    BlockEnd,
    PrintBegin,
    PrintEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End
  };
  Type type;
  std::string text;
  int line;
};
// Throws Error(BadTemplate).
std::vector<Token> tokens_of(std::string_view source);
NodePtr parse(std::string_view source);
[[noreturn]] void bad_template(int line, const std::string& what);

}  // namespace mc::jinja
