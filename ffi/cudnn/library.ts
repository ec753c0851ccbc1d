import type { Library } from 'bun:ffi'
import { pipFolders, SYSTEM_FOLDERS, toolkitFolders } from '../cuda/folders.ts'
import { LibraryError } from '../error.ts'
import { openLibrary } from '../library.ts'
import { CUDNN } from './symbols.ts'

const HINT =
  'Install it (pip install nvidia-cudnn-cu13, or the package of your system), or set RNB_CUDNN_DIR to the folder of ' +
  'libcudnn.so.9, or run with --device cpu'

type Libcudnn = Library<typeof CUDNN> & { path: string }

let opened: Libcudnn | undefined

/** cuDNN 9, opened on first use; RNB_CUDNN_DIR names another folder. @throws {LibraryError} where there is none */
export function libcudnn(): Libcudnn {
  opened ??= openLibrary(
    {
      name: 'cuDNN',
      override: 'RNB_CUDNN_DIR',
      sonames: ['libcudnn.so.9'],
      folders: [...pipFolders(['cudnn']), ...toolkitFolders(), ...SYSTEM_FOLDERS],
      hint: HINT,
    },
    CUDNN,
  )
  return opened
}

/** `9.19.0`, of 91900. */
export const formatVersion = (version: number): string =>
  `${Math.floor(version / 10_000)}.${Math.floor((version % 10_000) / 100)}.${version % 100}`

/** What `doctor` says of cuDNN: its file and version, or what to do. */
export function cudnnStatus(): { ok: true; path: string; version: string } | { ok: false; problem: string } {
  try {
    const { path, symbols } = libcudnn()
    return { ok: true, path, version: formatVersion(Number(symbols.cudnnGetVersion())) }
  } catch (error) {
    if (error instanceof LibraryError) return { ok: false, problem: error.message }
    throw error
  }
}
