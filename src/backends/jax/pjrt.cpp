#include "backends/jax/pjrt.h"

#include <dlfcn.h>

#include <cstring>
#include <filesystem>

#include "mc/detail/str.h"

namespace mc::jax_engine {
namespace {

namespace fs = std::filesystem;

constexpr int kOldest = 54;  // the minor version whose slots and structs this engine was seen working with

size_t offset_in_api(const PJRT_Api& api, const void* slot) {
  return static_cast<size_t>(static_cast<const char*>(slot) - reinterpret_cast<const char*>(&api));
}

// A name that the plugin lacks; null if all are there.
const char* missing_slot(const PJRT_Api& api) {
#define MC_PJRT_CHECK(Name) \
  if (offset_in_api(api, &api.Name) + sizeof(void*) > api.struct_size || !api.Name) return #Name;
  MC_PJRT_CHECK(PJRT_Error_Destroy)
  MC_PJRT_CHECK(PJRT_Error_Message)
  MC_PJRT_CHECK(PJRT_Error_GetCode)
  MC_PJRT_SLOTS(MC_PJRT_CHECK)
#undef MC_PJRT_CHECK
  return nullptr;
}

ErrorCode code_of(PJRT_Error_Code code) {
  switch (code) {
    case PJRT_Error_Code_RESOURCE_EXHAUSTED: return ErrorCode::OutOfMemory;
    case PJRT_Error_Code_INVALID_ARGUMENT:
    case PJRT_Error_Code_UNIMPLEMENTED: return ErrorCode::UnsupportedOp;
    case PJRT_Error_Code_UNAVAILABLE:
    case PJRT_Error_Code_NOT_FOUND: return ErrorCode::DeviceUnavailable;
    default: return ErrorCode::Internal;
  }
}

std::string attributes_of(const PJRT_Api& api) {
  PJRT_Plugin_Attributes_Args args{};
  call(api, args, "jax");
  std::string out;
  for (size_t i = 0; i < args.num_attributes; ++i) {
    const PJRT_NamedValue& v = args.attributes[i];
    std::string value;
    if (v.type == PJRT_NamedValue_kInt64) value = cat(v.int64_value);
    if (v.type == PJRT_NamedValue_kInt64List)
      for (size_t k = 0; k < v.value_size; ++k) value += cat(k ? "." : "", v.int64_array_value[k]);
    if (v.type == PJRT_NamedValue_kString) value = std::string(v.string_value, v.value_size);
    if (!value.empty())
      out += cat(out.empty() ? "" : ", ", std::string_view(v.name, v.name_size), " ", value);
  }
  return out;
}

// --- protocol buffers, as far as CompileOptionsProto needs them

void varint(std::string& out, uint64_t v) {
  while (v >= 0x80) {
    out.push_back(static_cast<char>(v | 0x80));
    v >>= 7;
  }
  out.push_back(static_cast<char>(v));
}
void number(std::string& out, int field, uint64_t v) {
  varint(out, static_cast<uint64_t>(field) << 3);
  varint(out, v);
}
void bytes(std::string& out, int field, std::string_view v) {
  varint(out, static_cast<uint64_t>(field) << 3 | 2);
  varint(out, v.size());
  out.append(v);
}
// An entry of env_option_overrides: a field of XLA's debug options by name.
void flag(std::string& out, std::string_view name, int kind, uint64_t v) {
  std::string value, entry;
  number(value, kind, v);
  bytes(entry, 1, name);
  bytes(entry, 2, value);
  bytes(out, 7, entry);
}
void flag(std::string& out, std::string_view name, std::string_view text) {
  std::string value, entry;
  bytes(value, 1, text);
  bytes(entry, 1, name);
  bytes(entry, 2, value);
  bytes(out, 7, entry);
}
constexpr int kBool = 2;
constexpr int kInt = 3;

}  // namespace

void missing(const std::string& why, const std::string& fix) {
  throw Error(ErrorCode::BackendMissing, cat("jax is required for the JAX backend: ", why), {}, fix);
}

std::string take_message(const PJRT_Api& api, PJRT_Error* error, PJRT_Error_Code* code) {
  PJRT_Error_Message_Args m{};
  m.struct_size = PJRT_Error_Message_Args_STRUCT_SIZE;
  m.error = error;
  api.PJRT_Error_Message(&m);
  std::string text(m.message, m.message_size);
  PJRT_Error_GetCode_Args c{};
  c.struct_size = PJRT_Error_GetCode_Args_STRUCT_SIZE;
  c.error = error;
  *code = PJRT_Error_Code_UNKNOWN;
  if (PJRT_Error* worse = api.PJRT_Error_GetCode(&c)) {
    PJRT_Error_Destroy_Args d{};
    d.struct_size = PJRT_Error_Destroy_Args_STRUCT_SIZE;
    d.error = worse;
    api.PJRT_Error_Destroy(&d);
  } else {
    *code = c.code;
  }
  PJRT_Error_Destroy_Args d{};
  d.struct_size = PJRT_Error_Destroy_Args_STRUCT_SIZE;
  d.error = error;
  api.PJRT_Error_Destroy(&d);
  return text;
}

void throw_error(const PJRT_Api& api, PJRT_Error* error, std::string_view where) {
  PJRT_Error_Code code;
  std::string text = take_message(api, error, &code);
  if (text.size() > 2000) text = text.substr(0, 2000) + " …";
  throw Error(code_of(code), cat("XLA: ", text), std::string(where));
}

void await(const PJRT_Api& api, const Event& event, std::string_view where) {
  PJRT_Event_Await_Args args{};
  args.event = event.get();
  call(api, args, where);
}

Plugin open_plugin(const std::string& path, bool initialize) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* error = dlerror();
    missing(cat(path, " can't be loaded: ", error ? error : "no reason given"),
            "install the plugin again, or set MODELCYPHER_PJRT_PLUGIN to another one");
  }
  const auto get = reinterpret_cast<const PJRT_Api* (*)()>(dlsym(library, "GetPjrtApi"));
  if (!get)
    missing(cat(path, " is no PJRT plugin: it has no GetPjrtApi"),
            "set MODELCYPHER_PJRT_PLUGIN to a plugin's library");
  const PJRT_Api* api = get();
  const char* fix = "install a plugin that this engine knows: pip install lammps-jax-pjrt-cpu==0.11.2";
  if (!api || api->struct_size < offsetof(PJRT_Api, PJRT_Error_Destroy))
    missing(cat(path, " gives no table of functions"), fix);
  Plugin p;
  p.api = api;
  p.path = path;
  p.major = api->pjrt_api_version.major_version;
  p.minor = api->pjrt_api_version.minor_version;
  if (p.major != PJRT_API_MAJOR || p.minor < kOldest)
    missing(cat(path, " speaks PJRT ", p.major, ".", p.minor, ", this engine ", PJRT_API_MAJOR, ".", kOldest,
                " and later of ", PJRT_API_MAJOR),
            fix);
  if (const char* name = missing_slot(*api)) missing(cat(path, " has no ", name), fix);
  if (!initialize) return p;
  try {
    PJRT_Plugin_Initialize_Args args{};
    call(*api, args, "jax");
    p.attributes = attributes_of(*api);
  } catch (const Error& e) {
    missing(cat(path, " does not start: ", e.message()), fix);
  }
  std::error_code ignored;
  p.id = cat(fs::file_size(path, ignored), " ", fs::last_write_time(path, ignored).time_since_epoch().count(),
             " ", p.attributes);
  return p;
}

PJRT_Buffer_Type buffer_type(Dtype d) {
  switch (d) {
    case Dtype::Bool: return PJRT_Buffer_Type_PRED;
    case Dtype::U8: return PJRT_Buffer_Type_U8;
    case Dtype::U16: return PJRT_Buffer_Type_U16;
    case Dtype::U32: return PJRT_Buffer_Type_U32;
    case Dtype::U64: return PJRT_Buffer_Type_U64;
    case Dtype::I8: return PJRT_Buffer_Type_S8;
    case Dtype::I16: return PJRT_Buffer_Type_S16;
    case Dtype::I32: return PJRT_Buffer_Type_S32;
    case Dtype::I64: return PJRT_Buffer_Type_S64;
    case Dtype::F16: return PJRT_Buffer_Type_F16;
    case Dtype::BF16: return PJRT_Buffer_Type_BF16;
    case Dtype::F32: return PJRT_Buffer_Type_F32;
    case Dtype::F64: return PJRT_Buffer_Type_F64;
    case Dtype::C64: return PJRT_Buffer_Type_C64;
    case Dtype::C128: return PJRT_Buffer_Type_C128;
  }
  return PJRT_Buffer_Type_INVALID;
}

Client::Client(Plugin plugin, bool gpu) : plugin_(std::move(plugin)) {
  // A GPU's allocator would take three quarters of its memory at once.
  PJRT_NamedValue options[2] = {};
  options[0].struct_size = options[1].struct_size = PJRT_NamedValue_STRUCT_SIZE;
  options[0].name = "preallocate";
  options[0].name_size = std::strlen(options[0].name);
  options[0].type = PJRT_NamedValue_kBool;
  options[0].bool_value = false;
  options[0].value_size = 1;
  options[1].name = "memory_fraction";
  options[1].name_size = std::strlen(options[1].name);
  options[1].type = PJRT_NamedValue_kFloat;
  options[1].float_value = 0.9F;
  options[1].value_size = 1;
  PJRT_Client_Create_Args args{};
  args.create_options = options;
  args.num_options = gpu ? 2 : 0;
  call(api(), args, "jax");
  client_ = args.client;

  PJRT_Client_PlatformName_Args name{};
  name.client = client_;
  call(api(), name, "jax");
  platform_.assign(name.platform_name, name.platform_name_size);
  PJRT_Client_PlatformVersion_Args version{};
  version.client = client_;
  call(api(), version, "jax");
  version_.assign(version.platform_version, version.platform_version_size);
  kind_ = platform_ == "cpu" || platform_ == "tpu" ? platform_ : "gpu";

  // The compiler's own tools, in the packages beside the plugin (FOLDER/jax_plugins/NAME/plugin.so).
  if (kind_ == "gpu") {
    const fs::path folder = fs::path(plugin_.path).parent_path().parent_path().parent_path() / "nvidia/cu13";
    std::error_code ignored;
    if (fs::is_directory(folder / "nvvm", ignored)) gpu_tools_ = folder.string();
  }

  PJRT_Client_AddressableDevices_Args list{};
  list.client = client_;
  call(api(), list, "jax");
  for (size_t i = 0; i < list.num_addressable_devices; ++i) {
    PJRT_Device* device = list.addressable_devices[i];
    PJRT_Device_GetDescription_Args d{};
    d.device = device;
    call(api(), d, "jax");
    PJRT_DeviceDescription_Id_Args id{};
    id.device_description = d.device_description;
    call(api(), id, "jax");
    devices_.push_back(device);
    ids_.push_back(id.id);
  }
  if (devices_.empty()) throw Error(ErrorCode::DeviceUnavailable, "the plugin has no device", "jax");
}

std::string Client::device_text(int device) const {
  PJRT_Device_GetDescription_Args d{};
  d.device = devices_[static_cast<size_t>(device)];
  call(api(), d, "jax");
  PJRT_DeviceDescription_Kind_Args k{};
  k.device_description = d.device_description;
  call(api(), k, "jax");
  return {k.device_kind, k.device_kind_size};
}

bool Client::memory_stats(int device, PJRT_Device_MemoryStats_Args& args) const {
  args = {};
  args.struct_size = PJRT_Device_MemoryStats_Args_STRUCT_SIZE;
  args.device = devices_[static_cast<size_t>(device)];
  PJRT_Error* error = api().PJRT_Device_MemoryStats(&args);
  if (!error) return true;
  PJRT_Error_Code code;
  take_message(api(), error, &code);
  return false;
}

size_t Client::device_memory(int device) const {
  PJRT_Device_MemoryStats_Args args;
  return memory_stats(device, args) && args.bytes_limit_is_set ? static_cast<size_t>(args.bytes_limit) : 0;
}

std::string Client::compile_options(int device) const {
  std::string assignment, ids, build, out;
  varint(ids, static_cast<uint64_t>(ids_[static_cast<size_t>(device)]));
  std::string computation;
  bytes(computation, 1, ids);
  number(assignment, 1, 1);
  number(assignment, 2, 1);
  bytes(assignment, 3, computation);
  number(build, 1, static_cast<uint64_t>(ids_[static_cast<size_t>(device)]));
  number(build, 4, 1);
  number(build, 5, 1);
  bytes(build, 9, assignment);
  bytes(out, 3, build);
  // Rounding to 16 bits is part of the program: it is not taken out.
  flag(out, "xla_allow_excess_precision", kBool, 0);
  if (on_host()) {
    flag(out, "xla_cpu_enable_fast_math", kBool, 0);
    flag(out, "xla_cpu_enable_fast_min_max", kBool, 0);
    flag(out, "xla_cpu_parallel_codegen_split_count", kInt, 2);
  } else if (kind_ == "gpu") {
    // The same program gives the same bits each time.
    flag(out, "xla_gpu_exclude_nondeterministic_ops", kBool, 1);
    if (!gpu_tools_.empty()) flag(out, "xla_gpu_cuda_data_dir", gpu_tools_);
  }
  return out;
}

Loaded Client::compile(const std::string& program, int device) const {
  const std::string options = compile_options(device);
  PJRT_Program p{};
  p.struct_size = PJRT_Program_STRUCT_SIZE;
  p.code = const_cast<char*>(program.data());
  p.code_size = program.size();
  p.format = "mlir";
  p.format_size = 4;
  PJRT_Client_Compile_Args args{};
  args.client = client_;
  args.program = &p;
  args.compile_options = options.data();
  args.compile_options_size = options.size();
  call(api(), args, "jax");
  return {&api(), args.executable};
}

Loaded Client::load(std::span<const char> serialized) const {
  PJRT_Executable_DeserializeAndLoad_Args args{};
  args.client = client_;
  args.serialized_executable = serialized.data();
  args.serialized_executable_size = serialized.size();
  call(api(), args, "jax");
  return {&api(), args.loaded_executable};
}

Unloaded Client::executable_of(const Loaded& exe) const {
  PJRT_LoadedExecutable_GetExecutable_Args args{};
  args.loaded_executable = exe.get();
  call(api(), args, "jax");
  return {&api(), args.executable};
}

std::string Client::serialize(const Loaded& exe) const {
  const Unloaded e = executable_of(exe);
  PJRT_Executable_Serialize_Args args{};
  args.executable = e.get();
  call(api(), args, "jax");
  std::string out(args.serialized_bytes, args.serialized_bytes_size);
  args.serialized_executable_deleter(args.serialized_executable);
  return out;
}

size_t Client::output_count(const Loaded& exe) const {
  const Unloaded e = executable_of(exe);
  PJRT_Executable_NumOutputs_Args args{};
  args.executable = e.get();
  call(api(), args, "jax");
  return args.num_outputs;
}

CompiledBytes Client::bytes_of(const Loaded& exe) const {
  const Unloaded e = executable_of(exe);
  PJRT_Executable_GetCompiledMemoryStats_Args args{};
  args.executable = e.get();
  args.struct_size = PJRT_Executable_GetCompiledMemoryStats_Args_STRUCT_SIZE;
  if (PJRT_Error* error = api().PJRT_Executable_GetCompiledMemoryStats(&args)) {
    PJRT_Error_Code code;
    take_message(api(), error, &code);
    return {};
  }
  return {static_cast<size_t>(args.temp_size_in_bytes),
          static_cast<size_t>(args.generated_code_size_in_bytes)};
}

DeviceBuffer Client::from_host(const void* data, const Shape& shape, Dtype dtype, int device,
                               bool zero_copy) const {
  static const char nothing[64] = {};
  PJRT_Client_BufferFromHostBuffer_Args args{};
  args.client = client_;
  args.data = data ? data : nothing;
  args.type = buffer_type(dtype);
  args.dims = shape.begin();
  args.num_dims = static_cast<size_t>(shape.ndim());
  args.host_buffer_semantics = zero_copy ? PJRT_HostBufferSemantics_kImmutableZeroCopy
                                         : PJRT_HostBufferSemantics_kImmutableOnlyDuringCall;
  args.device = devices_[static_cast<size_t>(device)];
  call(api(), args, "jax");
  DeviceBuffer buffer(&api(), args.buffer);
  const Event done(&api(), args.done_with_host_buffer);
  // With zero copy the event comes when the buffer is freed.
  if (!zero_copy && done) await(api(), done, "jax");
  return buffer;
}

void Client::to_host(PJRT_Buffer* buffer, void* dst, size_t size) const {
  PJRT_Buffer_ToHostBuffer_Args args{};
  args.src = buffer;
  args.dst = dst;
  args.dst_size = size;
  call(api(), args, "jax");
  const Event done(&api(), args.event);
  await(api(), done, "jax");
}

void Client::wait(PJRT_Buffer* buffer) const {
  PJRT_Buffer_ReadyEvent_Args args{};
  args.buffer = buffer;
  call(api(), args, "jax");
  const Event ready(&api(), args.event);
  await(api(), ready, "jax");
}

void Client::execute(const Loaded& exe, std::span<PJRT_Buffer* const> in, std::span<PJRT_Buffer*> out) const {
  PJRT_ExecuteOptions options{};
  options.struct_size = PJRT_ExecuteOptions_STRUCT_SIZE;
  PJRT_LoadedExecutable_Execute_Args args{};
  args.executable = exe.get();
  args.options = &options;
  PJRT_Buffer* const* arguments = in.data();
  args.argument_lists = &arguments;
  args.num_devices = 1;
  args.num_args = in.size();
  PJRT_Buffer** results = out.data();
  args.output_lists = &results;
  PJRT_Event* done = nullptr;
  if (on_host()) args.device_complete_events = &done;
  call(api(), args, "jax");
  if (!done) return;
  const Event event(&api(), done);
  try {
    await(api(), event, "jax");
  } catch (...) {
    for (PJRT_Buffer*& b : out) {
      DeviceBuffer freed(&api(), b);
      b = nullptr;
    }
    throw;
  }
}

}  // namespace mc::jax_engine
