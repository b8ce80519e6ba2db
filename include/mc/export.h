// Symbol visibility: libmodelcypher hides everything but MC_API.
#pragma once
#define MC_API __attribute__((visibility("default")))
