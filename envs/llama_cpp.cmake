# Read by cmake inside llama.cpp's project (CMAKE_PROJECT_<name>_INCLUDE). llama-cpp-python forces the common utilities
# on; they are a third of the compile time and its Python package does not use them.
set(LLAMA_BUILD_COMMON OFF)
