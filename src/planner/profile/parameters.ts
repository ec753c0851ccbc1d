import type { Profile } from './schema.ts'

/** A number of a profile that cannot be measured by itself. */
export interface Parameter {
  low: number
  high: number
  /** What holds it, and by which name. */
  of: { [name: string]: number }
  name: string
}

/** The parameters of a profile, for its steps on the host and on GPUs. They are the profile's own: to set them changes it. */
export function parametersOf(profile: Profile): Parameter[] {
  const { capacities, steps } = profile
  const uses = (name: string) =>
    steps.some(({ shares, hostWidth = 0 }) => (shares[name] ?? 0) > 0 || (name === 'cores' && hostWidth > 0))
  const capacity = (name: string, low: number, high: number): Parameter[] =>
    uses(name) ? [{ low, high, of: capacities, name }] : []
  return [
    // Two threads of one core are at least as good as one.
    ...capacity('cores', profile.about.cores / 2, profile.about.cores),
    ...(steps.some(({ width }) => width > 1) ? [own(profile, 'straggling', ...STRAGGLING)] : []),
    ...capacity('nvdec', 0.5, 64),
    ...(uses('nvdec') ? [own(profile, 'friction', ...FRICTION)] : []),
  ]
}

const STRAGGLING = [1, 5] as const
const FRICTION = [0.002, 0.2] as const

/** Of the profile itself, which holds more than numbers. */
function own(profile: Profile, name: 'straggling' | 'friction', low: number, high: number): Parameter {
  const of = {
    get [name]() {
      return profile[name]
    },
    set [name](value: number) {
      profile[name] = value
    },
  }
  return { low, high, of, name }
}
