import { LibraryError } from '../error.ts'
import { openLibrary } from '../library.ts'
import { NVCUVID } from './symbols.ts'

const open = () =>
  openLibrary(
    {
      name: 'libnvcuvid',
      override: 'RNB_NVCUVID',
      sonames: ['libnvcuvid.so.1'],
      pattern: /^libnvcuvid\.so\./,
      folders: ['/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/local/nvidia/lib64', '/usr/lib/wsl/lib'],
      hint:
        'It is part of the NVIDIA driver; in a container, ask for the capability `video` ' +
        '(NVIDIA_DRIVER_CAPABILITIES=compute,utility,video).',
    },
    NVCUVID,
  )

let opened: ReturnType<typeof open> | undefined

/** libnvcuvid, opened on first use. @throws {LibraryError} where there is none */
export function nvcuvid(): ReturnType<typeof open> {
  opened ??= open()
  return opened
}

/** What `doctor` says of libnvcuvid: its file, or what to do. */
export function nvcuvidStatus(): { ok: true; path: string } | { ok: false; problem: string } {
  try {
    return { ok: true, path: nvcuvid().path }
  } catch (error) {
    if (error instanceof LibraryError) return { ok: false, problem: error.message }
    throw error
  }
}
