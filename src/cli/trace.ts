import type { RunOutput } from '../results/output.ts'
import type { TraceSource } from '../tracing/events.ts'
import { TraceFile } from '../tracing/file.ts'
import type { RunFlags } from './arguments.ts'

/**
 * Sees that the trace of a run can be written, if one is asked for.
 * @returns what writes it when the run has ended; what goes wrong then is the output's to say
 * @throws {UsageError} if it can't be: the run has not begun
 */
export function openTrace(
  { trace: path }: RunFlags,
  output: RunOutput,
): ((source: TraceSource) => void) | undefined {
  if (path === undefined) return undefined
  try {
    const file = new TraceFile(path)
    return source => write(file, source, output)
  } catch (error) {
    output.discard()
    throw error
  }
}

function write(file: TraceFile, source: TraceSource, output: RunOutput): void {
  try {
    const { written, lost } = file.write(source)
    if (lost > 0)
      output.note(
        `trace: ${lost} of ${written} records had no room; ${file.path} has the last ones of each thread`,
      )
  } catch (error) {
    output.lose(file.path, error as Error)
  }
}
