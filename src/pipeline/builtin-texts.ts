import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Hosts that there are pipeline files for, the largest first: folders of config/, and the GPUs that they need. */
const HOSTS = [
  ['8-gpus', 8],
  ['2-gpus', 2],
  ['1-gpu', 1],
  ['cpu', 0],
] as const

/** A pipeline file that comes with the program. */
export interface BuiltinText {
  /** Folder of config/. */
  host: string
  /** GPUs that it needs. */
  gpus: number
  /** Without `.json`. */
  name: string
  text: string
}

/** Reads them while the program is built: a macro, of which the program holds the result. */
export function builtinTexts(): BuiltinText[] {
  return HOSTS.flatMap(([host, gpus]) => {
    const folder = fileURLToPath(new URL(`../../config/${host}/`, import.meta.url))
    return readdirSync(folder)
      .sort()
      .map(file => ({
        host,
        gpus,
        name: file.replace(/\.json$/, ''),
        text: readFileSync(folder + file, 'utf8'),
      }))
  })
}
