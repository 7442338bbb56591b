# rag_flags: what every object of the project is compiled and linked with. Libraries of others are SYSTEM (imported targets), so
# no warning comes from their headers.
option(RAG_WERROR "Warnings are errors" OFF)
option(RAG_FUZZ "Build tests/fuzz (clang, with RAG_SANITIZE=address)" OFF)
set(RAG_SANITIZE "" CACHE STRING "address (with undefined), thread, or empty")

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # gnu17: attributes, statement expressions, __typeof__

add_library(rag_flags INTERFACE)
target_include_directories(rag_flags INTERFACE ${PROJECT_SOURCE_DIR}) # the only include root: a room on the path would hide err.h
target_compile_definitions(rag_flags INTERFACE _GNU_SOURCE RAG_VERSION="${PROJECT_VERSION}")
target_compile_options(rag_flags INTERFACE
	-Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith
	-Wwrite-strings -Wcast-qual -Wconversion -Wsign-conversion -Wformat=2 -Wundef -Wvla -Wswitch-enum
	-Wimplicit-fallthrough -Wdouble-promotion -fno-common -ffunction-sections -fdata-sections
	"SHELL:-include ${PROJECT_SOURCE_DIR}/common/base/banned.h")
target_link_options(rag_flags INTERFACE -Wl,--gc-sections -Wl,--as-needed)
if(RAG_WERROR)
	target_compile_options(rag_flags INTERFACE -Werror)
endif()

if(RAG_SANITIZE STREQUAL "address")
	set(sanitize -fsanitize=address,undefined -fno-sanitize-recover=all)
elseif(RAG_SANITIZE STREQUAL "thread")
	set(sanitize -fsanitize=thread)
elseif(RAG_SANITIZE)
	message(FATAL_ERROR "RAG_SANITIZE must be address, thread or empty, not '${RAG_SANITIZE}'")
endif()
if(RAG_SANITIZE)
	target_compile_options(rag_flags INTERFACE ${sanitize} -fno-omit-frame-pointer)
	target_link_options(rag_flags INTERFACE ${sanitize})
else()
	# Not with a sanitizer: gcc warns about the null checks that the sanitizer itself puts in. Not in tests: cmocka's assertions do
	# not tell the compiler that they never return.
	target_compile_options(rag_flags INTERFACE $<$<NOT:$<BOOL:$<TARGET_PROPERTY:RAG_TEST>>>:-Wnull-dereference>)
endif()

include(CheckCCompilerFlag)
include(CheckPIESupported)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
check_pie_supported()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
	string(REPLACE "-O3" "-O2" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
	string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}") # asserts stay on
	# the last two exist on x86-64 and arm64 only
	foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -mbranch-protection=standard)
		string(MAKE_C_IDENTIFIER "RAG_HAVE${flag}" have)
		check_c_compiler_flag(${flag} ${have})
		if(${have})
			target_compile_options(rag_flags INTERFACE ${flag})
		endif()
	endforeach()
	if(NOT RAG_SANITIZE)
		target_compile_options(rag_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
	endif()
	target_link_options(rag_flags INTERFACE -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()

if(RAG_FUZZ)
	target_compile_options(rag_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
