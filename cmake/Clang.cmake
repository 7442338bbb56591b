# Toolchain of the clang presets. Debian has `clang` only with the metapackage, else `clang-<version>`: the newest is taken.
find_program(RAG_CLANG NAMES clang clang-21 clang-20 clang-19 clang-18 clang-17 clang-16 clang-15 clang-14 REQUIRED)
set(CMAKE_C_COMPILER ${RAG_CLANG})
