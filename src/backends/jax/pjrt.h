// The PJRT C API as C++ sees it: one templated call, handles that free themselves, a plugin and its client.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mc/dtype.h"
#include "mc/error.h"
#include "mc/shape.h"
#include "pjrt_c_api.h"

namespace mc::jax_engine {

// What each argument struct belongs to: its function's slot, its size, its name. These are also the slots
// that a plugin must have.
template <class Args>
struct Slot;
#define MC_PJRT_SLOTS(X)                 \
  X(PJRT_Plugin_Initialize)              \
  X(PJRT_Plugin_Attributes)              \
  X(PJRT_Event_Destroy)                  \
  X(PJRT_Event_Await)                    \
  X(PJRT_Client_Create)                  \
  X(PJRT_Client_PlatformName)            \
  X(PJRT_Client_PlatformVersion)         \
  X(PJRT_Client_AddressableDevices)      \
  X(PJRT_Client_Compile)                 \
  X(PJRT_Client_BufferFromHostBuffer)    \
  X(PJRT_DeviceDescription_Id)           \
  X(PJRT_DeviceDescription_Kind)         \
  X(PJRT_Device_GetDescription)          \
  X(PJRT_Device_MemoryStats)             \
  X(PJRT_Executable_Destroy)             \
  X(PJRT_Executable_NumOutputs)          \
  X(PJRT_Executable_Serialize)           \
  X(PJRT_Executable_DeserializeAndLoad)  \
  X(PJRT_LoadedExecutable_Destroy)       \
  X(PJRT_LoadedExecutable_GetExecutable) \
  X(PJRT_LoadedExecutable_Execute)       \
  X(PJRT_Buffer_Destroy)                 \
  X(PJRT_Buffer_ReadyEvent)              \
  X(PJRT_Buffer_ToHostBuffer)            \
  X(PJRT_Executable_GetCompiledMemoryStats)
#define MC_PJRT_SLOT(Name)                                   \
  template <>                                                \
  struct Slot<Name##_Args> {                                 \
    static constexpr size_t kSize = Name##_Args_STRUCT_SIZE; \
    static constexpr const char* kName = #Name;              \
    static auto of(const PJRT_Api& api) { return api.Name; } \
  };
MC_PJRT_SLOTS(MC_PJRT_SLOT)
#undef MC_PJRT_SLOT

// The message of a PJRT error, which is freed; the code in *code.
std::string take_message(const PJRT_Api& api, PJRT_Error* error, PJRT_Error_Code* code);
[[noreturn]] void throw_error(const PJRT_Api& api, PJRT_Error* error, std::string_view where);

// One call: sets struct_size, turns an error into mc::Error.
template <class Args>
void call(const PJRT_Api& api, Args& args, std::string_view where) {
  args.struct_size = Slot<Args>::kSize;
  if (PJRT_Error* error = Slot<Args>::of(api)(&args)) throw_error(api, error, where);
}
// For destructors: what fails is dropped.
template <class Args>
void call_quietly(const PJRT_Api& api, Args& args) noexcept {
  args.struct_size = Slot<Args>::kSize;
  if (PJRT_Error* error = Slot<Args>::of(api)(&args)) {
    PJRT_Error_Destroy_Args d{};
    d.struct_size = PJRT_Error_Destroy_Args_STRUCT_SIZE;
    d.error = error;
    api.PJRT_Error_Destroy(&d);
  }
}

// An owned handle: H is freed by a call with `Args`, whose member is `Args::*field`.
template <class H, class Args, H* Args::*field>
class Handle {
 public:
  Handle() = default;
  Handle(const PJRT_Api* api, H* h) : api_(api), h_(h) {}
  Handle(Handle&& o) noexcept : api_(o.api_), h_(std::exchange(o.h_, nullptr)) {}
  Handle& operator=(Handle&& o) noexcept {
    std::swap(api_, o.api_);
    std::swap(h_, o.h_);
    return *this;
  }
  ~Handle() {
    if (!h_) return;
    Args args{};
    args.*field = h_;
    call_quietly(*api_, args);
  }
  H* get() const { return h_; }
  explicit operator bool() const { return h_ != nullptr; }

 private:
  const PJRT_Api* api_ = nullptr;
  H* h_ = nullptr;
};
using Event = Handle<PJRT_Event, PJRT_Event_Destroy_Args, &PJRT_Event_Destroy_Args::event>;
using DeviceBuffer = Handle<PJRT_Buffer, PJRT_Buffer_Destroy_Args, &PJRT_Buffer_Destroy_Args::buffer>;
using Loaded = Handle<PJRT_LoadedExecutable, PJRT_LoadedExecutable_Destroy_Args,
                      &PJRT_LoadedExecutable_Destroy_Args::executable>;
using Unloaded =
    Handle<PJRT_Executable, PJRT_Executable_Destroy_Args, &PJRT_Executable_Destroy_Args::executable>;

void await(const PJRT_Api& api, const Event& event, std::string_view where);

// A plugin's library: opened, handshaken, initialized. Throws BackendMissing with the step that failed.
struct Plugin {
  const PJRT_Api* api = nullptr;
  std::string path;
  std::string id;  // size and time of the file: the key of what it compiled
  int major = 0, minor = 0;
  std::string attributes;  // "xla_version 2, stablehlo_current_version 1.13.0"
};
// `initialize` false: the handshake only (on a machine without the device that the plugin is for).
Plugin open_plugin(const std::string& path, bool initialize = true);
// "jax is required for the JAX backend: WHY"
[[noreturn]] void missing(const std::string& why, const std::string& fix);

PJRT_Buffer_Type buffer_type(Dtype dtype);

struct CompiledBytes {
  size_t temp = 0, code = 0;
};

// A client and its devices.
class Client {
 public:
  // `gpu`: its allocator takes memory when it is needed, up to 0.9 of the device's.
  Client(Plugin plugin, bool gpu);
  const Plugin& plugin() const { return plugin_; }
  const PJRT_Api& api() const { return *plugin_.api; }
  std::string_view platform() const { return platform_; }  // "cpu", "cuda", "tpu"
  std::string_view version() const { return version_; }
  std::string_view kind() const { return kind_; }  // "cpu", "gpu", "tpu"
  bool on_host() const { return kind_ == "cpu"; }
  int device_count() const { return static_cast<int>(devices_.size()); }
  std::string device_text(int device) const;
  size_t device_memory(int device) const;  // 0 if the plugin does not say
  bool memory_stats(int device, PJRT_Device_MemoryStats_Args& args) const;

  Loaded compile(const std::string& program, int device) const;
  // What compile() does beside the program: part of the disk cache's key.
  std::string compile_options(int device) const;
  Loaded load(std::span<const char> serialized) const;
  std::string serialize(const Loaded& exe) const;
  size_t output_count(const Loaded& exe) const;
  CompiledBytes bytes_of(const Loaded& exe) const;

  // `zero_copy`: the memory is used as it lies where the plugin can; it must then outlive the buffer. Else
  // it is copied before this returns.
  DeviceBuffer from_host(const void* data, const Shape& shape, Dtype dtype, int device, bool zero_copy) const;
  void to_host(PJRT_Buffer* buffer, void* dst, size_t bytes) const;
  void wait(PJRT_Buffer* buffer) const;
  // Returns when the program is enqueued; on the host when it is done.
  void execute(const Loaded& exe, std::span<PJRT_Buffer* const> in, std::span<PJRT_Buffer*> out) const;

 private:
  Unloaded executable_of(const Loaded& exe) const;
  Plugin plugin_;
  PJRT_Client* client_ = nullptr;  // lives as long as the process, like every engine
  std::vector<PJRT_Device*> devices_;
  std::vector<int64_t> ids_;
  std::string platform_, version_, kind_, gpu_tools_;
};

}  // namespace mc::jax_engine
