import { CString, dlopen, FFIType, type Library, type Pointer } from 'bun:ffi'
import { pipFolders, SYSTEM_FOLDERS, toolkitFolders } from '../cuda/folders.ts'
import { LibraryError } from '../error.ts'
import { type LibrarySearch, libraryCandidates, openLibrary } from '../library.ts'
import { CUDNN } from './symbols.ts'

const HINT =
  'Install it (pip install nvidia-cudnn-cu13, or the package of your system), or set RNB_CUDNN_DIR to the folder of ' +
  'libcudnn.so.9; or choose "kernels": "ptx"'

/** A library that cuDNN opens itself, by name, once one of its engines needs it: of CUDA 12 or 13, as cuDNN is. */
interface Helper extends LibrarySearch {
  /** Some function of it: opening it needs one. */
  symbol: string
}

const folders = (part: string): string[] => [...pipFolders(['cu13', part]), ...toolkitFolders()]

const helpers = (): Helper[] => [
  {
    name: 'NVRTC',
    override: 'RNB_NVRTC_DIR',
    sonames: ['libnvrtc.so.13', 'libnvrtc.so.12'],
    folders: folders('cuda_nvrtc'),
    hint: '',
    symbol: 'nvrtcVersion',
  },
  {
    name: 'cuBLASLt',
    override: 'RNB_CUBLAS_DIR',
    sonames: ['libcublasLt.so.13', 'libcublasLt.so.12'],
    folders: folders('cublas'),
    hint: '',
    symbol: 'cublasLtGetVersion',
  },
]

/** Opens what can be found of the helpers, so that cuDNN finds it too; without one, its engines are fewer. */
function openHelpers(): void {
  for (const helper of helpers()) {
    const symbols = { [helper.symbol]: { args: [], returns: FFIType.u64 } }
    for (const path of libraryCandidates(helper)) {
      try {
        dlopen(path, symbols)
        break
      } catch {
        // The next candidate, or an engine less.
      }
    }
  }
}

type Libcudnn = Library<typeof CUDNN> & { path: string }

let opened: Libcudnn | undefined

/** cuDNN 9, opened on first use; RNB_CUDNN_DIR names another folder. @throws {LibraryError} where there is none */
export function libcudnn(): Libcudnn {
  if (opened) return opened
  openHelpers()
  opened = openLibrary(
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

/** A C string of the library's. */
export const textAt = (pointer: Pointer | CString | null): string =>
  pointer === null ? '' : typeof pointer === 'number' ? String(new CString(pointer)) : String(pointer)
