import type { Architecture } from '../../models/architecture.ts'
import { UsageError } from '../errors.ts'
import type { TensorSpec } from '../queue/tensor.ts'
import { CPU, type Device, type RunSettings, type StepOptions, type StepShape } from '../steps/step.ts'
import type { Config, SelectorOptions } from './config.ts'
import { type DeviceChoice, deviceName, type Host, placement } from './devices.ts'
import { countParts, type Parts } from './parts.ts'
import { joinSpecs, segmentSpec, specText, totalElements } from './specs.ts'
import { connect, type Seat, type Topology } from './topology.ts'

export type { DeviceChoice, Host }

/** A step over all its groups. */
export interface PlannedStep {
  index: number
  /** The kind's first name. */
  kind: string
  /** As the file calls it. */
  name?: string
  /** Indices of the steps that it reads from; none for the first, which takes from the client. */
  sources: number[]
  /** Indices of the steps that read from it. */
  readers: number[]
  /** Which of the run's networks it runs. */
  network?: number
  /** The module that it comes from, if it is the user's: an absolute path. */
  module?: string
  /** Of the instance that holds the most; groups may differ. */
  inputs: TensorSpec[]
  outputs: TensorSpec[]
  /** The most items that one call takes. */
  batch: number
  /** The most parts that it splits an item into. */
  segments: number
  /** The most parts of one request that arrive here; those of several sources follow each other in their order. */
  parts: number
  /** Bytes of what it says of one of them. */
  values: number
  /** The most parts of one request that leave it, to each of its readers. */
  leaving: number
  /** Its results leave the pipeline. */
  last: boolean
}

/** One worker that runs one step. Its outputs live in its own slots. */
export interface Instance {
  /** Index in the plan. */
  id: number
  /** As in messages: `step 1 (network) on gpu 0, replica 0`. */
  name: string
  step: number
  group: number
  /** Counts the instances of this step on this device, over all groups. */
  replica: number
  device: Device
  options: StepOptions
  /** Tensors of an item that arrives, and of one that leaves, at their largest. */
  inputs: TensorSpec[]
  outputs: TensorSpec[]
  batch: number
  segments: number
  /** Threads that do its work, each with a step object of its own; they share queues and slots. */
  workers: number
  /** Decoders of its GPU that it keeps busy. */
  decoders: number
  /** Its threads do pieces of each other's work. */
  team: boolean
  /** Bytes of what it says of a request, as JSON. */
  values: number
  /** Queue ids. */
  inQueue: number
  /**
   * For each step that reads from this one, in order, as many as its group names, in the order in which the selector
   * counts them; empty for a last step.
   */
  outQueues: number[]
  selector: string
  selectorOptions: SelectorOptions
  /** Output slots; 0 if the step has no output tensors. */
  slots: number
}

export interface PlannedQueue {
  /** Index in the plan; 0 is the filename queue. */
  id: number
  name: string
  capacity: number
  /** The most shares, tensors, dimensions of a tensor, and other values that an item here can have. */
  maxShares: number
  maxTensors: number
  maxRank: number
  maxValues: number
  /** Threads that put into it (1 for the client). */
  producers: number
  /** Instances that take from it. */
  consumers: number
}

/** A run, worked out before anything starts: plain data, sent to every worker. */
export interface Plan {
  name: string
  /** Of the configuration. */
  hash: string
  steps: PlannedStep[]
  instances: Instance[]
  queues: PlannedQueue[]
  perGpuQueue: boolean
  /** For people, and for the summary. */
  notes: string[]
}

export interface PlanOptions {
  settings: RunSettings
  /** Networks of the run, and which of them each step runs, where it runs one. */
  networks?: { architectures: readonly Architecture[]; ofStep: readonly (number | undefined)[] }
  /** Items that a queue holds before the run is aborted. */
  queueSize: number
  /** Requests of the run. */
  videos: number
  /** All requests arrive at once: every queue must have room for them. */
  bulk: boolean
  /** Intermediate queues for each device, so that items stay where they were loaded. */
  perGpuQueue: boolean
  device: DeviceChoice
}

/** Values other than tensors that an item has room for. */
export const MAX_VALUES = 16

const most = (values: readonly number[]): number => Math.max(...values)

const largest = (lists: readonly TensorSpec[][]): TensorSpec[] =>
  lists.reduce((best, specs) => (totalElements(specs) > totalElements(best) ? specs : best))

/** A queue while the plan is made: what its items can hold is known once all producers are. */
interface Draft extends PlannedQueue {
  specs?: TensorSpec[]
  /** Slots of all producers together. */
  slots: number
}

class Planner {
  readonly #queues = new Map<string, Draft>()
  readonly #instances: Instance[] = []
  readonly #notes = new Set<string>()

  constructor(
    readonly config: Config,
    readonly options: PlanOptions,
    readonly topology: Topology,
    readonly fail: (message: string) => UsageError,
  ) {}

  make(notes: readonly string[]): Plan {
    const parts = countParts(this.config, this.fail)
    for (const note of notes) this.#notes.add(note)
    for (const { name, step, producers, consumers } of this.topology.links) {
      const items = this.options.videos * parts[step]!.arriving
      this.#queues.set(name, {
        id: this.#queues.size,
        name,
        capacity: this.options.bulk ? Math.max(this.options.queueSize, items) : this.options.queueSize,
        maxShares: 1,
        maxTensors: 0,
        maxRank: 0,
        maxValues: MAX_VALUES,
        producers,
        consumers,
        slots: 0,
      })
    }
    for (const seat of this.topology.seats) this.#addInstance(seat)
    return {
      name: this.config.name,
      hash: this.config.hash,
      steps: this.config.steps.map((_, s) => this.#step(s, parts[s]!)),
      instances: this.#instances,
      queues: [...this.#queues.values()].map(({ specs: _, slots: __, ...queue }) => queue),
      perGpuQueue: this.options.perGpuQueue,
      notes: [...this.#notes],
    }
  }

  #kindName(step: number): string {
    return this.config.steps[step]!.kind.names[0]
  }

  /** Which of the run's networks a step runs. */
  #network(step: number): number | undefined {
    return this.options.networks?.ofStep[step]
  }

  /** What people should hear of a step: its name, or its kind. */
  #title(step: number): string {
    return this.config.steps[step]!.name ?? this.#kindName(step)
  }

  #shape(seat: Seat, inputs: TensorSpec[]): StepShape {
    try {
      // A network in several steps joins items once: what its later layers take is a batch already.
      const { kind } = this.config.steps[seat.step]!
      const before = this.#stepsBefore(seat.step)
      const joined = this.#instances.some(
        ({ step, batch }) => before.has(step) && batch > 1 && this.config.steps[step]!.kind === kind,
      )
      const network = this.#network(seat.step)
      const settings: RunSettings = {
        ...this.options.settings,
        ...(network !== undefined && { architecture: this.options.networks!.architectures[network] }),
        ...(joined && { batch: 1 }),
      }
      return kind.shape(seat.group.options, inputs, settings, {
        device: seat.device,
        resident: seat.device !== CPU && this.#goesToGpus(seat.step),
      })
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      throw this.fail(`pipeline[${seat.step}] (${this.#title(seat.step)}): ${error.message}`)
    }
  }

  /** All steps whose results come to this one, over whatever others. */
  #stepsBefore(step: number): Set<number> {
    const before = new Set(this.config.steps[step]!.sources)
    // A set's iteration comes to what is added meanwhile.
    for (const source of before) for (const further of this.config.steps[source]!.sources) before.add(further)
    return before
  }

  /** Whether all instances of all steps that read from this one run on GPUs. */
  #goesToGpus(step: number): boolean {
    const { readers } = this.config.steps[step]!
    const next = this.topology.seats.filter(seat => readers.includes(seat.step))
    return next.length > 0 && next.every(({ device }) => device !== CPU)
  }

  #addInstance(seat: Seat): void {
    const { step, group, groupIndex, device, replica } = seat
    const from = this.#queues.get(seat.from)!
    const inputs = from.specs ?? []
    // Instances of a group that take from the same queue have the same shape.
    const twin = this.#instances.find(
      other =>
        other.step === step &&
        other.group === groupIndex &&
        other.inQueue === from.id &&
        (other.device === CPU) === (device === CPU),
    )
    const shape = twin ?? this.#shape(seat, inputs)
    const instance: Instance = {
      id: this.#instances.length,
      name: `step ${step} (${this.#title(step)}) on ${deviceName(device)}, replica ${replica}`,
      step,
      group: groupIndex,
      replica,
      device,
      options: group.options,
      inputs,
      outputs: shape.outputs,
      batch: shape.batch ?? 1,
      segments: group.segments,
      workers: shape.workers ?? 1,
      decoders: shape.decoders ?? 0,
      team: shape.team === true && (shape.workers ?? 1) > 1,
      values: shape.values ?? 0,
      inQueue: from.id,
      outQueues: seat.to.map(name => this.#queues.get(name)!.id),
      selector: group.selector,
      selectorOptions: group.selectorOptions,
      slots: shape.outputs.length === 0 ? 0 : group.slots,
    }
    this.#instances.push(instance)
    for (const name of new Set(seat.to)) this.#widen(this.#queues.get(name)!, instance, from)
    if (instance.batch > from.slots && from.specs && from.specs.length > 0)
      this.#notes.add(
        `step ${step} joins up to ${instance.batch} items, but the instances before it have ${from.slots} slots in all: ` +
          'its batches cannot fill; raise num_shared_tensors there',
      )
  }

  /** Makes room in a queue for what an instance puts into it. */
  #widen(queue: Draft, { step, outputs, segments, workers, batch, slots }: Instance, from: Draft): void {
    const leaving = outputs.map(spec => segmentSpec(spec, segments))
    const specs = queue.specs ? joinSpecs(queue.specs, leaving) : leaving
    if (!specs)
      throw this.fail(
        `pipeline[${step}]: ${queue.name} would hold both ${queue.specs!.map(specText).join(' + ')} and ` +
          `${leaving.map(specText).join(' + ')}; groups of one output queue must give the same tensors`,
      )
    queue.specs = specs
    queue.slots += slots
    queue.producers += workers - 1
    queue.maxShares = Math.max(queue.maxShares, from.maxShares * batch)
    queue.maxTensors = Math.max(queue.maxTensors, specs.length)
    queue.maxRank = Math.max(queue.maxRank, ...specs.map(spec => spec.shape.length))
  }

  #step(index: number, { arriving, leaving }: Parts): PlannedStep {
    const { name, sources, readers } = this.config.steps[index]!
    const network = this.#network(index)
    const mine = this.#instances.filter(instance => instance.step === index)
    const { module } = this.config.steps[index]!.kind
    return {
      index,
      kind: this.#kindName(index),
      ...(name !== undefined && { name }),
      sources,
      readers,
      ...(network !== undefined && { network }),
      ...(module !== undefined && { module }),
      inputs: largest(mine.map(instance => instance.inputs)),
      outputs: largest(mine.map(instance => instance.outputs)),
      batch: most(mine.map(instance => instance.batch)),
      segments: most(mine.map(instance => instance.segments)),
      parts: arriving,
      leaving,
      values: most(mine.map(instance => instance.values)),
      last: readers.length === 0,
    }
  }
}

/**
 * Turns a configuration into a plan for this host: which workers there are, where they run, how they are
 * connected, and how large everything is.
 * @throws {UsageError} if a GPU is missing, a per-GPU queue has one end, or tensors do not fit
 */
export function makePlan(config: Config, options: PlanOptions, host: Host): Plan {
  const { place, note } = placement(config, options.device, host)
  const topology = connect(config, place, options.perGpuQueue)
  const fail = (message: string) => new UsageError(`${config.file ?? config.name}: ${message}`)
  return new Planner(config, options, topology, fail).make(note === undefined ? [] : [note])
}
