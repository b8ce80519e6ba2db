# The engine stands on PJRT's C API alone (third_party/pjrt_c_api.h): plugins are loaded at run time, none is needed to
# build. The packages of .venv are looked through, too.
if(MC_SANITIZE)
  set(MC_ENGINE_SKIP "XLA's plugins are not built for sanitizers, whose reports would be of XLA's own code")
  return()
endif()
add_library(pjrt_c_api INTERFACE)
target_include_directories(pjrt_c_api SYSTEM INTERFACE ${CMAKE_SOURCE_DIR}/third_party)
# The header's table of functions has members named as their types, which GCC takes for an error otherwise.
target_compile_options(pjrt_c_api INTERFACE $<$<CXX_COMPILER_ID:GNU>:-fpermissive>)
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/backends/jax/plugins.cpp PROPERTIES COMPILE_DEFINITIONS
  "MC_JAX_ENVIRONMENT=\"${CMAKE_SOURCE_DIR}/.venv\"")
set(MC_ENGINE_LINK dl pjrt_c_api)
