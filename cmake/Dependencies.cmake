# Third-party libraries as imported targets dep::<name>, found by pkg-config where a working .pc exists and by hand where not:
# Debian 12's CMake packages of hiredis and civetweb are broken, civetweb has no .pc file, and msgpack-c changed the name of its
# library between 4 (msgpackc) and 6 (msgpack-c, whose .pc in Debian 13 has a relative include folder). Never assume: detect.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(rag_dep name)
	add_library(dep::${name} INTERFACE IMPORTED)
	target_link_libraries(dep::${name} INTERFACE ${ARGN})
endfunction()

# rag_pkg(<name> <pkg-config name>...): the first that exists
function(rag_pkg name)
	pkg_search_module(DEP_${name} REQUIRED IMPORTED_TARGET ${ARGN})
	rag_dep(${name} PkgConfig::DEP_${name})
endfunction()

# rag_lib(<name> <header> <library>...): found by hand, the first name that exists
function(rag_lib name header)
	find_library(DEP_${name}_LIBRARY NAMES ${ARGN} REQUIRED)
	find_path(DEP_${name}_INCLUDE ${header} REQUIRED)
	rag_dep(${name} ${DEP_${name}_LIBRARY})
	target_include_directories(dep::${name} INTERFACE ${DEP_${name}_INCLUDE})
endfunction()

rag_dep(threads Threads::Threads)
rag_dep(math m)
rag_lib(hiredis hiredis/hiredis.h hiredis)
rag_lib(civetweb civetweb.h civetweb)
rag_lib(msgpack msgpack.h msgpack-c msgpackc)
rag_pkg(curl libcurl)
rag_pkg(yaml yaml-0.1)
rag_pkg(jansson jansson)
rag_pkg(sqlite sqlite3)
rag_pkg(zstd libzstd)
rag_pkg(crypto libcrypto)
rag_pkg(html libxml-2.0)
rag_pkg(zlib zlib)
