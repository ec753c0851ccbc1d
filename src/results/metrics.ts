import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Collector } from './collector.ts'
import type { RunFacts } from './facts.ts'

/** Upper bounds in seconds, from what a step takes on a GPU to what a client would not wait for. */
const BUCKETS = [
  0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30,
]

const STAGES = ['queue', 'wait', 'run'] as const

/**
 * What a run has come to so far, in Prometheus' text format. Nothing is counted while requests pass: a scrape reads what the
 * collector and the ledger have learnt since the last one.
 */
export class Metrics {
  readonly #registry = new Registry()
  readonly #requests: Counter
  readonly #results: Counter
  readonly #errors: Counter<'code'>
  readonly #clips: Counter
  readonly #latency: Histogram
  readonly #stages: Histogram<'step' | 'kind' | 'stage'>
  readonly #depth: Gauge<'queue'>
  /** Outcomes that are in the histograms. */
  #folded = 0
  /** Requests, results and errors that are in the counters. */
  #arrived = 0
  readonly #failures = new Map<string, number>()

  /** @param depths items in each queue now */
  constructor(
    readonly facts: RunFacts,
    readonly collector: Collector,
    readonly depths: () => number[],
  ) {
    const registers = [this.#registry]
    const { plan, versions } = facts
    this.#requests = new Counter({
      name: 'rnb_requests_total',
      help: 'Requests that have arrived',
      registers,
    })
    this.#results = new Counter({ name: 'rnb_results_total', help: 'Requests that have a result', registers })
    this.#errors = new Counter({
      name: 'rnb_errors_total',
      help: 'Requests that failed, by the name of the fault',
      labelNames: ['code'],
      registers,
    })
    this.#clips = new Counter({ name: 'rnb_clips_total', help: 'Clips of the results', registers })
    this.#latency = new Histogram({
      name: 'rnb_request_latency_seconds',
      help: 'From the intended arrival of a request to its result',
      buckets: BUCKETS,
      registers,
    })
    this.#stages = new Histogram({
      name: 'rnb_stage_seconds',
      help: 'Time of a request in each step: on the queue before it, waiting for its batch, at work',
      labelNames: ['step', 'kind', 'stage'],
      buckets: BUCKETS,
      registers,
    })
    this.#depth = new Gauge({
      name: 'rnb_queue_depth',
      help: 'Items in a queue',
      labelNames: ['queue'],
      registers,
    })
    const capacity = new Gauge({
      name: 'rnb_queue_capacity',
      help: 'Items that a queue has room for',
      labelNames: ['queue'],
      registers,
    })
    for (const queue of plan.queues) capacity.set({ queue: queue.name }, queue.capacity)
    new Gauge({
      name: 'rnb_instances',
      help: 'Instances of a step on a device',
      labelNames: ['step', 'kind', 'device'],
      registers,
      collect() {
        this.reset()
        for (const { step, device } of plan.instances)
          this.inc({ step, kind: plan.steps[step]!.kind, device: device < 0 ? 'cpu' : `cuda:${device}` })
      },
    })
    new Gauge({
      name: 'rnb_info',
      help: 'What runs, as labels',
      labelNames: ['version', 'pipeline', 'hash'],
      registers,
    }).set({ version: versions.rnb ?? '', pipeline: plan.name, hash: plan.hash }, 1)
  }

  /** For the header of an answer. */
  get contentType(): string {
    return this.#registry.contentType
  }

  /** All metrics as text. */
  text(): Promise<string> {
    this.#fold()
    this.facts.plan.queues.forEach((queue, id) => {
      this.#depth.set({ queue: queue.name }, this.depths()[id] ?? 0)
    })
    return this.#registry.metrics()
  }

  #fold(): void {
    const { collector, facts } = this
    const { ledger } = facts
    const arrived = arrivals(facts)
    this.#requests.inc(arrived - this.#arrived)
    this.#arrived = arrived
    for (const [code, count] of collector.failures) {
      this.#errors.inc({ code }, count - (this.#failures.get(code) ?? 0))
      this.#failures.set(code, count)
    }
    const outcomes = collector.outcomesSince(this.#folded)
    this.#folded += outcomes.length
    for (const { request, done } of outcomes) {
      if (!done) continue
      this.#results.inc()
      this.#clips.inc(ledger.clips(request))
      this.#latency.observe((collector.cards.finish(request) - ledger.intended(request)) / 1e9)
      collector.cards.stages(request).forEach((times, step) => {
        const { kind } = facts.plan.steps[step]!
        for (const stage of STAGES)
          if (times[stage] >= 0) this.#stages.observe({ step, kind, stage }, times[stage] / 1e9)
      })
    }
  }
}

/** Requests that have arrived: they do in the order of their numbers. */
function arrivals({ ledger }: RunFacts): number {
  let low = 0
  let high = ledger.size.requests
  while (low < high) {
    const middle = (low + high) >> 1
    if (Number.isNaN(ledger.actual(middle))) high = middle
    else low = middle + 1
  }
  return low
}
