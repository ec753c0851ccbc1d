import { UsageError } from '../errors.ts'
import { CPU, type Device } from '../steps/step.ts'
import type { Config, ConfigGroup } from './config.ts'
import { deviceName } from './devices.ts'

/** The place of one instance: where it runs, and what it is connected to. Queues go by their names. */
export interface Seat {
  step: number
  groupIndex: number
  group: ConfigGroup
  device: Device
  replica: number
  from: string
  /** For each step that reads from this one, in order, the queues that the selector chooses from. */
  to: string[]
}

/** A queue before a step. */
export interface Link {
  name: string
  /** The step that takes from it. */
  step: number
  /** Its number in the file, and whose it is if each device has its own. */
  number: number
  device?: Device
  producers: number
  consumers: number
  /** Steps with an instance that puts into it. */
  fed: Set<number>
}

export interface Topology {
  /** In the order of the file. */
  seats: Seat[]
  /** The filename queue, then queues in the order in which the seats put into them. */
  links: Link[]
}

export const FILENAME_QUEUE = 'filename'

/** Whether items can stay on the device that they were made on: not where only one side of the queue runs on GPUs. */
function staysPut({ steps }: Config, step: number, place: (gpu: Device) => Device): boolean {
  const onGpus = (index: number) =>
    steps[index]!.groups.some(({ gpus }) => gpus.some(gpu => place(gpu) !== CPU))
  return steps[step]!.sources.every(source => onGpus(source) === onGpus(step))
}

/**
 * Seats all instances and connects them.
 * @param place where an entry of `gpus` runs
 * @param perDevice makes each intermediate queue once for each device; between steps of which one runs on the CPU alone,
 *   and the other does not, it stays one queue
 * @throws {UsageError} naming step and GPU where a queue of a device has only one end
 */
export function connect(config: Config, place: (gpu: Device) => Device, perDevice: boolean): Topology {
  const seats: Seat[] = []
  const links = new Map<string, Link>()
  const link = (step: number, number: number, device: Device): Link => {
    const apart = perDevice && step > 0 && staysPut(config, step, place)
    const own = apart ? ` ${deviceName(device)}` : ''
    const before = config.steps[step]!.sources.map(source => `step${source}`).join('+')
    const name = step === 0 ? FILENAME_QUEUE : `${before}-step${step} queue ${number}${own}`
    const found = links.get(name) ?? {
      name,
      step,
      number,
      device: apart ? device : undefined,
      producers: 0,
      consumers: 0,
      fed: new Set<number>(),
    }
    links.set(name, found)
    return found
  }

  link(0, 0, CPU).producers = 1
  config.steps.forEach(({ groups, readers }, step) => {
    const replicas = new Map<Device, number>()
    groups.forEach((group, groupIndex) => {
      for (const gpu of group.gpus) {
        const device = place(gpu)
        const replica = replicas.get(device) ?? 0
        replicas.set(device, replica + 1)
        const from = link(step, group.inQueue ?? 0, device)
        from.consumers++
        const to = readers.flatMap(reader => group.outQueues.map(queue => link(reader, queue, device)))
        for (const queue of new Set(to)) {
          queue.producers++
          queue.fed.add(step)
        }
        seats.push({
          step,
          groupIndex,
          group,
          device,
          replica,
          from: from.name,
          to: to.map(queue => queue.name),
        })
      }
    })
  })
  checkEnds(config, [...links.values()])
  return { seats, links: [...links.values()] }
}

/** With a queue for each device, each needs an instance on that device at both ends. */
function checkEnds(config: Config, links: readonly Link[]): void {
  const devices = new Map<string, string[]>()
  const add = (problem: string, device: Device | undefined) =>
    devices.set(problem, [...(devices.get(problem) ?? []), deviceName(device ?? CPU)])
  for (const { step, number, device, consumers, fed } of links) {
    for (const source of config.steps[step]!.sources) {
      if (fed.has(source) && consumers === 0)
        add(
          `step ${source} puts into queue ${number}, but no instance of step ${step} takes from it, on `,
          device,
        )
      if (!fed.has(source))
        add(
          `step ${step} takes from queue ${number}, but no instance of step ${source} puts into it, on `,
          device,
        )
    }
  }
  if (devices.size === 0) return
  throw new UsageError(
    [
      `${config.file ?? config.name}: with --per_gpu_queue items stay on the device that they were made on, but`,
      ...[...devices].map(([problem, names]) => problem + names.join(', ')),
    ].join('\n  '),
  )
}
