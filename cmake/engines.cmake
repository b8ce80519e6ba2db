# The only place outside src/backends/X that names an engine X.
mc_add_builtin_engine(numpy)
mc_add_builtin_engine(null)
