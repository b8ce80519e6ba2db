# The only place outside src/backends/X that names an engine X. One row an engine; the registry's table is generated
# from these rows.
set(MC_ENGINE_ROWS "")
set(MC_ENGINE_MAKERS "")

# mc_engine(NAME n RANK r MESSAGE m [FIX f] [MISSING why] [BUILTIN] [HIDDEN])
function(mc_engine)
  cmake_parse_arguments(E "BUILTIN;HIDDEN" "NAME;RANK;MESSAGE;FIX;MISSING" "" ${ARGN})
  set(make "nullptr")
  set(builtin false)
  set(hidden false)
  if(E_BUILTIN)
    mc_add_builtin_engine(${E_NAME})
    set(make "make_${E_NAME}_backend")
    set(builtin true)
    set(MC_ENGINE_MAKERS "${MC_ENGINE_MAKERS}Backend* ${make}();\n" PARENT_SCOPE)
  endif()
  if(E_HIDDEN)
    set(hidden true)
  endif()
  set(MC_ENGINE_ROWS
    "${MC_ENGINE_ROWS}    {\"${E_NAME}\", ${builtin}, ${hidden}, ${E_RANK}, \"${E_MESSAGE}\", \"${E_MISSING}\", \"${E_FIX}\", ${make}},\n"
    PARENT_SCOPE)
endfunction()

mc_engine(NAME numpy RANK 0 BUILTIN MESSAGE "the host engine is always there")
mc_engine(NAME cuda RANK 1 MESSAGE "CUDA is required for the CUDA backend"
  MISSING "this build has no CUDA engine" FIX "build ModelCypher with the CUDA engine on a machine with an NVIDIA GPU")
mc_engine(NAME jax RANK 2 MESSAGE "jax is required for the JAX backend"
  MISSING "this build has no JAX engine" FIX "build ModelCypher with the JAX engine")
mc_engine(NAME mlx RANK 3 MESSAGE "mlx is required for the MLX backend"
  MISSING "this build has no MLX engine" FIX "build ModelCypher with the MLX engine")
mc_engine(NAME null RANK 9 BUILTIN HIDDEN MESSAGE "the shape-only engine is always there")

file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/engines.inc CONTENT
"// Generated from cmake/engines.cmake.
namespace mc {
${MC_ENGINE_MAKERS}
constexpr EngineRow kEngineRows[] = {
${MC_ENGINE_ROWS}};
}  // namespace mc
" @ONLY)
target_include_directories(mc_runtime PRIVATE ${CMAKE_BINARY_DIR}/generated)
