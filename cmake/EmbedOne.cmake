# cmake -DIN=<file> -DOUT=<file.c> -DNAME=<symbol> -P EmbedOne.cmake
# A line "--#include <name>" is replaced by <name>.inc of the same folder (in hex, where no quoting rule can bite).
file(READ ${IN} hex HEX)
get_filename_component(dir ${IN} DIRECTORY)
file(GLOB parts ${dir}/*.inc)
foreach(part IN LISTS parts)
	get_filename_component(name ${part} NAME_WE)
	string(HEX "--#include ${name}\n" mark)
	file(READ ${part} text HEX)
	string(REPLACE "${mark}" "${text}" hex "${hex}")
endforeach()
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "extern const char ${NAME}[];\nconst char ${NAME}[] = { ${bytes} 0 };\n")
