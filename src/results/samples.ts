import type { RunFacts } from './facts.ts'
import type { StageTimes, TimeCards } from './time-card.ts'

type StageSamples = Record<keyof StageTimes, Float64Array>

/** What was measured of some requests, one sample a request, in the requests' order; times in ns. */
export class Samples {
  /** From the intended, and from the actual arrival. */
  readonly latency: Float64Array
  readonly latencyActual: Float64Array
  /** From the intended to the actual arrival. */
  readonly clientDelay: Float64Array
  /** By step, along the part that was done last; NaN where a request did not come there. */
  readonly stages: StageSamples[]
  /** Items of the batch that it ran in, by step; NaN where it did not. */
  readonly batches: Float64Array[]

  constructor({ ledger }: RunFacts, cards: TimeCards, requests: Uint32Array) {
    const column = () => new Float64Array(requests.length)
    this.latency = column()
    this.latencyActual = column()
    this.clientDelay = column()
    this.stages = cards.steps.map(() => ({ queue: column(), wait: column(), run: column() }))
    this.batches = cards.steps.map(column)
    requests.forEach((request, i) => {
      const finish = cards.finish(request)
      const intended = ledger.intended(request)
      const actual = ledger.actual(request)
      this.latency[i] = finish - intended
      this.latencyActual[i] = finish - actual
      this.clientDelay[i] = actual - intended
      cards.stages(request).forEach((times, step) => {
        const stage = this.stages[step]!
        stage.queue[i] = times.queue
        stage.wait[i] = times.wait
        stage.run[i] = times.run
        this.batches[step]![i] = cards.ran(request, 0, step) ? ledger.batch(request, 0, step) : Number.NaN
      })
    })
  }
}
