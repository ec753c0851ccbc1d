import type { Path, Problems } from './problems.ts'
import type { StepInput } from './schema.ts'

/** How the steps are connected, by their indices in the file. */
export interface Graph {
  /** Steps that each step reads from; none for the first, which takes from the client. */
  sources: number[][]
  /** Steps that read from each step; where there are none, results leave the pipeline. */
  readers: number[][]
}

/** What the graph needs to know of a step's kind. */
export interface StepNature {
  /** Names of its kind, this project's first. */
  names: readonly [string, ...string[]]
  /** Whether it can read from several steps. */
  joins: boolean
}

const inputsPath = (step: number): Path => ['pipeline', step, 'inputs']

/** The step that an entry of `inputs` means: its index, its name, or its kind if no other is of that kind. */
function resolve(
  reference: number | string,
  steps: readonly StepInput[],
  natures: readonly (StepNature | undefined)[],
): number | string {
  if (typeof reference === 'number')
    return reference < steps.length
      ? reference
      : `there is no step ${reference}; they are 0 to ${steps.length - 1}`
  const named = steps.findIndex(({ name }) => name === reference)
  if (named >= 0) return named
  const alike = steps.flatMap(({ name, model }, s) =>
    name === undefined && (natures[s]?.names.includes(reference) ?? model === reference) ? [s] : [],
  )
  if (alike.length === 1) return alike[0]!
  if (alike.length > 1)
    return `steps ${alike.join(', ')} are called ${reference}; give the one that is meant a "name"`
  const names = steps.map(({ name }, s) => name ?? natures[s]?.names[0] ?? s)
  return `no step is called ${reference}; they are ${names.join(', ')}`
}

/** The steps from `from` up to `to`, each of which reads from the next; undefined if there is no such way. */
function wayUp(
  sources: readonly number[][],
  from: number,
  to: number,
  seen = new Set<number>(),
): number[] | undefined {
  if (from === to) return [to]
  seen.add(from)
  for (const source of sources[from]!) {
    const rest = seen.has(source) ? undefined : wayUp(sources, source, to, seen)
    if (rest) return [from, ...rest]
  }
  return undefined
}

function checkNames(steps: readonly StepInput[], problems: Problems): void {
  steps.forEach(({ name }, s) => {
    const first = steps.findIndex(other => other.name === name)
    if (name !== undefined && first < s)
      problems.add(['pipeline', s, 'name'], name, `step ${first} has this name; names must differ`)
  })
}

/** Sources of a step as written, or undefined after adding what is wrong with them. */
function sourcesOf(
  s: number,
  steps: readonly StepInput[],
  natures: readonly (StepNature | undefined)[],
  problems: Problems,
): number[] | undefined {
  const { inputs } = steps[s]!
  if (inputs === undefined) return s === 0 ? [] : [s - 1]
  const wrong = (right: string) => {
    problems.add(inputsPath(s), inputs, right)
    return undefined
  }
  if (s === 0) return wrong('the first step takes from the client; remove it')
  if (inputs.length === 0)
    return wrong('nothing would ever reach this step; name a step, or remove it to read from the step before')
  const found = inputs.map(reference => resolve(reference, steps, natures))
  const fault = found.find(entry => typeof entry === 'string')
  if (fault !== undefined) return wrong(fault)
  const sources = found as number[]
  if (new Set(sources).size < sources.length) return wrong('names a step twice')
  const nature = natures[s]
  if (sources.length > 1 && nature && !nature.joins)
    return wrong(`a step of kind ${nature.names[0]} reads from one step; only an aggregator joins several`)
  return sources
}

/**
 * Works out which step reads from which: as `inputs` say, by default from the step before.
 * @param natures by step; undefined where the kind is unknown
 * @returns undefined after adding what is wrong: names, references, cycles, steps that nothing reaches
 */
export function stepGraph(
  steps: readonly StepInput[],
  natures: readonly (StepNature | undefined)[],
  problems: Problems,
): Graph | undefined {
  checkNames(steps, problems)
  const resolved = steps.map((_, s) => sourcesOf(s, steps, natures, problems))
  if (resolved.includes(undefined)) return undefined
  const sources = resolved as number[][]
  let ordered = true
  sources.forEach((mine, s) => {
    for (const later of mine.filter(source => source >= s)) {
      ordered = false
      const way = wayUp(sources, later, s)
      const right = way
        ? `a cycle, in which each step waits for the next: ${[s, ...way].join(' -> ')}`
        : `step ${later} stands after this one; steps read from steps before them: move it up`
      problems.add(inputsPath(s), steps[s]!.inputs, right)
    }
  })
  if (!ordered) return undefined
  const readers = steps.map((_, s) =>
    steps.flatMap((_, reader) => (sources[reader]!.includes(s) ? [reader] : [])),
  )
  return { sources, readers }
}
