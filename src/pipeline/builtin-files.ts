import { existsSync, statSync } from 'node:fs'
import { normalize } from 'node:path'
import { builtinTexts } from './builtin-texts.ts' with { type: 'macro' }
import type { BuiltinText } from './builtin-texts.ts'

const TEXTS: readonly BuiltinText[] = builtinTexts()

/** RnB's names of pipeline files, and what they are called here. `r2p1d-whole` names GPU 0, however many there are. */
const RNB_NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    baseline: 'replicated',
    rnb: 'batched',
    'r2p1d-whole': '1-gpu/whole',
    'r2p1d-nopipeline': 'single',
    'r2p1d-segment': 'segmented',
    'r2p1d-aggressive': 'gpu-queues',
    'r2p1d-aggressive-global': 'shared-queue',
    'r2p1d-aggressive-four-groups': 'grouped-queues',
  }),
)

/** A pipeline file that comes with the program: its path in the repository, and its text. */
export interface BuiltinFile {
  path: string
  text: string
}

const fileOf = ({ host, name, text }: BuiltinText): BuiltinFile => ({
  path: `config/${host}/${name}.json`,
  text,
})

/** All of them. */
export const builtinFiles = (): BuiltinFile[] => TEXTS.map(fileOf)

/** Names that `builtinFile` knows, RnB's last; with a host's name and a slash before them, they mean one file. */
export const builtinNames = (): string[] => [...new Set(TEXTS.map(({ name }) => name)), ...RNB_NAMES.keys()]

/**
 * The pipeline file of a name: this project's or RnB's, with or without `config/` and `.json`; for the most GPUs of
 * which the host has as many, unless the name says which (`2-gpus/whole`). A file on disk of that name wins.
 * @returns undefined if there is none
 */
export function builtinFile(path: string, gpus: number): BuiltinFile | undefined {
  if (existsSync(path) && statSync(path).isFile()) return undefined
  const short = normalize(path)
    .replace(/^config\//, '')
    .replace(/\.json$/, '')
  const name = RNB_NAMES.get(short) ?? short
  const exact = TEXTS.find(text => `${text.host}/${text.name}` === name)
  if (exact) return fileOf(exact)
  const variants = TEXTS.filter(text => text.name === name)
  const fitting = variants.find(text => text.gpus <= gpus) ?? variants.at(-1)
  return fitting && fileOf(fitting)
}
