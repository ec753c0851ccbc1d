import type { Plan } from '../pipeline/plan.ts'
import { tensorBytes } from '../queue/tensor.ts'
import { CPU, type Device } from '../steps/step.ts'
import type { Arrangement, Machine, Predictor } from './types.ts'

/** Bytes of memory that slots may take, of each GPU and of the host; not limited where nothing is said. */
export interface Memory {
  gpu?: number
  host?: number
}

/** Bytes that a plan's slots take, by where they are: tensors in device memory lie with the instance that makes them. */
export function slotBytes({ instances }: Pick<Plan, 'instances'>): Map<Device, number> {
  const bytes = new Map<Device, number>()
  for (const { device, outputs, slots } of instances)
    for (const spec of outputs) {
      const place = spec.memory === 'device' ? device : CPU
      bytes.set(place, (bytes.get(place) ?? 0) + slots * tensorBytes(spec))
    }
  return bytes
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`

/**
 * A predictor that also says which arrangements have more slots than memory. What networks take beside them is not counted.
 * @param planOf the program's plan of an arrangement, on a machine
 */
export function withinMemory(
  predictor: Predictor,
  memory: Memory,
  planOf: (arrangement: Arrangement, machine: Machine) => Plan,
): Predictor {
  return {
    machine: predictor.machine,
    predict: (arrangement, load) => predictor.predict(arrangement, load),
    demand: (placing, load) => predictor.demand(placing, load),
    on: machine => withinMemory(predictor.on(machine), memory, planOf),
    overflow(arrangement) {
      for (const [device, bytes] of slotBytes(planOf(arrangement, predictor.machine))) {
        const most = device === CPU ? memory.host : memory.gpu
        const where = device === CPU ? 'the host' : 'a GPU'
        if (most !== undefined && bytes > most)
          return `slots would take more memory than ${where} has for them (${mebibytes(most)})`
      }
      return predictor.overflow?.(arrangement)
    },
  }
}
