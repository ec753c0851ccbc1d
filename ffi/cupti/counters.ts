import { CString, type Pointer } from 'bun:ffi'
import type { DeviceContext } from '../cuda/context.ts'
import { Owner } from '../cuda/owner.ts'
import { check } from './check.ts'
import { CUPTI_AutoRange, CUPTI_KernelReplay, CUPTI_PROFILER_TYPE_RANGE_PROFILER } from './constants.ts'
import { cuptiCounters } from './library.ts'
import { cText, cTexts, Parameters, type ParametersName } from './parameters.ts'
import type { CUPTI_COUNTERS } from './symbols.ts'

type CounterCall = keyof typeof CUPTI_COUNTERS

/** Makes a call. @returns its parameters, with what it wrote @throws {NativeError} */
function call<S extends ParametersName>(
  name: CounterCall,
  parameters: S,
  values: ConstructorParameters<typeof Parameters<S>>[1] = {},
): Parameters<S> {
  const made = new Parameters(parameters, values)
  check(name, cuptiCounters()[name](made.address))
  return made
}

const bytesOf = (size: number) => new Uint8Array(new ArrayBuffer(size))

/** What CUPTI calls the chip of a device: `GH100`. @throws {NativeError} */
export function chipName(device: number): string {
  call('cuptiProfilerInitialize', 'CUpti_Profiler_Initialize_Params')
  const chip = call('cuptiDeviceGetChipName', 'CUpti_Device_GetChipName_Params', { deviceIndex: device })
  return String(new CString(chip.get('pChipName') as Pointer))
}

/** How the counters of a chip make up metrics: which to collect, and what they come to. */
export class Metrics {
  readonly #owner = new Owner()
  readonly #host: number
  /** The metrics' names as C has them, and the image by which a profiler knows what to collect. */
  readonly names: Uint8Array
  readonly image: Uint8Array
  /** What `names` leads to, and what CUPTI was given beside. */
  readonly held: unknown[]

  /**
   * @param metrics - as Nsight Compute names them
   * @param available - which counters the device has, as it says itself; by default those of the chip
   * @throws {NativeError} of a chip or a metric that is not known
   */
  constructor(
    chip: string,
    readonly metrics: readonly string[],
    available?: Uint8Array,
  ) {
    try {
      const host = call('cuptiProfilerHostInitialize', 'CUpti_Profiler_Host_Initialize_Params', {
        profilerType: CUPTI_PROFILER_TYPE_RANGE_PROFILER,
        pChipName: cText(chip),
        ...(available && { pCounterAvailabilityImage: available }),
      })
      this.#host = this.#owner.own(host.get('pHostObject'), pHostObject => {
        call('cuptiProfilerHostDeinitialize', 'CUpti_Profiler_Host_Deinitialize_Params', { pHostObject })
      })
      const { array, held } = cTexts(metrics)
      this.names = array
      this.held = [held, available]
      call('cuptiProfilerHostConfigAddMetrics', 'CUpti_Profiler_Host_ConfigAddMetrics_Params', {
        pHostObject: this.#host,
        ppMetricNames: array,
        numMetrics: metrics.length,
      })
      const size = call(
        'cuptiProfilerHostGetConfigImageSize',
        'CUpti_Profiler_Host_GetConfigImageSize_Params',
        { pHostObject: this.#host },
      ).get('configImageSize')
      this.image = bytesOf(size)
      call('cuptiProfilerHostGetConfigImage', 'CUpti_Profiler_Host_GetConfigImage_Params', {
        pHostObject: this.#host,
        configImageSize: size,
        pConfigImage: this.image,
      })
    } catch (error) {
      this.#owner.close()
      throw error
    }
  }

  /** Values of the metrics in a range of collected data. @throws {NativeError} */
  evaluate(data: Uint8Array, range: number): number[] {
    const values = new Float64Array(new ArrayBuffer(8 * this.metrics.length))
    call('cuptiProfilerHostEvaluateToGpuValues', 'CUpti_Profiler_Host_EvaluateToGpuValues_Params', {
      pHostObject: this.#host,
      pCounterDataImage: data,
      counterDataImageSize: data.length,
      rangeIndex: range,
      ppMetricNames: this.names,
      numMetrics: this.metrics.length,
      pMetricValues: new Uint8Array(values.buffer),
    })
    return [...values]
  }

  close(): void {
    this.#owner.close()
  }
}

/** Kernels of one measurement. */
const MOST_RANGES = 64

/**
 * Reads hardware counters of single kernels. Each kernel runs again and again until all counters are read, its memory put
 * back as it was in between: nothing that is timed meanwhile means anything.
 */
export class KernelCounters {
  readonly #owner = new Owner()
  readonly #metrics: Metrics
  readonly #profiler: number
  readonly #dataBytes: number

  /**
   * @param context - of this thread
   * @throws {LibraryError} without CUPTI's calls for it @throws {NativeError} such as where this user may not
   */
  constructor(context: DeviceContext, metrics: readonly string[]) {
    try {
      const chip = chipName(context.index)
      const available = this.#available(context)
      this.#metrics = this.#owner.own(new Metrics(chip, metrics, available), made => made.close())
      const enabled = call('cuptiRangeProfilerEnable', 'CUpti_RangeProfiler_Enable_Params', {
        ctx: context.handle,
      })
      this.#profiler = this.#owner.own(enabled.get('pRangeProfilerObject'), pRangeProfilerObject => {
        call('cuptiRangeProfilerDisable', 'CUpti_RangeProfiler_Disable_Params', { pRangeProfilerObject })
      })
      this.#dataBytes = call(
        'cuptiRangeProfilerGetCounterDataSize',
        'CUpti_RangeProfiler_GetCounterDataSize_Params',
        {
          pRangeProfilerObject: this.#profiler,
          pMetricNames: this.#metrics.names,
          numMetrics: metrics.length,
          maxNumOfRanges: MOST_RANGES,
          maxNumRangeTreeNodes: MOST_RANGES,
        },
      ).get('counterDataSize')
    } catch (error) {
      this.#owner.close()
      throw error
    }
  }

  #available({ handle }: DeviceContext): Uint8Array {
    const ask = (image?: Uint8Array) =>
      call('cuptiProfilerGetCounterAvailability', 'CUpti_Profiler_GetCounterAvailability_Params', {
        ctx: handle,
        ...(image && { counterAvailabilityImageSize: image.length, pCounterAvailabilityImage: image }),
      })
    const image = bytesOf(ask().get('counterAvailabilityImageSize'))
    ask(image)
    return image
  }

  /**
   * Values of the metrics for each kernel that `work` launches, in order.
   * @param work - must have ended on the GPU when it returns
   * @throws {NativeError} @throws {Error} for more kernels than there is room for
   */
  measure(work: () => void): number[][] {
    const data = bytesOf(this.#dataBytes)
    const pRangeProfilerObject = this.#profiler
    call(
      'cuptiRangeProfilerCounterDataImageInitialize',
      'CUpti_RangeProfiler_CounterDataImage_Initialize_Params',
      { pRangeProfilerObject, counterDataSize: data.length, pCounterData: data },
    )
    const { image } = this.#metrics
    call('cuptiRangeProfilerSetConfig', 'CUpti_RangeProfiler_SetConfig_Params', {
      pRangeProfilerObject,
      configSize: image.length,
      pConfig: image,
      counterDataImageSize: data.length,
      pCounterDataImage: data,
      range: CUPTI_AutoRange,
      replayMode: CUPTI_KernelReplay,
      maxRangesPerPass: MOST_RANGES,
      numNestingLevels: 1,
      minNestingLevel: 1,
      passIndex: 0,
      targetNestingLevel: 1,
    })
    call('cuptiRangeProfilerStart', 'CUpti_RangeProfiler_Start_Params', { pRangeProfilerObject })
    try {
      work()
    } finally {
      call('cuptiRangeProfilerStop', 'CUpti_RangeProfiler_Stop_Params', { pRangeProfilerObject })
    }
    const decoded = call('cuptiRangeProfilerDecodeData', 'CUpti_RangeProfiler_DecodeData_Params', {
      pRangeProfilerObject,
    })
    if (decoded.get('numOfRangeDropped') > 0)
      throw new Error(`CUPTI: more than ${MOST_RANGES} kernels in one measurement`)
    const info = call(
      'cuptiRangeProfilerGetCounterDataInfo',
      'CUpti_RangeProfiler_GetCounterDataInfo_Params',
      {
        pCounterDataImage: data,
        counterDataImageSize: data.length,
      },
    )
    return Array.from({ length: info.get('numTotalRanges') }, (_, range) =>
      this.#metrics.evaluate(data, range),
    )
  }

  close(): void {
    this.#owner.close()
  }
}
