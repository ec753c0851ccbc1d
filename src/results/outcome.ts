import { deviceText } from './device.ts'
import type { RunFacts } from './facts.ts'
import type { ErrorLine, ResultLine } from './schema.ts'
import { milliseconds } from './statistics.ts'
import type { TimeCards } from './time-card.ts'

/** Digits of a score: what a float32 holds. */
const SCORE_DIGITS = 7

const isRandom = (weights: string): boolean => weights.split(', ').some(name => name.startsWith('random:'))

type Fault = Pick<ErrorLine, 'step' | 'kind' | 'name' | 'code' | 'message'>

/** Why last steps have no result: what failed on the way to each, by its place among the last steps. */
export type LeafErrors = ReadonlyMap<number, ErrorLine>

/** A decoder as steps name it: `libav`, or with the reason for it, `libav (not nvdec: codec)`. */
function decoderOf(name = 'none'): { decoder: string; decoder_reason?: string } {
  const [, decoder, reason] = /^(.*?) \((.*)\)$/.exec(name) ?? []
  return decoder && reason ? { decoder, decoder_reason: reason } : { decoder: name }
}

/** What failed, and where. */
const faultOf = ({ step, kind, name, code, message }: Fault): Fault => ({
  step,
  kind,
  ...(name !== undefined && { name }),
  code,
  message,
})

/** Makes the lines of single requests. */
export class Outcomes {
  readonly #weights: { weights?: string }

  constructor(
    readonly facts: RunFacts,
    readonly cards: TimeCards,
  ) {
    this.#weights = isRandom(facts.weights) ? { weights: facts.weights } : {}
  }

  /**
   * The line of a request that is done.
   * @param startNs start of the run
   * @param errors of last steps that have no result
   */
  result(request: number, startNs: number, errors?: LeafErrors): ResultLine {
    const { facts, cards } = this
    const { ledger } = facts
    const intended = ledger.intended(request)
    const actual = ledger.actual(request)
    const finish = cards.finish(request)
    const cpuUs = ledger.cpuUs(request)
    return {
      type: 'result',
      id: request,
      ...this.#named(request),
      top: this.#top(request, 0),
      ...this.branches(request, errors),
      clips: ledger.clips(request),
      ...decoderOf(ledger.decoder(request)),
      frames_needed: ledger.framesNeeded(request),
      frames_decoded: ledger.framesDecoded(request),
      ...(cpuUs !== undefined && { load_cpu_ms: cpuUs / 1000 }),
      steps: this.#steps(request),
      intended_ms: milliseconds(intended - startNs),
      actual_ms: milliseconds(actual - startNs),
      latency_ms: milliseconds(finish - intended),
      latency_actual_ms: milliseconds(finish - actual),
      warmup: request < facts.warmup,
      ...this.#weights,
    }
  }

  /** The line of a request that has failed. @param startNs start of the run */
  error(
    request: number,
    startNs: number,
    { step, code, message }: Pick<ErrorLine, 'step' | 'code' | 'message'>,
  ): ErrorLine {
    const { plan, ledger } = this.facts
    const { kind = 'unknown', name } = plan.steps[step] ?? {}
    const fault = faultOf({ step, kind, name, code, message })
    const intended_ms = milliseconds(ledger.intended(request) - startNs)
    return { type: 'error', id: request, ...this.#named(request), ...fault, intended_ms }
  }

  /** The request's video, and its class if it has one. */
  #named(request: number): { video: string; class?: string } {
    const { facts } = this
    const name = facts.classOf?.(request)
    return { video: facts.video(request), ...(name !== undefined && { class: name }) }
  }

  #top(request: number, leaf: number): ResultLine['top'] {
    const labels = this.facts.labels?.[leaf]
    return this.facts.ledger.top(request, leaf).map(({ index, score }) => ({
      label: labels?.[index] ?? String(index),
      index,
      score: Number(score.toPrecision(SCORE_DIGITS)),
    }))
  }

  /** What each last step gave, where there are several. */
  branches(request: number, errors?: LeafErrors): Pick<ResultLine, 'branches'> {
    const { plan, ledger } = this.facts
    const { leaves } = this.cards
    if (leaves.length < 2) return {}
    return {
      branches: leaves.map((step, leaf) => {
        const { kind, name = kind } = plan.steps[step]!
        const failed = errors?.get(leaf)
        if (failed) return { step, name, error: faultOf(failed) }
        const latency = this.cards.finishOf(request, step) - ledger.intended(request)
        return { step, name, top: this.#top(request, leaf), latency_ms: milliseconds(latency) }
      }),
    }
  }

  #steps(request: number): ResultLine['steps'] {
    const { plan, ledger } = this.facts
    return plan.steps.flatMap(({ kind, name, parts }, step) => {
      const ran = Array.from({ length: parts }, (_, part) => part).filter(part =>
        this.cards.ran(request, part, step),
      )
      return ran.flatMap(part => {
        const { queue, wait, run } = this.cards.partTimes(request, part, step)
        // It failed there; `branches` says so.
        if (Number.isNaN(run)) return []
        const values = ledger.values(request, part, step)
        return {
          step,
          kind,
          ...(name !== undefined && { name }),
          ...(parts > 1 && { part }),
          device: deviceText(ledger.device(request, part, step)),
          batch: ledger.batch(request, part, step),
          queue_ms: milliseconds(queue),
          wait_ms: milliseconds(wait),
          run_ms: milliseconds(run),
          ...(values !== undefined && { values: JSON.parse(values) as unknown }),
        }
      })
    })
  }
}
