# The one supported compiler family is clang (19 in Debian 12). GCC 12 gets coroutines wrong: braced temporaries in a
# co_await expression are freed twice, and `switch (co_await f())` runs no case. See docs/adr/0001-toolchain.md.
if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR
    "Corelet needs clang (19 or later); this is ${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}.\n"
    "GCC 12 miscompiles coroutines (double frees for braced temporaries in a co_await expression; "
    "`switch (co_await f())` runs no case).\n"
    "Run `./dev build`, or configure with `cmake --preset release`, which name clang-19.")
endif()
if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 19)
  message(FATAL_ERROR "Corelet needs clang 19 or later; this is ${CMAKE_CXX_COMPILER_VERSION}. Run `./dev build`.")
endif()

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

add_link_options(-fuse-ld=lld)
add_compile_options(-fno-omit-frame-pointer -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -march=x86-64-v2)
# Debug information is kept small: line tables are what a backtrace and perf need.
add_compile_options($<$<CONFIG:Release>:-gline-tables-only> $<$<CONFIG:Debug>:-g1>)
string(REPLACE "-DNDEBUG" "" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")

set(CORELET_WARNINGS -Wall -Wextra -Wconversion -Wshadow -Wnon-virtual-dtor -Wimplicit-fallthrough -Werror
    -Wno-sign-conversion -Wno-deprecated-declarations)

option(CORELET_SANITIZE "Build with AddressSanitizer and UndefinedBehaviorSanitizer" OFF)
option(CORELET_FUZZ "Build the fuzz targets with libFuzzer, everything with its coverage counters" OFF)
set(CORELET_TEST_PREFIX "")
if(CORELET_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(CORELET_SANITIZE)
  set(CORELET_TEST_PREFIX "asan.")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()

find_program(CORELET_CCACHE ccache)
if(CORELET_CCACHE)
  # PCH and ccache agree only with these; see the ccache manual, "Precompiled headers".
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}
      CCACHE_NOHASHDIR=1 ${CORELET_CCACHE})
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
endif()
find_package(Threads REQUIRED)
