// What the extension's files about models share.
#pragma once

#include "common.h"
#include "mc/generate.h"
#include "mc/model.h"
#include "mc/sites.h"

namespace mcpy {

struct PyModel {
  std::shared_ptr<mc::Model> model;
  bool fast = false;
};

std::string text_of(nb::handle h);
inline nb::str str_of(const std::string& s) { return s.empty() ? nb::str("") : nb::str(s.c_str(), s.size()); }
std::vector<int32_t> ids_of(nb::handle h);
std::vector<std::vector<int32_t>> rows_of(nb::handle h);
// Lines as `mc --edit` takes them, and tuples (kind, sites, value, factor, positions, heads, keys); `tokens`
// of the text, -1: not known.
std::vector<mc::Edit> edits_of(const PyModel& m, nb::handle edits, int64_t tokens);
nb::dict plan_dict(const mc::MemoryPlan& plan);

}  // namespace mcpy
