import type { RunFacts } from '../results/facts.ts'
import type { TimeCards } from '../results/time-card.ts'
import { RECORD, type TraceRecord, Track, type TrackHandle } from './buffer.ts'
import { type ChromeEvent, microseconds, PID, trackEvents } from './chrome.ts'

/** A track of a run's trace. */
export interface RunTrack {
  name: string
  handle: TrackHandle
  /** The step that its thread runs; the client's runs none. */
  step?: number
  /** A stream of a GPU, in place of a thread. */
  gpu?: boolean
}

/** Values over time that something else than a track has kept. */
export interface Counter {
  name: string
  /** Time in ns, and the value from then on. */
  points: Iterable<readonly [number, number]>
}

/** What a trace is made of, when the run has ended. */
export interface TraceSource {
  facts: Pick<RunFacts, 'ledger' | 'plan' | 'video'>
  cards: TimeCards
  tracks: readonly RunTrack[]
  counters: readonly Counter[]
  startNs: number
  /** What readers should know of how it was recorded. */
  notes?: Record<string, unknown>
}

/** Where a request was begun: a point of its flow. */
interface Visit {
  request: number
  ns: number
  tid: number
}

const asyncSpan = (
  event: Pick<ChromeEvent, 'name' | 'cat' | 'id' | 'args'>,
  begin: number,
  end: number,
): ChromeEvent[] => {
  const { args, ...ends } = event
  return [
    { ...ends, ph: 'b', ts: begin, pid: PID, tid: 0, args },
    { ...ends, ph: 'e', ts: end, pid: PID, tid: 0 },
  ]
}

class TraceEvents {
  readonly #visits: Visit[] = []

  constructor(readonly source: TraceSource) {}

  *all(): Generator<ChromeEvent> {
    yield { name: 'process_name', ph: 'M', pid: PID, args: { name: `rnb ${this.source.facts.plan.name}` } }
    for (const [i, track] of this.source.tracks.entries()) if (!track.gpu) yield* this.#track(track, i + 1)
    let lanes = this.source.tracks.length
    for (const [i, track] of this.source.tracks.entries())
      if (track.gpu) lanes = yield* this.#stream(track, i + 1, lanes)
    yield* this.#flows()
    for (const { name, points } of this.source.counters)
      for (const [ns, value] of points) yield this.#counter(name, ns, { value })
  }

  #us(ns: number): number {
    return microseconds(ns, this.source.startNs)
  }

  *#track(track: RunTrack, tid: number): Generator<ChromeEvent> {
    yield* trackEvents(tid, track.name)
    for (const record of new Track(track.handle).records()) {
      const { kind, name, beginNs, endNs, request, part, amount } = record
      if (kind === RECORD.span || (kind === RECORD.visit && amount <= 1)) {
        const ts = this.#us(beginNs)
        const args = { ...(request >= 0 && { request }), ...(amount > 0 && { amount }) }
        // From rounded ends, so that a span stays within the one around it.
        const dur = Math.round((this.#us(endNs) - ts) * 1e3) / 1e3
        yield { name, ph: 'X', cat: 'work', ts, dur, pid: PID, tid, args }
      }
      if (kind === RECORD.depth) {
        const { name: queue } = this.source.facts.plan.queues[request]!
        yield this.#counter(`queue ${queue}`, beginNs, { items: amount })
      }
      if (kind === RECORD.visit) {
        this.#visits.push({ request, ns: beginNs, tid })
        if (track.step !== undefined) yield* this.#stages(request, part, track.step)
      }
    }
  }

  /**
   * The work of a stream. A kernel may begin while the one before it ends, and events of one track must not overlap: such
   * a kernel stands on a track beside.
   * @param lanes tracks that there are so far
   * @returns how many there are then
   */
  *#stream(track: RunTrack, tid: number, lanes: number): Generator<ChromeEvent, number> {
    yield* trackEvents(tid, track.name)
    const records = [...new Track(track.handle).records()].sort((a, b) => a.beginNs - b.beginNs)
    const ends = [{ tid, ns: Number.NEGATIVE_INFINITY }]
    for (const record of records) {
      let lane = ends.find(({ ns }) => ns <= record.beginNs)
      if (!lane) {
        lane = { tid: ++lanes, ns: 0 }
        ends.push(lane)
        yield* trackEvents(lane.tid, `${track.name}, overlapping`)
      }
      lane.ns = record.endNs
      yield this.#work(record, lane.tid)
    }
    return lanes
  }

  #work({ name, launch, beginNs, endNs, request, amount }: TraceRecord, tid: number): ChromeEvent {
    const ts = this.#us(beginNs)
    const args = {
      ...(launch !== undefined && { launch }),
      ...(request >= 0 && { request }),
      ...(amount > 0 && { bytes: amount }),
    }
    const dur = Math.round((this.#us(endNs) - ts) * 1e3) / 1e3
    return { name, ph: 'X', cat: 'gpu', ts, dur, pid: PID, tid, args }
  }

  #counter(name: string, ns: number, args: Record<string, number>): ChromeEvent {
    return { name, ph: 'C', ts: this.#us(ns), pid: PID, args }
  }

  /** What the ledger knows of a part of a request in a step: its time on the queue, in a batch that fills, at work. */
  *#stages(request: number, part: number, step: number): Generator<ChromeEvent> {
    const { facts, cards } = this.source
    const { queue, wait, run } = cards.partTimes(request, part, step)
    const taken = facts.ledger.time(request, part, step, 'runnerStart')
    const { kind, name = kind } = facts.plan.steps[step]!
    const args = { request, part, video: facts.video(request) }
    const id = `${request}.${step}.${part}`
    const stages = [
      ['queue', taken - queue, taken],
      ['wait', taken, taken + wait],
      ['run', taken + wait, taken + wait + run],
    ] as const
    // What failed has no end, and a batch of one may not have waited.
    for (const [stage, begin, end] of stages)
      if (end > begin)
        yield* asyncSpan(
          { name: `step ${step} (${name}) ${stage}`, cat: stage, id, args },
          this.#us(begin),
          this.#us(end),
        )
  }

  /** Arrows from where a request was sent to each place where it ran, in the order of time. */
  *#flows(): Generator<ChromeEvent> {
    const visits = this.#visits.sort((a, b) => a.request - b.request || a.ns - b.ns)
    for (const [i, { request, ns, tid }] of visits.entries()) {
      const first = visits[i - 1]?.request !== request
      const last = visits[i + 1]?.request !== request
      if (first && last) continue
      const ph = first ? 's' : last ? 'f' : 't'
      yield {
        name: 'request',
        cat: 'flow',
        ph,
        id: String(request),
        ts: this.#us(ns),
        pid: PID,
        tid,
        ...(last && { bp: 'e' }),
      }
    }
  }
}

/** The events of a run's trace: spans by thread, the stages of each request, its flow from thread to thread, and counters. */
export const traceEvents = (source: TraceSource): Generator<ChromeEvent> => new TraceEvents(source).all()
