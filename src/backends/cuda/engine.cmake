# The toolkit (nvcc) builds this engine; the driver, cuBLASLt, NVRTC and cuSOLVER are found when it is used.
# Kernels are compiled by commands of their own: enable_language(CUDA) would be needed before it is known whether
# there is a compiler, and in every directory above.
find_program(MC_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin $ENV{CUDA_PATH}/bin /usr/local/cuda/bin)
# Machine code for these, and PTX of the oldest for every other: "80;90" for a release.
set(MC_CUDA_ARCHS "90" CACHE STRING "compute capabilities that kernels are compiled for")
if(NOT MC_NVCC)
  set(MC_ENGINE_SKIP "nvcc is not installed (set CUDA_HOME, or install the CUDA 13 toolkit)")
  return()
endif()
get_filename_component(cuda_root ${MC_NVCC} REALPATH)
get_filename_component(cuda_root ${cuda_root} DIRECTORY)
get_filename_component(cuda_root ${cuda_root} DIRECTORY)
find_library(MC_CUDART_STATIC cudart_static HINTS ${cuda_root}/lib64 ${cuda_root}/targets/x86_64-linux/lib)
if(NOT MC_CUDART_STATIC)
  set(MC_ENGINE_SKIP "libcudart_static.a is not beside ${MC_NVCC}")
  return()
endif()

set(cuda_codes "")
foreach(arch IN LISTS MC_CUDA_ARCHS)
  list(APPEND cuda_codes -gencode arch=compute_${arch},code=sm_${arch})
endforeach()
list(APPEND cuda_codes -gencode arch=compute_80,code=compute_80)

set(cuda_objects "")
file(GLOB cuda_kernels CONFIGURE_DEPENDS ${folder}/cu/*.cu)
foreach(source IN LISTS cuda_kernels)
  get_filename_component(base ${source} NAME_WE)
  set(object ${CMAKE_BINARY_DIR}/cuda/${base}.o)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/cuda)
  # Warnings of nvcc's generated host code are not ours; ours are errors on the device side.
  add_custom_command(OUTPUT ${object}
    COMMAND ${MC_CCACHE} ${MC_NVCC} -c ${source} -o ${object} -std=c++20 -O3 --fmad=false -lineinfo
      ${cuda_codes} -I${CMAKE_SOURCE_DIR}/src -I${CMAKE_SOURCE_DIR}/include
      -Xcompiler=-fPIC,-fvisibility=hidden -MD -MF ${object}.d
    DEPENDS ${source} DEPFILE ${object}.d VERBATIM COMMENT "nvcc ${base}.cu")
  list(APPEND cuda_objects ${object})
endforeach()
set(MC_ENGINE_SOURCES ${cuda_objects})
set(MC_ENGINE_LINK ${MC_CUDART_STATIC} rt dl)
# The header folder of the toolkit is a system folder: its warnings are not ours.
add_library(mc_cuda_headers INTERFACE)
target_include_directories(mc_cuda_headers SYSTEM INTERFACE ${cuda_root}/include)
list(APPEND MC_ENGINE_LINK mc_cuda_headers)
