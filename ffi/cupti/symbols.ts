import { FFIType } from 'bun:ffi'

const { ptr, i32, u32, u64, u8 } = FFIType

/** A call of CUPTI; each returns a CUptiResult. */
const of = <const A extends readonly FFIType[]>(...args: A) => ({ returns: i32, args }) as const

/** What rnb calls of CUPTI to trace a GPU's work, as the headers of 12 and 13 declare it. */
export const CUPTI = {
  cuptiGetVersion: of(ptr),
  cuptiGetTimestamp: of(ptr),
  cuptiGetResultString: of(i32, ptr),
  cuptiActivityRegisterCallbacks: of(ptr, ptr),
  cuptiActivityEnable: of(i32),
  cuptiActivityDisable: of(i32),
  cuptiActivityEnableDriverApi: of(u32, u8),
  cuptiActivityFlushAll: of(u32),
  cuptiActivityGetNextRecord: of(ptr, u64, ptr),
  cuptiActivityGetNumDroppedRecords: of(ptr, u32, ptr),
  cuptiActivityPushExternalCorrelationId: of(i32, u64),
  cuptiActivityPopExternalCorrelationId: of(i32, ptr),
  cuptiGetGraphExecId: of(ptr, ptr),
} as const

/** What it calls to read a GPU's counters. Each takes one struct of parameters. */
export const CUPTI_COUNTERS = {
  cuptiProfilerInitialize: of(ptr),
  cuptiDeviceGetChipName: of(ptr),
  cuptiProfilerGetCounterAvailability: of(ptr),
  cuptiProfilerHostInitialize: of(ptr),
  cuptiProfilerHostDeinitialize: of(ptr),
  cuptiProfilerHostConfigAddMetrics: of(ptr),
  cuptiProfilerHostGetConfigImageSize: of(ptr),
  cuptiProfilerHostGetConfigImage: of(ptr),
  cuptiProfilerHostEvaluateToGpuValues: of(ptr),
  cuptiRangeProfilerEnable: of(ptr),
  cuptiRangeProfilerDisable: of(ptr),
  cuptiRangeProfilerGetCounterDataSize: of(ptr),
  cuptiRangeProfilerCounterDataImageInitialize: of(ptr),
  cuptiRangeProfilerSetConfig: of(ptr),
  cuptiRangeProfilerStart: of(ptr),
  cuptiRangeProfilerStop: of(ptr),
  cuptiRangeProfilerDecodeData: of(ptr),
  cuptiRangeProfilerGetCounterDataInfo: of(ptr),
} as const

export type CuptiCall = keyof typeof CUPTI | keyof typeof CUPTI_COUNTERS
