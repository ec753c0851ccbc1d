import { dlopen, FFIType } from 'bun:ffi'
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs'
import { NativeError } from './error.ts'

// linux/memfd.h, linux/fcntl.h, sys/file.h
const MFD_CLOEXEC = 1
const MFD_ALLOW_SEALING = 2
const F_GETFL = 3
const F_ADD_SEALS = 1033
const F_GET_SEALS = 1034
const SEALED = 0x1 | 0x2 | 0x4 | 0x8
const O_ACCMODE = 3
const O_RDWR = 2
const LOCK_EX = 2

const DESCRIPTORS = '/proc/self/fd'

const openLibc = () =>
  dlopen('libc.so.6', {
    memfd_create: { args: [FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
    fcntl: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
    flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  }).symbols

type Libc = ReturnType<typeof openLibc>

/**
 * Whether a descriptor is the one that `create` made. While a thread's loader reads the library, it has another of the
 * same file, to be closed in a moment: open for reading only, as every later one of a sealed file is.
 */
const isOriginal = (libc: Libc, fd: number): boolean =>
  (libc.fcntl(fd, F_GETFL, 0) & O_ACCMODE) === O_RDWR && libc.fcntl(fd, F_GET_SEALS, 0) === SEALED

/** A complete memory file of this process by that name, whichever thread made it. */
function existing(libc: Libc, name: string): string | undefined {
  for (const fd of readdirSync(DESCRIPTORS)) {
    const path = `${DESCRIPTORS}/${fd}`
    try {
      const named = readlinkSync(path).startsWith(`/memfd:${name} `)
      if (named && isOriginal(libc, Number(fd))) return path
    } catch {
      // Closed since it was listed.
    }
  }
  return undefined
}

function create(libc: Libc, path: string, name: string): string {
  const bytes = readFileSync(path)
  const fd = libc.memfd_create(Buffer.from(`${name}\0`), MFD_CLOEXEC | MFD_ALLOW_SEALING)
  if (fd < 0) throw new NativeError('libc', 'memfd_create', fd, 'an error', `no memory file for ${name}`)
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at)
    const status = libc.fcntl(fd, F_ADD_SEALS, SEALED)
    if (status !== 0) throw new NativeError('libc', 'fcntl', status, 'an error', `${name} cannot be sealed`)
  } catch (error) {
    closeSync(fd)
    throw error
  }
  // Stays open: the loader knows the library by this path, so the number must not come to mean another file.
  return `${DESCRIPTORS}/${fd}`
}

/**
 * A path under which the system's loader can open a file that lies inside the executable, where no path that the
 * kernel knows leads. The copy is in memory: it needs no writable folder, is gone with the process, and nobody else can
 * have put anything there. It is sealed once complete, which is how other threads know that they may use it too.
 * @throws {NativeError} if the kernel gives no memory file
 */
export function memoryFile(path: string, name: string): string {
  const libc = openLibc()
  // Workers start together: one makes the copy, the others wait for it. A file system without locks costs copies only.
  const lock = openSync(process.execPath, 'r')
  try {
    libc.flock(lock, LOCK_EX)
    return existing(libc, name) ?? create(libc, path, name)
  } finally {
    closeSync(lock)
  }
}
