#include "engine.h"

#include <memory>

#include "file.h"
#include "mc/array.h"
#include "mc/detail/str.h"
#include "mc/device.h"
#include "mc/error.h"
#include "mc/random.h"
#include "mc/sites.h"

namespace mc::tool {
namespace {

// --backend and --device as one "engine:device"; empty where neither is given.
std::string device_spec(const Args& args) {
  const std::string backend = args.text("backend"), device = args.text("device");
  if (!args.has("device")) return backend;
  const size_t colon = device.find(':');
  if (!args.has("backend")) {
    if (colon != std::string::npos) return device;
    const std::string chosen = device_name(default_device());
    return cat(chosen.substr(0, chosen.find(':')), ":", device);
  }
  if (backend.find(':') != std::string::npos)
    throw Error(ErrorCode::BackendConflict, cat("--backend ", backend, " names a device already"), "--device",
                "leave --device out");
  if (colon == std::string::npos) return cat(backend, ":", device);
  if (device.substr(0, colon) != backend)
    throw Error(ErrorCode::BackendConflict, cat("--backend is ", backend, " and --device is ", device),
                "--device", "name the same engine in both, or leave one of them out");
  return device;
}

}  // namespace

void warn_of_requantized(const std::vector<std::string>& formats) {
  if (!formats.empty())
    note(cat("warning: the weights are quantized already (", join(formats),
             "): converting them adds a second rounding to the first"));
}

Engine::Engine(const Args& args)
    : fast_(args.text("precision") == "fast"), dtype_name_(args.text("dtype", "f32")) {
  if (args.has("threads")) set_num_threads(static_cast<int>(args.integer("threads", 0)));
  if (args.has("backend") || args.has("device")) set_default_device(parse_device(device_spec(args)));
  random::seed(static_cast<uint64_t>(args.integer("seed", 0)));
  quantize_ = args.text("quantize");
  context_ = args.integer("context", 0);
  if (args.has("quantize")) parse_quantize(quantize_);  // refused before anything is loaded
  if (args.has("profile")) profile_start(args.text("profile"));
}

LoadOptions Engine::options() const {
  LoadOptions o;
  o.fast = fast_;
  o.dtype = dtype_name_ == "bf16" ? Dtype::BF16 : dtype_name_ == "f16" ? Dtype::F16 : Dtype::F32;
  o.context = context_;
  if (!quantize_.empty()) {
    o.quantize = parse_quantize(quantize_);
    o.quantize.scales = o.dtype;
  }
  return o;
}

std::shared_ptr<Model> Engine::load(const std::string& path) const {
  std::shared_ptr<Model> model = load_model(path, options());
  requantized_ = model->requantized();
  warn_of_requantized(requantized_);
  return model;
}

void Engine::describe(Value& result) const {
  const std::string device = device_name(default_device());
  result.set("backend", device.substr(0, device.find(':')))
      .set("device", device)
      .set("precision", precision())
      .set("dtype", dtype_name_);
  if (!quantize_.empty()) result.set("quantize", quantize_);
  if (!requantized_.empty()) result.set("requantized_from", Value::list_of(requantized_));
  if (context_) result.set("context", context_);
}

std::string Engine::str() const {
  return cat(device_name(default_device()), ", ", precision(), ", ", dtype_name_,
             quantize_.empty() ? "" : cat(", ", quantize_));
}

std::vector<int> layers_from(const Args& args, const char* otherwise, int64_t layers) {
  try {
    return parse_layers(args.text("layers", otherwise), layers);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::InvalidArgument) throw;
    usage_error(e.message(), "--layers", e.next());
  }
}

std::string text_or_file(const Args& args, const char* name, const char* file_name) {
  if (args.has(name) == args.has(file_name))
    usage_error(cat(args.has(name) ? "give only one of" : "give one of", " --", name, " and --", file_name),
                cat("mc ", args.command->name));
  if (args.has(name)) return args.text(name);
  return read_file(args.text(file_name));
}

}  // namespace mc::tool
