import { existsSync } from 'node:fs'
import { normalize } from 'node:path'
import single from '../../config/r2p1d-nopipeline.json' with { type: 'text' }
import singleCpu from '../../config/r2p1d-nopipeline-cpu.json' with { type: 'text' }
import whole from '../../config/r2p1d-whole.json' with { type: 'text' }
import wholeCpu from '../../config/r2p1d-whole-cpu.json' with { type: 'text' }

/** Pipeline files that came with the executable, by the names that they have in the repository. */
const FILES: Readonly<Record<string, unknown>> = {
  'config/r2p1d-nopipeline-cpu.json': singleCpu,
  'config/r2p1d-nopipeline.json': single,
  'config/r2p1d-whole-cpu.json': wholeCpu,
  'config/r2p1d-whole.json': whole,
}

/** Text of a pipeline file that came with the executable; a file on disk of the same name wins. */
export function builtinFile(path: string): string | undefined {
  const text = FILES[normalize(path)]
  return typeof text === 'string' && !existsSync(path) ? text : undefined
}
