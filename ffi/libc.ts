import { dlopen, FFIType, ptr } from 'bun:ffi'

const CLOCK_MONOTONIC = 1
const CLOCK_THREAD_CPUTIME_ID = 3
const { symbols } = dlopen('libc.so.6', {
  clock_gettime: { args: [FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
  _exit: { args: [FFIType.i32], returns: FFIType.void },
  execv: { args: [FFIType.ptr, FFIType.ptr], returns: FFIType.i32 },
  nice: { args: [FFIType.i32], returns: FFIType.i32 },
  setenv: { args: [FFIType.ptr, FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
})
const timespec = new BigInt64Array(new ArrayBuffer(16))
const words = new Uint32Array(timespec.buffer)
const address = ptr(timespec)

function clockNs(clock: number): number {
  symbols.clock_gettime(clock, address)
  return (words[0]! + words[1]! * 2 ** 32) * 1e9 + words[2]!
}

/**
 * CLOCK_MONOTONIC in nanoseconds, the same clock in every thread of the process (clock_gettime(2)).
 * A float64 holds it exactly for the first 104 days of uptime, and to 2 ns for the year after.
 */
export const monotonicNs = (): number => clockNs(CLOCK_MONOTONIC)

/** Processor time that the calling thread has used, in nanoseconds (clock_gettime(2)). */
export const threadCpuNs = (): number => clockNs(CLOCK_THREAD_CPUTIME_ID)

/** What is set stays. */
const KEEP = 0

/** As C has texts: UTF-8, and a zero at the end. */
const cText = (value: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(`${value}\0`)

/**
 * Sets a variable that libraries look for in the process's environment, which `process.env` is a copy of, unless it is set
 * (setenv(3)). To be called before a library that reads it starts: later, another thread may be reading.
 */
export function environmentDefault(name: string, value: string): void {
  symbols.setenv(cText(name), cText(value), KEEP)
}

/** Ends the process without waiting for its threads, and without writing what is still to be written (_exit(2)). */
export const exitNow = (status: number): void => symbols._exit(status)

/**
 * Starts a program in place of this one, in the same process: with its number, its open files, and the environment that
 * `environmentDefault` set (execv(3)). All threads end.
 * @param command an executable's path, and arguments
 * @returns if that can't be: nothing has changed then
 */
export function replaceProcess(command: readonly string[]): void {
  const texts = command.map(cText)
  const words = BigUint64Array.from([...texts.map(text => BigInt(ptr(text))), 0n])
  symbols.execv(texts[0]!, words)
}

/** So much nicer, threads let others that work in short pieces have a core within a millisecond (bench/NOTES.md). */
const NICER = 10

/**
 * Has the calling thread, and those that it starts, wait where others of the host want its core (nice(2), which on Linux is the
 * thread's). It cannot fail: nobody is kept from being nicer.
 */
export const giveWay = (): void => void symbols.nice(NICER)
