// Symbol visibility: libmodelcypher hides everything else.
#pragma once
#define MC_API __attribute__((visibility("default")))
// Internals that engines in shared libraries of their own use. Their layout is part of the engine's ABI hash.
#define MC_ENGINE_API MC_API
