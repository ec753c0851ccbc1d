import type {
  ActivityRecord,
  KernelRecord,
  KernelShape,
  OverheadRecord,
  TransferRecord,
} from '../../../ffi/cupti/records.ts'
import type { SharedNamesHandle } from '../../results/shared-names.ts'
import { Track, type TrackHandle } from '../buffer.ts'
import { callOf, type GraphFacts, type LaunchFacts, type ThreadFacts } from './facts.ts'

type WorkRecord = KernelRecord | TransferRecord

/** All that one kind of work came to, in one step, on one device. */
export interface WorkRow {
  device: number
  /** Undefined for what no call of a step put there. */
  step?: number
  kind: WorkRecord['kind']
  /** The kernel's, or what kind of copy. */
  name: string
  /** Of the network's launch that it is part of. */
  launch?: string
  how?: string
  layer?: number
  calls: number
  /** From the start of each to its end. */
  totalNs: number
  /** The same without what the work before it on its stream still took meanwhile: kernels may begin early, and wait. */
  ownNs: number
  minNs: number
  maxNs: number
  /** Of launches: the least that they had to do, in all calls; of copies and fills: bytes moved. */
  flops: number
  bytes: number
  /** How the kernel was launched last. */
  shape?: KernelShape
}

/** Work on one stream over time. */
export interface StreamTrack {
  device: number
  stream: number
  /** Of the thread that puts work there, if a step's call did. */
  thread?: number
  handle: TrackHandle
}

/** Which launch of a network a kernel is part of, and whether it is the first of that one's. */
interface LaunchPart {
  launch: LaunchFacts
  first: boolean
}

/** A graph whose launches are known, and its nodes as soon as they are. */
interface KnownGraph {
  facts: GraphFacts
  nodes: number
  /** By the node's number in records. */
  launchOf?: Map<number, LaunchPart>
}

/** Correlations that are kept to be looked up: those of the last so many calls. */
const CORRELATIONS = 2 ** 18
/** Work of which the call, or the place in its graph, is not known yet. */
const MOST_PENDING = 2 ** 18
const MOST_FOLLOWING = 2 ** 16
const MOST_TRACKS = 256
/** Kernels outside a graph that are not the network's last launch. */
const AROUND: ReadonlySet<string> = new Set(['arrange', 'clip'])

export interface CollectorOptions {
  threads: readonly ThreadFacts[]
  /** Of the trace that the tracks will be part of. */
  names: SharedNamesHandle
  /** Records that each track keeps. */
  trackRecords: number
  /** Time of the monotonic clock when the run started; 0 before. */
  started(): number
  /** A moment of the records' clock on the monotonic one. */
  monotonic(ns: number): number
}

/**
 * Puts together what CUPTI says of a run's work: which kernel was which launch of a network, for which step and request.
 * Records come in no order, and what belongs together comes in several of them.
 */
export class Collector {
  readonly rows = new Map<string, WorkRow>()
  readonly streams = new Map<string, StreamTrack & { track: Track }>()
  /** Time that CUPTI and the driver took beside, by what for. */
  readonly overheads = new Map<string, { count: number; totalNs: number }>()
  /** Work that nothing is known of but itself. */
  unattributed = 0
  /** Records of work before the run started. */
  early = 0
  readonly #graphs = new Map<number, KnownGraph>()
  readonly #correlations = new Uint32Array(CORRELATIONS)
  readonly #ids = new Float64Array(CORRELATIONS)
  #pending: WorkRecord[] = []
  /** By device and stream: the last start of what has been taken account of, and its last end. */
  readonly #latest = new Map<string, { startNs: number; endNs: number }>()
  /** By external id of a call that launched a graph: the launch that follows the graph. */
  readonly #following = new Map<number, LaunchPart>()
  /** Of each step, such a launch: for calls whose graph was not recorded. */
  readonly #last = new Map<number, LaunchFacts>()
  /** How often each graph was launched. */
  readonly #launches = new Map<number, number>()

  constructor(readonly options: CollectorOptions) {}

  /** Graphs of the run's networks, and how often each was launched. */
  get graphs(): { step: number; clips: number; launches: number }[] {
    return [...this.#graphs.values()].map(({ facts: { graph, step, clips } }) => ({
      step,
      clips,
      launches: this.#launches.get(graph) ?? 0,
    }))
  }

  /** A graph that a runner will launch. */
  graph(facts: GraphFacts): void {
    const nodes = facts.launches.reduce((sum, launch) => sum + launch.nodes, 0)
    this.#graphs.set(facts.graph, { facts, nodes })
    this.#last.set(facts.step, facts.last)
  }

  take(record: ActivityRecord): void {
    if (record.kind === 'external') {
      const slot = record.correlation % CORRELATIONS
      this.#correlations[slot] = record.correlation
      this.#ids[slot] = record.id
    } else if (record.kind === 'overhead') this.#overhead(record)
    else this.#pending.push(record)
  }

  #overhead({ name, startNs, endNs }: OverheadRecord): void {
    const known = this.overheads.get(name) ?? { count: 0, totalNs: 0 }
    this.overheads.set(name, { count: known.count + 1, totalNs: known.totalNs + endNs - startNs })
  }

  /**
   * Takes account of the work of which everything is known by now.
   * @param all of the rest, too: nothing more is to come
   */
  settle(all = false): void {
    const started = this.options.started()
    const due = this.#pending.filter(
      ({ startNs }) => started > 0 && this.options.monotonic(startNs) >= started,
    )
    this.early += this.#pending.length - due.length
    this.#learnNodes(due)
    this.#learnFollowing(due)
    const forced = all || due.length > MOST_PENDING
    due.sort((a, b) => a.startNs - b.startNs)
    const waiting = new Set<string>()
    this.#pending = due.filter(record => {
      const key = `${record.device} ${record.stream}`
      if (!waiting.has(key) && this.#settled(record, forced)) return false
      waiting.add(key)
      return true
    })
  }

  /**
   * The nodes of a captured stream follow one another: those of one launch of the graph, in the order of their time, are
   * those of the network's launches in turn. That is so of every launch of the graph, hence found out once.
   */
  #learnNodes(records: readonly WorkRecord[]): void {
    const groups = new Map<string, WorkRecord[]>()
    for (const record of records) {
      const known = this.#graphs.get(record.graph)
      if (record.graph === 0 || !known || known.launchOf) continue
      const key = `${record.graph} ${record.correlation}`
      const group = groups.get(key)
      if (group) group.push(record)
      else groups.set(key, [record])
    }
    for (const group of groups.values()) {
      const known = this.#graphs.get(group[0]!.graph)!
      if (group.length !== known.nodes || known.launchOf) continue
      group.sort((a, b) => a.startNs - b.startNs)
      const launches = known.facts.launches.flatMap(launch =>
        Array.from({ length: launch.nodes }, (_, i) => ({ launch, first: i === 0 })),
      )
      known.launchOf = new Map(group.map(({ node }, i) => [node, launches[i]!]))
    }
  }

  /** Who launched which graph says for how many clips the launch after it is. */
  #learnFollowing(records: readonly WorkRecord[]): void {
    // Calls follow each other: what is not asked for soon is not asked for at all.
    if (this.#following.size > MOST_FOLLOWING) this.#following.clear()
    for (const record of records) {
      const known = this.#graphs.get(record.graph)
      const id = known && this.#idOf(record)
      if (id !== undefined && !this.#following.has(id))
        this.#following.set(id, { launch: known!.facts.last, first: true })
    }
  }

  /** The external id of the call that asked for some work. */
  #idOf({ correlation }: WorkRecord): number | undefined {
    const slot = correlation % CORRELATIONS
    return this.#correlations[slot] === correlation ? this.#ids[slot]! : undefined
  }

  /** Takes account of one record, unless more may be known of it later. */
  #settled(record: WorkRecord, forced: boolean): boolean {
    const id = this.#idOf(record)
    const call = id === undefined ? undefined : callOf(id)
    const graph = record.graph === 0 ? undefined : this.#graphs.get(record.graph)
    if (!forced && (call === undefined || (graph && !graph.launchOf))) return false
    const step = call ? this.options.threads[call.thread]?.step : graph?.facts.step
    const follows = record.graph === 0 && this.#mayFollow(record, step)
    if (!forced && follows && !this.#following.has(id!)) return false
    const part = graph ? graph.launchOf?.get(record.node) : follows ? this.#lastOf(step!, id) : undefined
    if (step === undefined) this.unattributed++
    this.#count(record, step, part)
    this.#note(record, call, part?.launch)
    return true
  }

  /** A kernel of a network's step that is in no graph, and does not bring the input together, is of the last launch. */
  #mayFollow({ kind, name }: WorkRecord, step: number | undefined): boolean {
    return kind === 'kernel' && step !== undefined && this.#last.has(step) && !AROUND.has(name)
  }

  #lastOf(step: number, id: number | undefined): LaunchPart {
    const part = id === undefined ? undefined : this.#following.get(id)
    if (!part) return { launch: this.#last.get(step)!, first: false }
    this.#following.set(id!, { ...part, first: false })
    return part
  }

  /** What a stream does is taken account of in the order of its time, but for what comes late: that counts in full. */
  #ownNs({ device, stream, startNs, endNs }: WorkRecord): number {
    const key = `${device} ${stream}`
    const before = this.#latest.get(key)
    if (before && startNs < before.startNs) return endNs - startNs
    const busy = before?.endNs ?? Number.NEGATIVE_INFINITY
    this.#latest.set(key, { startNs, endNs: Math.max(busy, endNs) })
    return Math.max(0, endNs - Math.max(startNs, busy))
  }

  #count(record: WorkRecord, step: number | undefined, part: LaunchPart | undefined): void {
    const { device, kind, name } = record
    const key = `${device} ${step} ${part?.launch.name} ${part?.launch.how} ${name}`
    let row = this.rows.get(key)
    if (!row) {
      row = {
        device,
        step,
        kind,
        name,
        ...(part && { launch: part.launch.name, how: part.launch.how, layer: part.launch.layer }),
        calls: 0,
        totalNs: 0,
        ownNs: 0,
        minNs: Number.POSITIVE_INFINITY,
        maxNs: 0,
        flops: 0,
        bytes: 0,
      }
      this.rows.set(key, row)
    }
    const ns = record.endNs - record.startNs
    row.calls++
    row.totalNs += ns
    row.ownNs += this.#ownNs(record)
    row.minNs = Math.min(row.minNs, ns)
    row.maxNs = Math.max(row.maxNs, ns)
    if (record.kind === 'kernel') row.shape = record.shape
    else row.bytes += record.bytes
    // What several kernels do together counts once.
    if (part?.first) {
      if (record.graph !== 0 && part.launch === this.#graphs.get(record.graph)?.facts.launches[0])
        this.#launches.set(record.graph, (this.#launches.get(record.graph) ?? 0) + 1)
      row.flops += part.launch.flops
      row.bytes += part.launch.bytes
    }
  }

  #note(
    record: WorkRecord,
    call: ReturnType<typeof callOf> | undefined,
    launch: LaunchFacts | undefined,
  ): void {
    const { device, stream } = record
    const key = `${device} ${stream}`
    let known = this.streams.get(key)
    if (!known) {
      if (this.streams.size === MOST_TRACKS) return
      const handle = Track.create(this.options.names, this.options.trackRecords)
      known = { device, stream, handle, track: new Track(handle) }
      this.streams.set(key, known)
    }
    if (call) known.thread ??= call.thread
    const { monotonic } = this.options
    const begin = monotonic(record.startNs)
    const bytes = record.kind === 'kernel' ? 0 : record.bytes
    known.track.work(record.name, begin, monotonic(record.endNs), call?.request ?? -1, launch?.name, bytes)
  }
}
