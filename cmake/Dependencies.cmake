# Third-party libraries as imported targets dep::<name>, found by pkg-config where a working .pc exists and by hand where not:
# Debian 12's CMake packages of hiredis and civetweb are broken, civetweb has no .pc file, and msgpack-c changed its name
# between 4 (msgpack) and 6 (msgpack-c). Never assume a version: detect.
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

rag_dep(threads Threads::Threads)
rag_dep(math m)
# The doors include <hiredis/hiredis.h>: the system's own include folder is enough, so only the library is taken.
find_library(HIREDIS_LIBRARY hiredis REQUIRED)
find_path(HIREDIS_INCLUDE hiredis/hiredis.h REQUIRED)
rag_dep(hiredis ${HIREDIS_LIBRARY})
find_library(CIVETWEB_LIBRARY civetweb REQUIRED)
find_path(CIVETWEB_INCLUDE civetweb.h REQUIRED)
rag_dep(civetweb ${CIVETWEB_LIBRARY})
rag_pkg(msgpack msgpack-c msgpack)
rag_pkg(curl libcurl)
rag_pkg(yaml yaml-0.1)
rag_pkg(jansson jansson)
rag_pkg(sqlite sqlite3)
rag_pkg(zstd libzstd)
rag_pkg(crypto libcrypto)
rag_pkg(html libxml-2.0)
