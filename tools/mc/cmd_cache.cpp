#include <algorithm>

#include "commands.h"
#include "format.h"
#include "mc/cache.h"
#include "mc/detail/str.h"

namespace mc::tool {
namespace {

Value rows(const std::vector<CacheKind>& kinds) {
  Value list = Value::list();
  for (const CacheKind& k : kinds)
    list.push(Value::object()
                  .set("kind", k.name)
                  .set("folder", k.folder)
                  .set("files", k.files)
                  .set("bytes", k.bytes)
                  .set("hits", k.hits)
                  .set("misses", k.misses));
  return list;
}

int list(const Args& args) {
  const std::vector<CacheKind> kinds = cache_list();
  if (args.format != Format::Text) {
    write_result(
        args.format,
        Value::object().set("schema", "mc.cache/1").set("folder", cache_folder()).set("kinds", rows(kinds)));
    return kOk;
  }
  if (kinds.empty()) {
    const std::string folder = cache_folder();
    write_out(folder.empty() ? "there is no cache: set MODELCYPHER_CACHE or HOME\n"
                             : cat(folder, " is empty\n"));
  }
  for (const CacheKind& k : kinds) {
    std::string name = k.name;
    name.resize(std::max<size_t>(name.size() + 1, 8), ' ');
    write_out(cat(name, k.files, " files, ", show_bytes(static_cast<double>(k.bytes)),
                  k.hits + k.misses ? cat(", ", k.hits, " hits, ", k.misses, " misses") : "", ", in ",
                  k.folder, "\n"));
  }
  return kOk;
}

int clear(const Args& args) {
  const std::vector<CacheKind> removed = cache_remove(args.text("kind"));
  if (args.format != Format::Text) {
    write_result(args.format, Value::object().set("schema", "mc.cache/1").set("removed", rows(removed)));
    return kOk;
  }
  if (removed.empty()) write_out("nothing to clear\n");
  for (const CacheKind& k : removed)
    write_out(cat("removed ", k.files, " files, ", show_bytes(static_cast<double>(k.bytes)), ", of ", k.name,
                  "\n"));
  return kOk;
}

}  // namespace

Command cache_ls_command() {
  return {.name = "cache ls",
          .summary = "what engines keep on disk between runs: compiled programs and kernels",
          .notes =
              "The folder is $MODELCYPHER_CACHE/v1, else $XDG_CACHE_HOME/modelcypher/v1, else "
              "~/.cache/modelcypher/v1.\n",
          .examples = "  mc cache ls\n  mc cache ls --output json\n",
          .run = list};
}
Command cache_clear_command() {
  return {.name = "cache clear",
          .summary = "remove them",
          .options = {{"kind", Kind::Text, "NAME", "only this kind (as mc cache ls names it)"}},
          .examples = "  mc cache clear\n  mc cache clear --kind xla\n",
          .run = clear};
}
}  // namespace mc::tool
