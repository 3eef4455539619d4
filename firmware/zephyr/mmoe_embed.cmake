# SPDX-License-Identifier: Apache-2.0

include_guard(GLOBAL)

# mmoe_embed_model(<target> MODEL <checkpoint> [BOARD <board>] [SCHEME <scheme>] [EXPERT_SLOTS <n>] [SRAM <bytes>]
#                  [POLICY <policy>] [SPARE_PAGES <n>])
#
# Turns a checkpoint into C with `mmoe-embed emit`, as a step of the build that runs again when the checkpoint has changed,
# and adds the C to a target, `app`. After the link, ${APPLICATION_BINARY_DIR}/mmoe_embed is a build folder as `mmoe-embed build`
# makes one: `mmoe-embed validate build/mmoe_embed`.
#
#   MODEL         folder of the checkpoint, relative to the CMakeLists.txt; -DMMOE_MODEL=<checkpoint> stands for it
#   BOARD         board of mmoe-embed, or the path of a board file. Default: the memories that devicetree describes,
#                 less CONFIG_MMOE_EMBED_OTHER_RAM_BYTES
#   SPARE_PAGES   experts that can be replaced at once, with CONFIG_MMOE_EMBED_UPDATES; 1 when left out
#   others        as the options of `mmoe-embed emit`
function(mmoe_embed_model target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "MODEL;BOARD;SCHEME;EXPERT_SLOTS;SRAM;POLICY;SPARE_PAGES" "")
  if(NOT arg_MODEL OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "mmoe_embed_model(${ARGV}): usage: mmoe_embed_model(<target> MODEL <checkpoint> [BOARD <board>] "
                        "[SCHEME <scheme>] [EXPERT_SLOTS <n>] [SRAM <bytes>] [POLICY <policy>] [SPARE_PAGES <n>])")
  endif()
  if(NOT CONFIG_MMOE_EMBED)
    message(FATAL_ERROR "mmoe_embed_model() needs CONFIG_MMOE_EMBED=y in prj.conf")
  endif()
  cmake_path(GET PYTHON_EXECUTABLE PARENT_PATH beside_python)
  find_program(MMOE_EMBED NAMES $ENV{MMOE_EMBED_PROGRAM} mmoe-embed HINTS ${beside_python})
  if(NOT MMOE_EMBED)
    cmake_path(SET module NORMALIZE ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../..)
    message(FATAL_ERROR "mmoe-embed is not installed: ${PYTHON_EXECUTABLE} -m pip install -e ${module}\n"
                        "or the environment variable MMOE_EMBED_PROGRAM names it")
  endif()

  if(MMOE_MODEL)
    set(arg_MODEL ${MMOE_MODEL})
  endif()
  cmake_path(ABSOLUTE_PATH arg_MODEL BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)
  set(folder ${APPLICATION_BINARY_DIR}/mmoe_embed)
  set(gen ${folder}/gen)
  set(options)
  if(NOT CONFIG_MMOE_EMBED_UPDATES)
    set(arg_SPARE_PAGES 0)
  endif()
  foreach(name SCHEME EXPERT_SLOTS SRAM POLICY SPARE_PAGES)
    if(DEFINED arg_${name})
      string(TOLOWER --${name} option)
      string(REPLACE _ - option ${option})
      list(APPEND options ${option} ${arg_${name}})
    endif()
  endforeach()

  if(CONFIG_ARCH_POSIX AND NOT arg_BOARD)
    set(arg_BOARD host_x86_64) # devicetree knows no memories of native_sim
  endif()
  set(describe_board)
  set(board_inputs)
  set(board ${arg_BOARD})
  if(NOT board)
    string(MAKE_C_IDENTIFIER ${BOARD}${BOARD_QUALIFIERS} name)
    set(board ${folder}/${name}.toml)
    set(board_inputs ${APPLICATION_BINARY_DIR}/zephyr/zephyr.dts ${DOTCONFIG})
    set(qemu)
    if("${QEMU_FLAGS_${ARCH}}" MATCHES "-(machine|M);([^;]+)")
      set(qemu --qemu-machine ${CMAKE_MATCH_2})
    endif()
    set(describe_board COMMAND ${MMOE_EMBED} boards devicetree ${APPLICATION_BINARY_DIR}/zephyr/zephyr.dts
        --config ${DOTCONFIG} ${qemu} -o ${board})
  elseif(board MATCHES "\\.toml$")
    cmake_path(ABSOLUTE_PATH board BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)
    set(board_inputs ${board})
  endif()

  set(emitted ${gen}/model.h ${gen}/model.c ${gen}/tokens.c ${gen}/weights.S ${gen}/weights.bin)
  set(compiled ${gen}/model.c ${gen}/tokens.c ${gen}/weights.S)
  file(GLOB config ${arg_MODEL}/config.json ${arg_MODEL}/checkpoint/config.json)
  if(NOT config)
    message(FATAL_ERROR "mmoe_embed_model(): no checkpoint at ${arg_MODEL}: a folder with config.json and "
                        "model.safetensors is needed")
  endif()
  list(GET config 0 config)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${config}) # it says whether there are experts
  file(READ ${config} text)
  string(JSON experts ERROR_VARIABLE none GET "${text}" num_experts)
  if(experts GREATER 0)
    list(APPEND emitted ${gen}/experts.S ${gen}/experts.bin)
    if(NOT CONFIG_MMOE_EXPERTS_FLASH_MAP)
      list(APPEND compiled ${gen}/experts.S)
    endif()
  endif()
  add_custom_command(
    OUTPUT ${emitted} ${folder}/emitted.json
    ${describe_board}
    COMMAND ${MMOE_EMBED} emit ${arg_MODEL} --board ${board} ${options} --other-ram ${CONFIG_MMOE_EMBED_OTHER_RAM_BYTES}
            -o ${gen} --record ${folder}
    DEPENDS ${board_inputs} ${MMOE_EMBED}
    DEPFILE ${folder}/emit.d
    COMMENT "mmoe-embed: ${arg_MODEL} as C, for ${board}"
    VERBATIM
  )

  target_sources(${target} PRIVATE ${compiled} ${gen}/model.h ${MMOE_EMBED_MODEL_SOURCES})
  target_include_directories(${target} PRIVATE ${gen})
  set_source_files_properties(${MMOE_EMBED_MODEL_SOURCES} PROPERTIES INCLUDE_DIRECTORIES "${MMOE_EMBED_PRIVATE_INCLUDES}")
  if(CONFIG_MMOE_EMBED_UPDATES)
    set_source_files_properties(${MMOE_EMBED_MODEL_SOURCES} PROPERTIES COMPILE_DEFINITIONS MMOE_UPDATES)
  endif()
  # assembly does not say what it includes
  set_source_files_properties(${gen}/weights.S PROPERTIES OBJECT_DEPENDS ${gen}/weights.bin)
  if(experts GREATER 0)
    set_source_files_properties(${gen}/experts.S PROPERTIES OBJECT_DEPENDS ${gen}/experts.bin)
  endif()

  # native_sim: the program is made of the ELF
  if(TARGET native_runner_executable)
    set(image ${APPLICATION_BINARY_DIR}/zephyr/${KERNEL_EXE_NAME})
    set(linked native_runner_executable)
  else()
    set(image ${APPLICATION_BINARY_DIR}/zephyr/${KERNEL_ELF_NAME})
    set(linked ${logical_target_for_zephyr_elf})
  endif()
  add_custom_command(
    OUTPUT ${folder}/build.json
    COMMAND ${MMOE_EMBED} adopt ${folder} --elf ${image}
    DEPENDS ${linked} ${folder}/emitted.json
    COMMENT "mmoe-embed: the image as a build folder, ${folder}"
    VERBATIM
  )
  add_custom_target(mmoe_embed_adopt ALL DEPENDS ${folder}/build.json)
endfunction()
