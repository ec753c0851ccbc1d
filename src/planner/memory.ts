import type { Plan } from '../pipeline/plan.ts'
import { tensorBytes } from '../queue/tensor.ts'
import { CPU, type Device } from '../steps/step.ts'
import type { Arrangement, Machine, PipelineFile, Predictor } from './types.ts'

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

export const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`

/**
 * A predictor that also says which arrangements take more than there is memory: slots, and what networks on GPUs take at the
 * least beside them, where that is known.
 * @param planOf the program's plan of an arrangement, on a machine
 * @param networkBytes what the networks of a plan take of each GPU
 */
export function withinMemory(
  predictor: Predictor,
  memory: Memory,
  planOf: (arrangement: Arrangement, machine: Machine) => Plan,
  networkBytes?: (config: PipelineFile, plan: Plan) => Map<Device, number>,
): Predictor {
  return {
    machine: predictor.machine,
    predict: (arrangement, load) => predictor.predict(arrangement, load),
    demand: (placing, load) => predictor.demand(placing, load),
    on: machine => withinMemory(predictor.on(machine), memory, planOf, networkBytes),
    overflow(arrangement) {
      const plan = planOf(arrangement, predictor.machine)
      const needs = slotBytes(plan)
      for (const [device, bytes] of networkBytes?.(arrangement.config, plan) ?? [])
        needs.set(device, (needs.get(device) ?? 0) + bytes)
      for (const [device, bytes] of needs) {
        const most = device === CPU ? memory.host : memory.gpu
        if (most === undefined || bytes <= most) continue
        const [what, where] = device === CPU ? ['slots', 'the host'] : ['slots and networks', 'a GPU']
        const message = `${what} would take more memory than ${where} has for them (${mebibytes(most)})`
        return { message, where, needed: bytes, most }
      }
      return predictor.overflow?.(arrangement)
    },
  }
}
