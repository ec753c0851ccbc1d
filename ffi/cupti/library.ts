import type { Library } from 'bun:ffi'
import { pipFolders, SYSTEM_FOLDERS, toolkitFolders } from '../cuda/folders.ts'
import { LibraryError, NativeError } from '../error.ts'
import { type LibrarySearch, openLibrary } from '../library.ts'
import { check } from './check.ts'
import { CUPTI, CUPTI_COUNTERS } from './symbols.ts'

type Libcupti = Library<typeof CUPTI> & { path: string }

let opened: Libcupti | undefined

const search = (): LibrarySearch => ({
  name: 'CUPTI',
  override: 'RNB_CUPTI',
  sonames: ['libcupti.so.13', 'libcupti.so.12'],
  // The driver's version counts, not the toolkit's: the newest that is there.
  folders: [
    ...pipFolders(['cu13', 'cuda_cupti']),
    ...toolkitFolders(),
    ...toolkitFolders().map(folder => folder.replace(/[^/]+$/, 'extras/CUPTI/lib64')),
    ...SYSTEM_FOLDERS,
  ],
  hint:
    'Install it (pip install nvidia-cuda-cupti, or the CUDA toolkit), or set RNB_CUPTI to the folder of ' +
    'libcupti.so.13; without it nothing of what happens inside a GPU is recorded.',
})

/** CUPTI, opened on first use. @throws {LibraryError} where there is none, or one that is too old */
export function libcupti(): Libcupti {
  opened ??= openLibrary(search(), CUPTI)
  return opened
}

let counters: Library<typeof CUPTI_COUNTERS>['symbols'] | undefined

/** Its calls for hardware counters, which versions before 12.6 lack. @throws {LibraryError} */
export function cuptiCounters(): Library<typeof CUPTI_COUNTERS>['symbols'] {
  counters ??= openLibrary({ ...search(), sonames: [libcupti().path], folders: [] }, CUPTI_COUNTERS).symbols
  return counters
}

/** What `doctor` says of CUPTI: its file and the version of its interface, or what to do. */
export function cuptiStatus(): { ok: true; path: string; version: string } | { ok: false; problem: string } {
  try {
    const { path, symbols } = libcupti()
    const version = new Uint32Array(new ArrayBuffer(8))
    check('cuptiGetVersion', symbols.cuptiGetVersion(version))
    return { ok: true, path, version: String(version[0]) }
  } catch (error) {
    if (error instanceof LibraryError || error instanceof NativeError)
      return { ok: false, problem: error.message }
    throw error
  }
}
