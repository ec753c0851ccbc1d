// Enumerators of cuda.h, under its names; test/ffi/cuda.test.ts holds them to the header where it is installed.

export const CUDA_SUCCESS = 0
export const CUDA_ERROR_OUT_OF_MEMORY = 2
export const CUDA_ERROR_NO_DEVICE = 100
export const CUDA_ERROR_NOT_READY = 600
export const CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED = 704

export const CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16
export const CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
export const CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76

export const CU_STREAM_NON_BLOCKING = 1
export const CU_EVENT_BLOCKING_SYNC = 1
export const CU_EVENT_DISABLE_TIMING = 2

export const CU_MEMHOSTALLOC_PORTABLE = 1
export const CU_MEMHOSTREGISTER_PORTABLE = 1

export const CU_JIT_ERROR_LOG_BUFFER = 5
export const CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6

export const CU_FUNC_ATTRIBUTE_NUM_REGS = 4
export const CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3
export const CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8

export const CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1
