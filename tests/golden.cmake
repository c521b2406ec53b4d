# SPDX-License-Identifier: MIT
# Runs an example and compares what it prints with the golden file:
#   cmake -DPROGRAM=... -DARGUMENTS=... -DGOLDEN=... -DDIRECTORY=... -P golden.cmake
execute_process(COMMAND ${PROGRAM} ${ARGUMENTS} WORKING_DIRECTORY ${DIRECTORY}
                OUTPUT_VARIABLE printed ERROR_VARIABLE complaints RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "exit status ${status}: ${complaints}")
endif()
file(READ ${GOLDEN} expected)
if(NOT printed STREQUAL expected)
  file(WRITE ${DIRECTORY}/printed.txt "${printed}")
  execute_process(COMMAND diff -u ${GOLDEN} ${DIRECTORY}/printed.txt OUTPUT_VARIABLE difference)
  message(FATAL_ERROR "not what ${GOLDEN} says:\n${difference}")
endif()
