import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { UsageError } from '../errors.ts'
import { makeCharts } from '../report/charts/index.ts'
import { csvFiles } from '../report/csv.ts'
import { drawPng, drawSvg } from '../report/draw.ts'
import { makePage } from '../report/page.ts'
import { readRuns } from '../report/read.ts'
import { writeFileAtomic } from '../results/atomic-file.ts'
import { EXIT } from './exit.ts'

export interface ReportFlags {
  readonly output: string
  readonly png?: string | undefined
  readonly svg?: string | undefined
  readonly csv?: string | undefined
}

/** Writes one file, its folder too. @throws {UsageError} if it can't be written */
function write(path: string, content: string | Uint8Array): void {
  try {
    mkdirSync(dirname(path), { recursive: true })
    writeFileAtomic(path, content)
  } catch (error) {
    throw new UsageError(`report: ${path} could not be written: ${(error as Error).message}`)
  }
  console.error(path)
}

/**
 * `rnb report RUN...`: a page with pictures of runs, and the pictures and tables as files where these are asked for.
 * @returns the exit status
 * @throws {UsageError} if a run cannot be read, or a file not be written
 */
export async function report(paths: readonly string[], flags: ReportFlags): Promise<number> {
  const runs = await readRuns(paths)
  const charts = makeCharts(runs)
  write(flags.output, makePage(runs, charts))
  for (const chart of charts) {
    if (flags.svg !== undefined) write(join(flags.svg, `${chart.id}.svg`), await drawSvg(chart))
    if (flags.png !== undefined) write(join(flags.png, `${chart.id}.png`), await drawPng(chart))
  }
  if (flags.csv !== undefined)
    for (const [name, text] of Object.entries(csvFiles(runs))) write(join(flags.csv, name), text)
  return EXIT.done
}
