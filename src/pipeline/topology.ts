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
  to: string[]
}

/** A queue between two steps, or before the first. */
export interface Link {
  name: string
  /** The step before it; -1 for the client. */
  after: number
  /** Its number in the file, and whose it is if each device has its own. */
  number: number
  device?: Device
  producers: number
  consumers: number
}

export interface Topology {
  /** In the order of the file. */
  seats: Seat[]
  /** The filename queue, then queues in the order in which the seats put into them. */
  links: Link[]
}

export const FILENAME_QUEUE = 'filename'

/**
 * Seats all instances and connects them.
 * @param place where an entry of `gpus` runs
 * @param perDevice makes each intermediate queue once for each device
 * @throws {UsageError} naming step and GPU where a queue of a device has only one end
 */
export function connect(config: Config, place: (gpu: Device) => Device, perDevice: boolean): Topology {
  const seats: Seat[] = []
  const links = new Map<string, Link>()
  const link = (after: number, number: number, device: Device): Link => {
    const own = perDevice ? ` ${deviceName(device)}` : ''
    const name = after < 0 ? FILENAME_QUEUE : `step${after}-step${after + 1} queue ${number}${own}`
    const found = links.get(name) ?? {
      name,
      after,
      number,
      device: perDevice ? device : undefined,
      producers: 0,
      consumers: 0,
    }
    links.set(name, found)
    return found
  }

  link(-1, 0, CPU).producers = 1
  config.steps.forEach(({ groups }, step) => {
    const replicas = new Map<Device, number>()
    groups.forEach((group, groupIndex) => {
      for (const gpu of group.gpus) {
        const device = place(gpu)
        const replica = replicas.get(device) ?? 0
        replicas.set(device, replica + 1)
        const from = link(step - 1, group.inQueue ?? 0, device)
        from.consumers++
        const to = group.outQueues.map(queue => link(step, queue, device))
        for (const queue of new Set(to)) queue.producers++
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
  const lonely = links.filter(({ producers, consumers }) => producers === 0 || consumers === 0)
  if (lonely.length === 0) return
  const devices = new Map<string, string[]>()
  for (const { after, number, device, consumers } of lonely) {
    const next = after + 1
    const problem =
      consumers === 0
        ? `step ${after} puts into queue ${number}, but no instance of step ${next} takes from it, on `
        : `step ${next} takes from queue ${number}, but no instance of step ${after} puts into it, on `
    devices.set(problem, [...(devices.get(problem) ?? []), deviceName(device ?? CPU)])
  }
  throw new UsageError(
    [
      `${config.file ?? config.name}: with --per_gpu_queue items stay on the device that they were made on, but`,
      ...[...devices].map(([problem, names]) => problem + names.join(', ')),
    ].join('\n  '),
  )
}
