# rag_embed_text(<target> <dir> <ext>): every <dir>/<name>.<ext> becomes `const char embed_<name>_<ext>[]` (NUL-terminated) in a
# generated .c file of <target>. The text is written as bytes, so no quoting rule can bite. *.inc files of the folder are parts that
# several of them share.
function(rag_embed_text target dir ext)
	if(NOT TARGET ${target})
		return()
	endif()
	file(GLOB files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${dir}/*.${ext})
	file(GLOB parts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${dir}/*.inc)
	foreach(file IN LISTS files)
		get_filename_component(name ${file} NAME_WE)
		set(out ${PROJECT_BINARY_DIR}/embed/${name}_${ext}.c)
		add_custom_command(OUTPUT ${out}
			COMMAND ${CMAKE_COMMAND} -DIN=${file} -DOUT=${out} -DNAME=embed_${name}_${ext} -P ${PROJECT_SOURCE_DIR}/cmake/EmbedOne.cmake
			DEPENDS ${file} ${parts} ${PROJECT_SOURCE_DIR}/cmake/EmbedOne.cmake VERBATIM)
		target_sources(${target} PRIVATE ${out})
	endforeach()
endfunction()
