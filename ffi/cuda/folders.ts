import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'

/** Variables that are set. */
const given = (...values: (string | undefined)[]): string[] =>
  values.filter((value): value is string => value !== undefined && value !== '')

const subfolders = (folder: string, pattern: RegExp): string[] =>
  existsSync(folder)
    ? readdirSync(folder)
        .filter(name => pattern.test(name))
        .sort()
        .reverse()
        .map(name => join(folder, name))
    : []

/** Folders that hold Python's packages, of an environment's prefix: `/usr/local`, `.venv`. */
const packages = (prefix: string): string[] =>
  subfolders(join(prefix, 'lib'), /^python3/).flatMap(python => [
    join(python, 'site-packages'),
    join(python, 'dist-packages'),
  ])

/** Prefixes of the Python environments that a user would expect to be found: the active one first. */
function prefixes(): string[] {
  const { VIRTUAL_ENV, CONDA_PREFIX, PATH = '' } = process.env
  const onPath = PATH.split(':')
    .filter(folder => folder !== '' && existsSync(join(folder, 'python3')))
    .flatMap(folder => [dirname(folder), dirname(dirname(realpathSync(join(folder, 'python3'))))])
  const active = given(VIRTUAL_ENV, CONDA_PREFIX)
  return [
    ...new Set([...active, ...onPath, '.venv', 'venv', join(homedir(), '.local'), '/usr/local', '/usr']),
  ]
}

/** Folders of libraries that pip installed for a part of CUDA: `nvidia/cudnn/lib`, `nvidia/cu13/lib`. */
export const pipFolders = (parts: readonly string[]): string[] =>
  prefixes()
    .flatMap(packages)
    .flatMap(folder => parts.map(part => join(folder, 'nvidia', part, 'lib')))
    .filter(folder => existsSync(folder))

/** Folders of the libraries of CUDA toolkits. */
export const toolkitFolders = (): string[] => {
  const { CUDA_HOME, CUDA_PATH } = process.env
  return [...given(CUDA_HOME, CUDA_PATH), '/usr/local/cuda', ...subfolders('/usr/local', /^cuda-\d/)].flatMap(
    folder => [join(folder, 'lib64'), join(folder, 'lib')],
  )
}

/** Where systems and containers keep what belongs to the driver, and packages of theirs. */
export const SYSTEM_FOLDERS = [
  '/usr/lib/x86_64-linux-gnu',
  '/usr/lib64',
  '/usr/local/nvidia/lib64',
  '/usr/lib/wsl/lib',
]
