import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { textTable } from '../src/results/table.ts'
import { VERSION } from '../src/version.ts'

/** What a benchmark measured. */
export interface Report {
  /** Name of the benchmark and of its file in bench/results. */
  benchmark: string
  /** What else tells the file from others of this benchmark. */
  suffix?: string
  versions?: Record<string, string>
  /** As JSON. */
  results: object
  /** As a table for people, the header first. */
  table: string[][]
  /** Writes the table as Markdown, for pages. */
  markdown?: boolean
  /** Also writes bench/results/<benchmark>-<date>.json. */
  save: boolean
}

const markdownTable = ([header = [], ...rows]: readonly string[][]): string =>
  [header, header.map((_, column) => (column === 0 ? '---' : '---:')), ...rows]
    .map(cells => `| ${cells.join(' | ')} |`)
    .join('\n')

/** JSON on standard output, a table on standard error, and a file if asked: each with machine, versions, command. */
export function report({ benchmark, suffix, versions, results, table, markdown, save }: Report): void {
  const date = new Date().toISOString()
  const facts = {
    benchmark,
    command: `bun bench/${benchmark}.ts ${process.argv.slice(2).join(' ')}`.trim(),
    date,
    machine: { processor: cpus()[0]?.model, threads: cpus().length, load: loadavg()[0] },
    versions: { rnb: VERSION, bun: Bun.version, ...versions },
    results,
  }
  const text = `${JSON.stringify(facts, null, 1)}\n`
  process.stdout.write(text)
  console.error(markdown ? markdownTable(table) : textTable(table))
  if (!save) return
  const folder = join(import.meta.dir, 'results')
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, `${benchmark}${suffix === undefined ? '' : `-${suffix}`}-${date.slice(0, 10)}.json`),
    text,
  )
}
