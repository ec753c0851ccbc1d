import { CString, dlopen, FFIType } from 'bun:ffi'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

const RTLD_LAZY = 1

/** dlopen(3) itself: since glibc 2.34 in libc, before that in libdl. */
function linker() {
  const functions = {
    dlopen: { args: [FFIType.ptr, FFIType.i32], returns: FFIType.ptr },
    dlerror: { args: [], returns: FFIType.ptr },
  } as const
  try {
    return dlopen('libc.so.6', functions).symbols
  } catch {
    return dlopen('libdl.so.2', functions).symbols
  }
}

/**
 * Loads a shared object's own dependencies from the folder it lies in, as deep as they go, and then itself, to stay.
 *
 * A wheel's libraries name each other by hashed file names and carry no search path; once a library with the wanted
 * name is loaded, the linker takes that one. Which are wanted, the linker says itself when it fails.
 * @returns the linker's last words if it cannot be loaded.
 */
export function preload(path: string): string | undefined {
  const { dlopen: open, dlerror } = linker()
  const folder = dirname(path)
  const attempted = new Set<string>()
  const load = (file: string): string | undefined => {
    attempted.add(file)
    while (open(Buffer.from(`${file}\0`), RTLD_LAZY) === null) {
      const words = dlerror()
      const message = words === null ? 'the dynamic linker refuses it' : `${new CString(words)}`
      const missing = /^(\S+\.so\S*): cannot open/.exec(message)?.[1]
      const dependency = missing === undefined ? undefined : join(folder, missing)
      if (dependency === undefined || attempted.has(dependency) || !existsSync(dependency)) return message
      const refusal = load(dependency)
      if (refusal !== undefined) return refusal
    }
    return undefined
  }
  return load(path)
}
