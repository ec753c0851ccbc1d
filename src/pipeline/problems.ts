import { UsageError } from '../errors.ts'

export type Path = readonly (string | number)[]

const PLAIN_KEY = /^[$\w]+$/

/** `pipeline[1].queue_groups[0].in_queue` */
export function pathText(path: Path): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`
    if (!PLAIN_KEY.test(key)) return `${text}[${JSON.stringify(key)}]`
    return text === '' ? key : `${text}.${key}`
  }, '')
}

const LONGEST = 60

/** A value as it stands in a file, cut where it is long. */
export function valueText(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 3)}...` : text
}

/** Collects what is wrong with a file, so that its writer hears of everything at once. */
export class Problems {
  readonly #found: { step: number; line: string }[] = []

  constructor(readonly source: string) {}

  /** `path is value: right` */
  add(path: Path, value: unknown, right: string): void {
    const place = pathText(path) || 'the file'
    const state = value === undefined ? 'is missing' : `is ${valueText(value)}`
    this.addText(path, `${place} ${state}: ${right}`)
  }

  /** A whole line of its own; the same line is listed once. */
  addText(path: Path, line: string): void {
    if (this.#found.some(problem => problem.line === line)) return
    const step = path[0] === 'pipeline' ? Number(path[1] ?? -1) : -1
    this.#found.push({ step, line })
  }

  /** @throws {UsageError} that lists the problems in the order of the steps, if there are any */
  raise(): void {
    const lines = this.#found.toSorted((a, b) => a.step - b.step).map(problem => problem.line)
    if (lines.length === 1) throw new UsageError(`${this.source}: ${lines[0]}`)
    if (lines.length > 1)
      throw new UsageError([`${this.source} has ${lines.length} problems:`, ...lines].join('\n  '))
  }
}
