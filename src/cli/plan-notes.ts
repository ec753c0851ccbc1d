import type { PlanDocument } from '../planner/document.ts'
import type { Planned } from '../planner/planning.ts'
import type { Profile } from '../planner/profile/schema.ts'
import { LINK_BYTES_PER_S } from '../planner/profile/service.ts'
import type { Proven } from '../planner/proof/prove.ts'
import type { PipelineFile } from '../planner/types.ts'
import { CPU } from '../steps/step.ts'
import type { PlanFlags } from './plan-request.ts'

/** Half a confidence interval of a mean, relative to it, that people should hear of. */
const WIDE = 0.05

/** How sure the race was, and what the winner brings. */
export function proofLine({ verdict, gain_over_given: gain }: NonNullable<PlanDocument['proof']>): string {
  if (gain === null) return verdict
  const percent = (100 * Math.abs(gain)).toFixed(1)
  return `${verdict}; ${percent} % ${gain < 0 ? 'worse' : 'better'} than the file as given, in the rounds that both ran`
}

/** How well the steps are known, where that is not as well as wanted. */
export function notesOfProfile({ measured: { left, widestInterval } }: Profile): string[] {
  const wide = widestInterval === null || widestInterval > WIDE
  const known =
    widestInterval === null ? 'some from a single call' : `within ${(100 * widestInterval).toFixed(0)} %`
  return [
    ...(left.length > 0
      ? [`no time was left to measure ${left.join(', ')}: a larger --budget, or the same command again, does`]
      : []),
    ...(wide
      ? [`means of calls are known with 95 % confidence only ${known}: predictions are no better`]
      : []),
  ]
}

/** What is made on one GPU may then be taken on another. */
const usesSeveralGpus = ({ pipeline }: PipelineFile): boolean => {
  const devices = pipeline.flatMap(({ queue_groups: groups }) => groups.flatMap(({ gpus = [] }) => gpus))
  return new Set(devices.filter(gpu => gpu !== CPU)).size > 1
}

/** What limits the meaning of a plan. */
export function notesOf(
  flags: PlanFlags,
  { found, plans, unknown }: Planned,
  proven: Proven | undefined,
): string[] {
  const notes: string[] = []
  if (unknown.length > 0)
    notes.push(`left out of the search, as there was no time to measure it: ${unknown.join(' | ')}`)
  if (flags.what_if) notes.push('simulated: nothing of this ran, and the GPUs or hosts were not measured')
  else if (flags.no_proof) notes.push('not proven: no plan ran for real (--no-proof)')
  else if (proven?.end.winner === undefined) notes.push('not proven: no run gave figures')
  else if (!proven.heldOut && !proven.interrupted)
    notes.push(
      'no time was left to run the winner with a seed that no run before had: a larger --budget does',
    )
  if (found.ended === 'stopped')
    notes.push(`the search ended with its time: it tried ${found.evaluated} of at most ${found.size} plans`)
  if (found.beyondBound > 0)
    notes.push(
      `${found.beyondBound} plans were predicted to be better than their bound: the bound and the gap prove nothing here`,
    )
  if (usesSeveralGpus(plans[0].arrangement.config))
    notes.push(
      `transfers from GPU to GPU were not measured: ${LINK_BYTES_PER_S / 1e9} GB/s are assumed, as over PCIe 4.0`,
    )
  const slo = flags.slo_ms
  const won = proven?.end.winner === undefined ? undefined : proven.end.values[proven.end.winner]
  if (slo !== undefined && won?.some(value => -value > slo))
    notes.push(
      `p99 was over ${slo} ms in ${won.filter(value => -value > slo).length} of the winner's ${won.length} runs`,
    )
  if (plans[0].bulk.aborted) notes.push('a queue was full in bulk, as predicted')
  return notes
}
