/** One event of the Chrome trace event format (JSON), which Perfetto, chrome://tracing and Speedscope read. */
export interface ChromeEvent {
  name: string
  /** X a span, b and e the ends of an asynchronous one, s t f a flow's steps, C counters, M metadata. */
  ph: 'X' | 'b' | 'e' | 's' | 't' | 'f' | 'C' | 'M'
  cat?: string
  /** Microseconds. */
  ts?: number
  dur?: number
  pid: number
  tid?: number
  id?: string
  /** Of the end of a flow: it leads to the span around it, as its steps do. */
  bp?: 'e'
  args?: Record<string, unknown>
}

/** The one process of a trace. */
export const PID = 1

/** Microseconds, exact to the nanosecond, after the start of a run. */
export const microseconds = (ns: number, startNs: number): number => Math.round(ns - startNs) / 1e3

/** What names a track, and says where among the others it stands. */
export const trackEvents = (tid: number, name: string): ChromeEvent[] => [
  { name: 'thread_name', ph: 'M', pid: PID, tid, args: { name } },
  { name: 'thread_sort_index', ph: 'M', pid: PID, tid, args: { sort_index: tid } },
]

/** The whole trace, event by event, as text to write. */
export function* chromeText(
  events: Iterable<ChromeEvent>,
  facts: Record<string, unknown>,
): Generator<string> {
  yield `{"displayTimeUnit":"ms","otherData":${JSON.stringify(facts)},"traceEvents":[`
  let comma = '\n'
  for (const event of events) {
    yield `${comma}${JSON.stringify(event)}`
    comma = ',\n'
  }
  yield '\n]}\n'
}
