import { UsageError } from '../errors.ts'

/** A state of a Markov-modulated Poisson process. */
export interface MmppState {
  /** Arrivals a second while it lasts. */
  ratePerS: number
  /** Mean of the exponential time that it lasts. */
  dwellMs: number
}

/** How requests arrive on a schedule that is drawn from the seed. */
export type ArrivalProcess =
  /** At random with a mean rate, or evenly. */
  | { kind: 'poisson' | 'constant'; meanIntervalMs: number }
  /** All at once. */
  | { kind: 'bulk' }
  /** In bursts: at random with the rate of the state, and states take turns, after the last the first. */
  | { kind: 'mmpp'; states: readonly MmppState[] }

/** How requests arrive. */
export type Arrival =
  | ArrivalProcess
  /** As a file says. */
  | { kind: 'trace'; file: string }
  /** When another is done: so many are in flight. */
  | { kind: 'closed'; concurrency: number }

/** Words that `--arrival` may be. */
export const ARRIVAL_WORDS = ['poisson', 'constant', 'bulk'] as const

const FORMS = `${ARRIVAL_WORDS.join(', ')}, mmpp:RATE@MS,RATE@MS,... or trace:FILE`
const MMPP_FORM =
  'two or more states as RATE@MS, requests/s and the mean time there in ms: mmpp:10@900,200@100'
const SMALLEST_DWELL_MS = 1e-3
/** Fewer arrivals than this in a round of all states, and drawing them would take for ever. */
const FEWEST_IN_A_ROUND = 1e-3

/** Arrivals that all states come to in one round. */
const inARound = (states: readonly MmppState[]): number =>
  states.reduce((sum, { ratePerS, dwellMs }) => sum + (ratePerS * dwellMs) / 1000, 0)

/** Mean arrivals a second over a long time. */
export const mmppRate = (states: readonly MmppState[]): number =>
  (inARound(states) / states.reduce((sum, { dwellMs }) => sum + dwellMs, 0)) * 1000

function parseStates(text: string): MmppState[] {
  const states = text.split(',').map(state => {
    const [, rate, dwell] = /^([\d.e+-]+)@([\d.e+-]+)$/i.exec(state.trim()) ?? []
    return { ratePerS: Number(rate), dwellMs: Number(dwell) }
  })
  const fits = states.every(
    ({ ratePerS, dwellMs }) =>
      Number.isFinite(ratePerS) && ratePerS >= 0 && Number.isFinite(dwellMs) && dwellMs >= SMALLEST_DWELL_MS,
  )
  if (states.length < 2 || !fits) throw new UsageError(`--arrival mmpp:${text}: give ${MMPP_FORM}`)
  if (inARound(states) < FEWEST_IN_A_ROUND)
    throw new UsageError(
      `--arrival mmpp:${text}: its states come to ${inARound(states)} arrivals a round; raise a rate or a time`,
    )
  return states
}

/**
 * Reads the value of `--arrival`.
 * @param meanIntervalMs of processes that do not say it themselves
 * @throws {UsageError} saying what it may be
 */
export function parseArrival(text: string, meanIntervalMs: number): Exclude<Arrival, { kind: 'closed' }> {
  const [kind, rest] = text.includes(':')
    ? [text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1)]
    : [text]
  if (kind === 'mmpp' && rest !== undefined) return { kind, states: parseStates(rest) }
  if (kind === 'trace' && rest) return { kind, file: rest }
  const word = ARRIVAL_WORDS.find(known => known === text)
  if (word === undefined) throw new UsageError(`--arrival is one of ${FORMS}`)
  if (word === 'bulk') return { kind: word }
  if (!(meanIntervalMs > 0))
    throw new UsageError(
      '--arrival poisson and constant need a --mean_interval_ms above 0 (0 means bulk: all at once)',
    )
  return { kind: word, meanIntervalMs }
}

/** Mean time between arrivals in ms: as asked for, or of the times in a trace; 0 where arrivals have no rate. */
export function meanIntervalOf(arrival: Arrival, schedule: Float64Array): number {
  switch (arrival.kind) {
    case 'poisson':
    case 'constant':
      return arrival.meanIntervalMs
    case 'mmpp':
      return 1000 / mmppRate(arrival.states)
    case 'trace':
      return schedule.length < 2 ? 0 : (schedule.at(-1)! - schedule[0]!) / (schedule.length - 1) / 1e6
    default:
      return 0
  }
}
