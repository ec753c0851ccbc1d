import { CPU } from '../../steps/step.ts'
import { drawsSeveral } from '../clips.ts'
import type { Arrangement } from '../types.ts'
import { arrange } from './arrange.ts'
import type { Choice, Queues } from './choice.ts'
import type { Limits } from './limits.ts'
import { type Structure, structuresOf } from './structure.ts'
import type { Template } from './template.ts'

/** All lists with one of each of the given values in each place; the first place changes slowest. */
const product = (places: readonly (readonly number[])[]): number[][] =>
  places.reduce<number[][]>(
    (lists, values) => lists.flatMap(list => values.map(value => [...list, value])),
    [[]],
  )

/** Places of the numbers from 0 to `count`. */
const places = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

/** Ways to choose so many of some things where each may be chosen again, and their order is nothing. */
function multisets(things: number, chosen: number): number {
  let ways = 1
  for (let i = 1; i <= chosen; i++) ways = (ways * (things + i - 1)) / i
  return Math.round(ways)
}

/** What the threads of a loader are told. */
interface Loading {
  inFlight?: number
  shareClips?: boolean
}

/** What may be chosen in a structure. */
interface Lists {
  structure: Structure
  /** Places of the steps on the CPU, and all counts of their instances. */
  onCpu: number[]
  cpu: number[][]
  onGpus: number[]
  roles: number[][]
  loading: readonly Loading[]
  cpuDecoders: readonly (number | undefined)[]
  batches: readonly number[]
}

/** All plans of a pipeline within limits, as a tree of choices: each level decides one thing more. */
export class Space {
  readonly lists: readonly Lists[]

  /** @param usable structures that can be run at all */
  constructor(
    readonly template: Template,
    readonly limits: Limits,
    structures: readonly Structure[] = structuresOf(template, limits),
  ) {
    this.lists = structures.map(structure => this.#listsOf(structure))
  }

  #listsOf(structure: Structure): Lists {
    const { replicas, cpuReplicas, cpuDecoders, batches } = this.limits
    const where = (place: 'gpu' | 'cpu') =>
      structure.steps.flatMap((step, s) => (step.place === place ? [s] : []))
    const [onCpu, onGpus] = [where('cpu'), where('gpu')]
    const batching = structure.steps.some(({ kind }) => kind.endsWith('network') || kind === 'single')
    return {
      structure,
      onCpu,
      cpu: product(onCpu.map(s => (structure.steps[s]!.alone ? [1] : cpuReplicas))),
      onGpus,
      // Much on a GPU first: what has room comes before what is tight.
      roles: product(onGpus.map(() => places(replicas + 1).reverse())),
      loading: structure.decodes.inFlight ? this.#loadings(structure) : [{}],
      cpuDecoders: structure.decodes.cpuDecoders ? cpuDecoders : [undefined],
      batches: structure.sorts ? joining(batches) : batching ? batches : [1],
    }
  }

  /** One clip cannot be shared. */
  #loadings({ steps }: Structure): Loading[] {
    const { inFlight, shareClips } = this.limits
    const sharing = drawsSeveral(steps[0]!.options) ? shareClips : [false]
    return inFlight.flatMap(count =>
      sharing.map(shares => ({ inFlight: count, ...(shares && { shareClips: true }) })),
    )
  }

  /** Whether no more decode at once than limits allow, once it is said how many do. */
  #fits(choice: Choice): boolean {
    const any = Number.POSITIVE_INFINITY
    const { mostInFlight = any, mostCpuDecoders = any } = this.limits
    const { onGpus, roles, loading, cpuDecoders } = this.of(choice)
    const at = onGpus.indexOf(0)
    if (at < 0 || choice.inFlight === undefined) return true
    const loaders = choice.roles.map(role => roles[role]![at]!)
    const { inFlight = 0 } = loading[choice.inFlight]!
    if (inFlight * Math.max(0, ...loaders) > mostInFlight) return false
    const decoders = choice.cpuDecoders === undefined ? 0 : (cpuDecoders[choice.cpuDecoders] ?? 0)
    const all = loaders.reduce((sum, count) => sum + count, 0)
    return decoders * all <= mostCpuDecoders
  }

  of({ structure }: Choice): Lists {
    return this.lists[structure]!
  }

  get roots(): Choice[] {
    return this.lists.map((_, structure) => ({ structure, roles: [] }))
  }

  /** GPUs that this choice is about: none where no step runs on any. */
  gpus(choice: Choice): number {
    return this.of(choice).onGpus.length === 0 ? 0 : this.limits.gpus.length
  }

  /** Instances of each step that have been decided. */
  counts(choice: Choice): number[] {
    const { structure, onCpu, cpu, onGpus, roles } = this.of(choice)
    const counts = structure.steps.map(() => 0)
    if (choice.cpu !== undefined) for (const [i, s] of onCpu.entries()) counts[s] = cpu[choice.cpu]![i]!
    for (const role of choice.roles) for (const [i, s] of onGpus.entries()) counts[s]! += roles[role]![i]!
    return counts
  }

  /** Groups of a step's instances, each of which has as many: a batcher's for small videos and for large ones. */
  groups(choice: Choice, step: number): number {
    return this.of(choice).structure.sorts && step === 1 ? 2 : 1
  }

  /** Choices with one thing more decided; undefined if all is. */
  children(choice: Choice): Choice[] | undefined {
    const lists = this.of(choice)
    if (choice.cpu === undefined) return places(lists.cpu.length).map(cpu => ({ ...choice, cpu }))
    if (choice.roles.length < this.gpus(choice)) return this.#withRole(choice, lists)
    const next = <K extends keyof Choice>(key: K, count: number) =>
      choice[key] === undefined
        ? places(count)
            .map(value => ({ ...choice, [key]: value }))
            .filter(made => this.#fits(made))
        : undefined
    return (
      next('inFlight', lists.loading.length) ??
      next('cpuDecoders', lists.cpuDecoders.length) ??
      next('batch', lists.batches.length) ??
      // A batch of one waits for nothing.
      next('delay', lists.batches[choice.batch!] === 1 ? 1 : this.limits.delaysMs.length) ??
      next('queues', this.queuesOf(choice).length)
    )
  }

  #withRole(choice: Choice, { roles }: Lists): Choice[] {
    const least = choice.roles.at(-1) ?? 0
    const made = places(roles.length - least).map(i => ({ ...choice, roles: [...choice.roles, least + i] }))
    if (choice.roles.length + 1 < this.gpus(choice)) return made
    return made.filter(full => this.counts(full).every(count => count > 0))
  }

  /** How the queues may be laid out, once it is known which GPUs are used. */
  queuesOf(choice: Choice): Queues[] {
    const { structure, onGpus, roles } = this.of(choice)
    const used = choice.roles.filter(role => roles[role]!.some(count => count > 0)).length
    const toGpus = onGpus.some(s => s > 0)
    const among = structure.steps.some(
      ({ place, sources }) =>
        place === 'gpu' && sources.some(source => structure.steps[source]!.place === 'gpu'),
    )
    const queues: Queues[] = [{ kind: 'one' }]
    if (used < 2 || !toGpus) return queues
    if (among && this.limits.perGpuQueues) queues.push({ kind: 'per-gpu' })
    // Its own selector says which queue an item takes.
    if (structure.sorts) return queues
    for (const selector of this.limits.selectors) queues.push({ kind: 'chosen', selector })
    return queues
  }

  /** The plan of a choice in which all is decided. */
  arrangement(choice: Choice): Arrangement {
    const { structure, onCpu, cpu, onGpus, roles, loading, cpuDecoders, batches } = this.of(choice)
    const { gpus, delaysMs, queueSize } = this.limits
    const devices = structure.steps.map((_, s): number[] => {
      const onHost = onCpu.indexOf(s)
      if (onHost >= 0) return new Array<number>(cpu[choice.cpu!]![onHost]!).fill(CPU)
      const at = onGpus.indexOf(s)
      return choice.roles.flatMap((role, g) => new Array<number>(roles[role]![at]!).fill(gpus[g]!))
    })
    const decoders = cpuDecoders[choice.cpuDecoders!]
    const batch = batches[choice.batch!]!
    return arrange(this.template.head, {
      structure,
      devices,
      ...loading[choice.inFlight!],
      ...(decoders !== undefined && { cpuDecoders: decoders }),
      batch,
      delayMs: batch === 1 ? 0 : delaysMs[choice.delay!]!,
      queues: this.queuesOf(choice)[choice.queues!]!,
      queueSize,
    })
  }

  /** A plan of a structure with the fewest instances: one of each step, all on the first GPU where they are on GPUs. */
  simplest(
    structure: number,
    { inFlight, cpuDecoders }: Required<Pick<Choice, 'inFlight' | 'cpuDecoders'>>,
    batch = 0,
  ): Choice {
    const { cpu, roles } = this.lists[structure]!
    const least = (lists: readonly number[][]) =>
      lists.reduce((best, list, i) => (smaller(list, lists[best]!) ? i : best), 0)
    const one = roles.findIndex(counts => counts.every(count => count === 1))
    const none = roles.findIndex(counts => counts.every(count => count === 0))
    const gpus = this.gpus({ structure, roles: [] })
    const placed = places(gpus).map(g => (g === 0 ? one : none))
    return { structure, cpu: least(cpu), roles: placed, inFlight, cpuDecoders, batch, delay: 0, queues: 0 }
  }

  /** Plans in the space, at most: fewer are such that the program would run them. */
  get size(): number {
    return this.lists.reduce((sum, lists, structure) => {
      const { cpu, roles, loading, cpuDecoders, batches } = lists
      const gpus = this.gpus({ structure, roles: [] })
      const delays = batches.reduce((all, batch) => all + (batch === 1 ? 1 : this.limits.delaysMs.length), 0)
      const queues = gpus < 2 ? 1 : 1 + (this.limits.perGpuQueues ? 1 : 0) + this.limits.selectors.length
      const own =
        cpu.length * multisets(roles.length, gpus) * loading.length * cpuDecoders.length * delays * queues
      return sum + own
    }, 0)
  }

  /** Plans that differ in one thing from this one, in which all is decided. */
  neighbours(choice: Choice): Choice[] {
    const lists = this.of(choice)
    const others = (
      key: 'inFlight' | 'cpuDecoders' | 'batch' | 'delay' | 'queues',
      count: number,
    ): Choice[] =>
      places(count)
        .filter(value => value !== choice[key])
        .map(value => ({ ...choice, [key]: value }))
    const near = lists.cpu.flatMap((counts, cpu) =>
      cpu !== choice.cpu && differences(counts, lists.cpu[choice.cpu!]!) === 1 ? [{ ...choice, cpu }] : [],
    )
    // GPUs that do the same have the same neighbours.
    const distinct = choice.roles.flatMap((role, g) =>
      choice.roles.indexOf(role) === g ? [{ role, g }] : [],
    )
    const moved = distinct.flatMap(({ role, g }) =>
      lists.roles.flatMap((counts, other) =>
        other !== role && differences(counts, lists.roles[role]!) === 1
          ? [{ ...choice, roles: choice.roles.with(g, other).sort((a, b) => a - b) }]
          : [],
      ),
    )
    // What was chosen of what comes after may no longer be there: the first of it is.
    const settled = moved
      .filter(made => this.counts(made).every(count => count > 0))
      .map(made => (made.queues! < this.queuesOf(made).length ? made : { ...made, queues: 0 }))
    const batched = others('batch', lists.batches.length).map(made =>
      lists.batches[made.batch!] === 1 ? { ...made, delay: 0 } : made,
    )
    return [
      ...near,
      ...settled,
      ...others('inFlight', lists.loading.length),
      ...others('cpuDecoders', lists.cpuDecoders.length),
      ...batched,
      ...(lists.batches[choice.batch!] === 1 ? [] : others('delay', this.limits.delaysMs.length)),
      ...others('queues', this.queuesOf(choice).length),
    ].filter(made => this.#fits(made))
  }
}

/** Sizes of batches of those who do nothing else. */
const joining = (batches: readonly number[]): readonly number[] => {
  const more = batches.filter(batch => batch > 1)
  return more.length > 0 ? more : [2]
}

const smaller = (a: readonly number[], b: readonly number[]): boolean =>
  a.reduce((sum, value) => sum + value, 0) < b.reduce((sum, value) => sum + value, 0)

const differences = (a: readonly number[], b: readonly number[]): number =>
  a.filter((value, i) => value !== b[i]).length
