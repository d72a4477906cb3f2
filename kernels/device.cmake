# Builds the device binary, libgroup_norm_grad_kernel_<arch>.so, with a CANN toolkit, for one architecture a build tree:
#   cmake -S kernels -B build/2201 -DGROUP_NORM_GRAD_DEVICE=ON -DCMAKE_ASC_ARCHITECTURES=dav-2201 \
#     -DCMAKE_INSTALL_PREFIX=<directory of libcust_opapi.so>
# dav-2201 is Atlas A2 and A3, dav-3510 is Ascend 950. README.md here names the pages that this follows and what was not tried.

# These must be set before ASC is looked for.
set(CMAKE_ASC_ARCHITECTURES "dav-2201" CACHE STRING "NPU architecture: dav-2201 or dav-3510")
set(ASCEND_HOME_PATH "$ENV{ASCEND_HOME_PATH}" CACHE PATH "CANN toolkit")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
if(NOT CMAKE_ASC_ARCHITECTURES MATCHES "^dav-(2201|3510)$")
  message(FATAL_ERROR "CMAKE_ASC_ARCHITECTURES must be dav-2201 or dav-3510, got '${CMAKE_ASC_ARCHITECTURES}'")
endif()
set(arch "${CMAKE_MATCH_1}")
set(library "group_norm_grad_kernel_${arch}")
set(root "${CMAKE_CURRENT_SOURCE_DIR}/..")
set(launch "${CMAKE_CURRENT_SOURCE_DIR}/op_host/device_launch.cpp")

# Where asc-config.cmake lies; set_env.sh has the first of them on CMAKE_PREFIX_PATH.
list(APPEND CMAKE_PREFIX_PATH "${ASCEND_HOME_PATH}/lib64/cmake"
  "${ASCEND_HOME_PATH}/compiler/tikcpp/ascendc_kernel_cmake")
find_package(ASC QUIET)

if(ASC_FOUND)
  # CANN 8.5 and later: one source with host and device code.
  project(group_norm_grad_kernel LANGUAGES ASC CXX)
  set_source_files_properties("${launch}" PROPERTIES LANGUAGE ASC)
  add_library(${library} SHARED "${launch}")
  set_target_properties(${library} PROPERTIES LINKER_LANGUAGE ASC)
  # --npu-arch by hand too, as the vendor's samples have it.
  target_compile_options(${library} PRIVATE
    $<$<COMPILE_LANGUAGE:ASC>:--npu-arch=${CMAKE_ASC_ARCHITECTURES} -fPIC>)
else()
  # CANN 8.0 to 8.3: ascendc_library, one kernel a file, for a SoC and not an architecture.
  find_file(ascendc_cmake ascendc.cmake NO_DEFAULT_PATH PATHS
    "${ASCEND_HOME_PATH}/tools/tikcpp/ascendc_kernel_cmake"
    "${ASCEND_HOME_PATH}/compiler/tikcpp/ascendc_kernel_cmake"
    "${ASCEND_HOME_PATH}/tikcpp/ascendc_kernel_cmake"
    "${ASCEND_HOME_PATH}/ascendc_devkit/tikcpp/samples/cmake")
  if(NOT ascendc_cmake)
    message(FATAL_ERROR "No CANN toolkit that compiles Ascend C was found: ASCEND_HOME_PATH is '${ASCEND_HOME_PATH}', "
      "where find_package(ASC) (CANN 8.5 and later) and ascendc.cmake (CANN 8.0 to 8.3) both fail")
  endif()
  if(NOT arch STREQUAL "2201")
    message(FATAL_ERROR "dav-${arch} needs CANN 8.5 or later; '${ASCEND_HOME_PATH}' is older")
  endif()
  set(SOC_VERSION "Ascend910B1" CACHE STRING "any product of the architecture")
  set(ASCEND_CANN_PACKAGE_PATH "${ASCEND_HOME_PATH}")
  set(RUN_MODE npu)
  project(group_norm_grad_kernel LANGUAGES CXX)
  include("${ascendc_cmake}")
  set(kernels ${library}_device)
  ascendc_library(${kernels} STATIC
    op_kernel/group_norm_grad_float32.cpp
    op_kernel/group_norm_grad_float16.cpp
    op_kernel/group_norm_grad_bfloat16.cpp)
  add_library(${library} SHARED "${launch}")
  target_compile_definitions(${library} PRIVATE GROUP_NORM_GRAD_C_LAUNCH)
  target_include_directories(${library} PRIVATE "${CMAKE_BINARY_DIR}/include/${kernels}"
    "${ASCEND_HOME_PATH}/include")
  target_link_libraries(${library} PRIVATE ${kernels})
  target_link_directories(${library} PRIVATE "${ASCEND_HOME_PATH}/lib64")
  target_link_libraries(${library} PRIVATE ascendcl)
endif()

# As kernel_id() of setup_npu.py computes it.
file(GLOB kernel_sources "${CMAKE_CURRENT_SOURCE_DIR}/op_kernel/*.h" "${CMAKE_CURRENT_SOURCE_DIR}/op_kernel/*.cpp")
list(SORT kernel_sources)
foreach(source IN LISTS kernel_sources)
  file(SHA256 "${source}" digest)
  string(APPEND digests "${digest}")
endforeach()
string(SHA256 kernel_id "${digests}")
target_compile_definitions(${library} PRIVATE GROUP_NORM_GRAD_KERNEL_ID="${kernel_id}")

target_include_directories(${library} PRIVATE "${root}")
target_compile_features(${library} PRIVATE cxx_std_17)
install(TARGETS ${library} LIBRARY DESTINATION .)
