import { deviceText } from './device.ts'
import type { RunFacts } from './facts.ts'
import type { ErrorLine, ResultLine } from './schema.ts'
import { milliseconds } from './statistics.ts'
import type { TimeCards } from './time-card.ts'

/** Digits of a score: what a float32 holds. */
const SCORE_DIGITS = 7

const isRandom = (weights: string): boolean => weights.startsWith('random:')

/** A decoder as steps name it: `libav`, or with the reason for it, `libav (not nvdec: codec)`. */
function decoderOf(name = 'none'): { decoder: string; decoder_reason?: string } {
  const [, decoder, reason] = /^(.*?) \((.*)\)$/.exec(name) ?? []
  return decoder && reason ? { decoder, decoder_reason: reason } : { decoder: name }
}

/** Makes the lines of single requests. */
export class Outcomes {
  readonly #weights: { weights?: string }

  constructor(
    readonly facts: RunFacts,
    readonly cards: TimeCards,
  ) {
    this.#weights = isRandom(facts.weights) ? { weights: facts.weights } : {}
  }

  /** The line of a request that is done. @param startNs start of the run */
  result(request: number, startNs: number): ResultLine {
    const { facts, cards } = this
    const { ledger, labels } = facts
    const intended = ledger.intended(request)
    const actual = ledger.actual(request)
    const finish = cards.finish(request)
    return {
      type: 'result',
      id: request,
      video: facts.video(request),
      top: ledger.top(request).map(({ index, score }) => ({
        label: labels?.[index] ?? String(index),
        index,
        score: Number(score.toPrecision(SCORE_DIGITS)),
      })),
      clips: ledger.clips(request),
      ...decoderOf(ledger.decoder(request)),
      frames_needed: ledger.framesNeeded(request),
      frames_decoded: ledger.framesDecoded(request),
      steps: this.#steps(request),
      intended_ms: milliseconds(intended - startNs),
      actual_ms: milliseconds(actual - startNs),
      latency_ms: milliseconds(finish - intended),
      latency_actual_ms: milliseconds(finish - actual),
      warmup: request < facts.warmup,
      ...this.#weights,
    }
  }

  error(request: number, step: number, code: string, message: string): ErrorLine {
    const { plan, video } = this.facts
    const kind = plan.steps[step]?.kind ?? 'unknown'
    return { type: 'error', id: request, video: video(request), step, kind, code, message }
  }

  #steps(request: number): ResultLine['steps'] {
    const { plan, ledger } = this.facts
    return plan.steps.flatMap(({ kind, parts }, step) => {
      const ran = Array.from({ length: parts }, (_, part) => part).filter(part =>
        this.cards.ran(request, part, step),
      )
      return ran.map(part => {
        const { queue, wait, run } = this.cards.partTimes(request, part, step)
        const values = ledger.values(request, part, step)
        return {
          step,
          kind,
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
