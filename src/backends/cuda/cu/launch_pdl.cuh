// Programmatic dependent launch: a kernel may start when its predecessor's blocks are all running. What the
// predecessor wrote is read only after wait_for_predecessor().
#pragma once

#include <cuda_runtime.h>

namespace mc::cuda {

__device__ __forceinline__ void start_successor() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
__device__ __forceinline__ void wait_for_predecessor() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void prefetch_l2(const void* p) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

// Blocks of one cluster (compute capability 9.0): they meet, and read each other's shared memory.
__device__ __forceinline__ void meet_cluster() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
#endif
}
__device__ __forceinline__ float read_of(const float* p, unsigned rank) {
  float v = *p;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  unsigned at;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(at)
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(p))), "r"(rank));
  asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(v) : "r"(at) : "memory");
#endif
  return v;
}
inline bool has_clusters() {
  int device = 0, major = 0;
  return cudaGetDevice(&device) == cudaSuccess &&
         cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) == cudaSuccess &&
         major >= 9;
}

// Blocks along y are clusters if there are several.
template <class... Params, class... Args>
void launch_early_clusters(void (*kernel)(Params...), dim3 grid, int threads, cudaStream_t stream,
                           Args... args) {
  cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                       cudaSharedmemCarveoutMaxShared);
  cudaLaunchAttribute all[2] = {};
  all[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  all[0].val.programmaticStreamSerializationAllowed = 1;
  all[1].id = cudaLaunchAttributeClusterDimension;
  all[1].val.clusterDim.x = 1;
  all[1].val.clusterDim.y = grid.y;
  all[1].val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream;
  config.attrs = all;
  config.numAttrs = grid.y > 1 ? 2 : 1;
  cudaLaunchKernelEx(&config, kernel, Params(args)...);
}

template <class... Params, class... Args>
void launch_early(void (*kernel)(Params...), dim3 grid, int threads, size_t shared, cudaStream_t stream,
                  Args... args) {
  // One division of the multiprocessors' memory for all: a kernel that wants another waits for its
  // predecessor.
  cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                       cudaSharedmemCarveoutMaxShared);
  cudaLaunchAttribute early{};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  config.attrs = &early;
  config.numAttrs = 1;
  cudaLaunchKernelEx(&config, kernel, Params(args)...);
}

}  // namespace mc::cuda
