# cmake -DIN=<file> -DOUT=<file.c> -DNAME=<symbol> -P EmbedOne.cmake
file(READ ${IN} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "extern const char ${NAME}[];\nconst char ${NAME}[] = { ${bytes} 0 };\n")
