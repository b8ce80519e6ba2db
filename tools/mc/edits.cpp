#include "edits.h"

#include "mc/edits.h"

namespace mc::tool {

const Option kEdit = {
    "edit", Kind::Text, "SPEC", "write inside the model: KIND SITES [VALUE] [KEY=…], see below", 0, 0, true};
const Option kEditsFile = {"edits", Kind::Text, "FILE", "the same from a JSON file, a list of objects"};
const char* const kEditNotes =
    "An edit is written at each pass of the model (docs/sites.md). KIND is replace, scale, project-out or "
    "add. VALUE is a "
    "number,\nFILE.npy, FILE.safetensors#TENSOR, or a folder of `mc probe capture` with prompt=N, row=N or "
    "row=mean. "
    "factor=X multiplies;\npositions=0-3,-1, heads=2 and keys=0 choose where. Several edits of one site "
    "apply in their "
    "order.\n";

std::vector<Edit> edits_from(const Args& args, const Model& model, int64_t tokens) {
  std::vector<Edit> out;
  const int64_t layers = model.config().layers;
  for (const std::string& spec : args.all("edit"))
    for (Edit& e : parse_edit(spec, layers, tokens)) out.push_back(std::move(e));
  if (args.has("edits"))
    for (Edit& e : read_edits(args.text("edits"), layers, tokens)) out.push_back(std::move(e));
  return out;
}

void describe_edits(Value& result, const std::vector<Edit>& edits) {
  if (edits.empty()) return;
  Value notes = Value::list();
  for (const Edit& e : edits) notes.push(edit_note(e));
  result.set("edits", std::move(notes));
}

}  // namespace mc::tool
